"""How fast this machine reads memory.

Every thread reduces an array of its own, far larger than any cache, with bitwise or: one load and one cheap
operation for every 8 bytes, in vector registers. Numpy releases the interpreter meanwhile.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minicpmo_cpp.bench import side_by_side

SEED = 1
MOST, LEAST = 256 << 20, 64 << 20  # bytes of one thread's array
ALL = 4 << 30  # of many threads' arrays together


class ReadBandwidth:
    def __init__(self, n_threads: int) -> None:
        self._n_byte = max(LEAST, min(MOST, ALL // n_threads))
        generator = np.random.default_rng(SEED)
        first = generator.integers(0, 1 << 63, self._n_byte // 8, dtype=np.uint64)
        self._arrays = [first] + [first.copy() for _ in range(n_threads - 1)]

    def measure(self, n_pass: int) -> float:
        """The best of some passes in bytes per second, all threads together."""
        works = [partial(np.bitwise_or.reduce, array) for array in self._arrays]
        best = min(side_by_side.seconds(works) for _ in range(n_pass))
        return len(works) * self._n_byte / best
