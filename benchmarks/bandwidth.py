"""Measures how fast this machine reads memory; bench.py starts it.

Every thread reduces an array of its own, far larger than any cache, with bitwise or: one load and one cheap
operation for every 8 bytes, in vector registers. Numpy releases the interpreter meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import side_by_side
from protocol import SEED, serve

N_BYTE = 256 << 20  # of one thread's array


class Bandwidth:
    def load(self, *, n_threads: int) -> dict[str, Any]:
        generator = np.random.default_rng(SEED)
        first = generator.integers(0, 1 << 63, N_BYTE // 8, dtype=np.uint64)
        self._arrays = [first] + [first.copy() for _ in range(n_threads - 1)]
        return {}

    def read(self, *, n_pass: int) -> dict[str, Any]:
        """The best of some passes in bytes per second, all threads together."""
        works = [partial(np.bitwise_or.reduce, array) for array in self._arrays]
        best = min(side_by_side.seconds(works) for _ in range(n_pass))
        return {"bytes_per_s": len(works) * N_BYTE / best}


if __name__ == "__main__":
    serve(Bandwidth())
