"""Measures how minicpmo_cpp speaks, a part at a time; bench.py starts it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from minicpmo_cpp import Model, __version__
from minicpmo_cpp.bench.speaking import Speaking
from protocol import serve


class OursSpeech:
    def load(self, *, model: str, n_threads: int) -> dict[str, Any]:
        begin = perf_counter()
        opened = Model.load(model, device="cpu", n_threads=n_threads)
        seconds = perf_counter() - begin
        self._subject = Speaking(opened)
        return {"s": seconds, "version": __version__}

    def codes(self, *, n_condition: int, n_warm: int, n_code: int) -> dict[str, Any]:
        return {"s": self._subject.codes(n_condition, n_warm, n_code)}

    def hear_voice(self, *, n_code: int, n_step: int) -> dict[str, Any]:
        return {"s": self._subject.hear_voice(n_code, n_step)}

    def first_window(self, *, n_step: int) -> dict[str, Any]:
        return {"s": self._subject.first_window(n_step)}

    def windows(self, *, n_step: int, n_warm: int, n_window: int) -> dict[str, Any]:
        found = self._subject.windows(n_step, n_warm, n_window)
        return {"s": found.whole_s, "flow": found.flow_s, "vocoder": found.vocoder_s}

    def first_audio(self, *, n_step: int, n_condition: int) -> dict[str, Any]:
        return {"s": self._subject.first_audio(n_step, n_condition)}

    def encode_voice(self, *, seconds: float) -> dict[str, Any]:
        return {"s": self._subject.encode_voice(seconds)}


if __name__ == "__main__":
    serve(OursSpeech())
