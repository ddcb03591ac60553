"""Measures minicpmo_cpp through its public interface; bench.py starts it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from minicpmo_cpp import Model, __version__
from minicpmo_cpp.bench.saving import Saving
from minicpmo_cpp.bench.understanding import Understanding
from protocol import N_SLICE, N_TEXT, SIDE, WIDE, serve


class Ours:
    def load(self, *, model: str, n_threads: int, n_ctx: int, use_mmap: bool) -> dict[str, Any]:
        begin = perf_counter()
        opened = Model.load(model, device="cpu", n_threads=n_threads, use_mmap=use_mmap)
        opened.session(n_ctx=n_ctx).close()
        seconds = perf_counter() - begin
        self._subject = Understanding(opened, n_ctx)
        self._saving = Saving(opened)
        return {"s": seconds, "version": __version__}

    def vision(self) -> dict[str, Any]:
        return {"s": self._subject.vision(SIDE)}

    def slices(self) -> dict[str, Any]:
        return {"s": self._subject.vision(WIDE, N_SLICE)}

    def first_token(self) -> dict[str, Any]:
        return {"s": self._subject.first_token(SIDE, N_TEXT)}

    def turns(self) -> dict[str, Any]:
        return self._saving.turns(SIDE)

    def copy(self, *, n_token: int, n_draft: int) -> dict[str, Any]:
        return self._saving.copy(n_token, n_draft)

    def hear_chunks(self, *, n_sample: int, n_warm: int, n_chunk: int) -> dict[str, Any]:
        return {"s": self._subject.hear_chunks(n_sample, n_warm, n_chunk)}

    def hear(self, *, n_sample: int, block_s: float) -> dict[str, Any]:
        return {"s": self._subject.hear(n_sample, block_s)}

    def prefill(self, *, n_token: int) -> dict[str, Any]:
        return {"s": self._subject.prefill(n_token)}

    def decode(self, *, n_token: int) -> dict[str, Any]:
        return {"s": self._subject.decode(n_token)}


if __name__ == "__main__":
    serve(Ours())
