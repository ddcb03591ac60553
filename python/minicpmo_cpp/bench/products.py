"""How many products this machine's processors compute in a second when nothing comes from memory."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Literal

from minicpmo_cpp import _core
from minicpmo_cpp.bench import side_by_side

N_PROBE = 1000  # rounds that tell how long one takes
N_TRY = 10
PASS_S = 0.005  # of one thread: shorter than what the system lets a thread run at a time


class RegisterProducts:
    def __init__(self, kind: Literal["float32", "int8"], n_threads: int) -> None:
        self._kind, self._n_threads = kind, n_threads
        self.instructions, self._n_op = _core.multiply_in_registers(kind, N_PROBE)
        span = max(min(self._probe_s() for _ in range(N_TRY)), 1e-6)
        self._n_pass_round = max(1, round(PASS_S / span)) * N_PROBE

    def _probe_s(self) -> float:
        begin = perf_counter()
        _core.multiply_in_registers(self._kind, N_PROBE)
        return perf_counter() - begin

    def measure(self, n_pass: int) -> float:
        """The best of some passes in operations per second, two a multiply-add, all threads together."""
        work = partial(_core.multiply_in_registers, self._kind, self._n_pass_round)
        best = min(side_by_side.seconds([work] * self._n_threads) for _ in range(n_pass))
        return self._n_threads * self._n_op / N_PROBE * self._n_pass_round / best
