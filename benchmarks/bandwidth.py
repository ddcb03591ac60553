"""Measures how fast this machine reads memory; bench.py starts it.

Every thread reduces an array of its own, far larger than any cache, with bitwise or: one load and one cheap
operation for every 8 bytes, in vector registers. Numpy releases the interpreter meanwhile.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

import numpy as np
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
        return {"bytes_per_s": max(self._pass() for _ in range(n_pass))}

    def _pass(self) -> float:
        barrier = threading.Barrier(len(self._arrays))
        spans: list[tuple[float, float]] = []

        def work(array: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
            barrier.wait()
            begin = perf_counter()
            np.bitwise_or.reduce(array)
            spans.append((begin, perf_counter()))

        threads = [threading.Thread(target=work, args=(array,)) for array in self._arrays]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
        return len(self._arrays) * N_BYTE / seconds


if __name__ == "__main__":
    serve(Bandwidth())
