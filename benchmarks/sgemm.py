"""Measures how fast this machine multiplies float32 matrices; bench.py starts it.

Every thread multiplies matrices of its own with numpy's BLAS, told to use one thread a call.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from protocol import SEED, serve

N = 2048  # rows and columns: 48 MiB for the three matrices of a thread
AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # what kernels for SkylakeX use


def prepare_blas() -> None:
    """Before numpy is imported. OpenBLAS takes narrower kernels on AVX-512 processors whose name it doesn't
    know, which would halve the yardstick."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = "1"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    if flags >= AVX512:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


class Sgemm:
    def load(self, *, n_threads: int) -> dict[str, Any]:
        prepare_blas()
        import numpy as np
        from minicpmo_cpp.bench import side_by_side

        generator = np.random.default_rng(SEED)
        left, right = (generator.random((N, N), dtype=np.float32) for _ in range(2))
        self._works = [
            partial(np.matmul, left.copy(), right.copy(), out=np.empty_like(left)) for _ in range(n_threads)
        ]
        self._seconds = side_by_side.seconds
        return {}

    def multiply(self, *, n_pass: int) -> dict[str, Any]:
        """The best of some passes in FLOP per second, all threads together; two FLOP per multiply-add."""
        best = min(self._seconds(self._works) for _ in range(n_pass))
        return {"flop_per_s": len(self._works) * 2 * N**3 / best}


if __name__ == "__main__":
    serve(Sgemm())
