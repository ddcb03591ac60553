"""Measures how minicpmo_cpp speaks, a part at a time; bench.py starts it.

The parts have no public interface of their own, so this drives the engine's module directly.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from minicpmo_cpp import Model, __version__, _core
from numpy.typing import NDArray
from protocol import SEED, serve
from speech_work import VoiceShape

N_TEXT = 1000  # ids that a condition is drawn from
N_TRY = 8  # seeds, of which one has speech that does not end at once
LOUDNESS = 0.1  # of noise: its standard deviation
MEL_MEAN, MEL_SPREAD = -6.0, 2.0  # of a voice's log mel


class OursSpeech:
    def __init__(self) -> None:
        self._draw = np.random.default_rng(SEED)
        self._decoders: dict[int, _core.SpeechDecoder] = {}

    def load(self, *, model: str, n_threads: int, voice: dict[str, int]) -> dict[str, Any]:
        begin = perf_counter()
        opened = Model.load(model, device="cpu", n_threads=n_threads)
        seconds = perf_counter() - begin
        self._model = opened._open()
        self._n_embd_llm = opened.config["llm"]["n_embd"]
        self._shape = VoiceShape(**voice)
        return {"s": seconds, "version": __version__}

    def codes(self, *, n_condition: int, n_warm: int, n_code: int) -> dict[str, Any]:
        """One by one, sampled, after a condition of so many tokens and some codes."""
        ids, hidden = self._condition(n_condition)
        generator = _core.CodeGenerator(self._model, "chat", seed=SEED)
        for seed in range(N_TRY):
            generator.reset(SEED + seed)
            generator.feed(ids, hidden, True)
            if any(generator.next() is None for _ in range(n_warm)):
                continue
            begin = perf_counter()
            drawn = [generator.next() for _ in range(n_code)]
            seconds = perf_counter() - begin
            if None not in drawn:
                return {"s": seconds}
        raise RuntimeError(
            f"[bench] expected speech of {n_warm + n_code} codes, got its end in {N_TRY} tries"
        )

    def hear_voice(self, *, n_code: int, n_step: int) -> dict[str, Any]:
        """From codes, mel and vector of a voice to a decoder that speaks with it."""
        shape = self._shape
        mel = self._draw.normal(MEL_MEAN, MEL_SPREAD, (n_code * shape.up_rate, shape.n_mel))
        speaker = self._draw.normal(0.0, 1.0, shape.n_speaker)
        codes = self._codes(n_code)
        voice = _core.Voice(codes, mel.astype(np.float32), speaker.astype(np.float32))
        begin = perf_counter()
        decoder = _core.SpeechDecoder(self._model, voice, n_steps=n_step, seed=SEED)
        seconds = perf_counter() - begin
        self._decoders[n_step] = decoder
        return {"s": seconds}

    def first_window(self, *, n_step: int) -> dict[str, Any]:
        """The first samples of a turn, which opens with silence."""
        decoder = self._decoders[n_step]
        decoder.begin(True)
        return self._window(decoder)

    def windows(self, *, n_step: int, n_warm: int, n_window: int) -> dict[str, Any]:
        """The windows of a turn that come after some others: medians."""
        decoder = self._decoders[n_step]
        decoder.begin(True)
        for _ in range(n_warm):
            self._window(decoder)
        found = [self._window(decoder) for _ in range(n_window)]
        return {name: median(window[name] for window in found) for name in found[0]}

    def first_audio(self, *, n_step: int, n_condition: int) -> dict[str, Any]:
        """From the states of a few tokens to the first samples."""
        decoder = self._decoders[n_step]
        ids, hidden = self._condition(n_condition)
        generator = _core.CodeGenerator(self._model, "streaming", seed=SEED)
        for seed in range(N_TRY):
            generator.reset(SEED + seed)
            decoder.begin(True)
            begin = perf_counter()
            generator.feed(ids, hidden)
            batch = generator.next_batch(self._shape.chunk_codes)
            if batch is None:
                continue
            samples = decoder.push(np.array(batch[0], np.int32))
            seconds = perf_counter() - begin
            _check(samples)
            return {"s": seconds}
        raise RuntimeError(f"[bench] expected a second of codes, got their end in {N_TRY} tries")

    def encode_voice(self, *, seconds: float) -> dict[str, Any]:
        """From a recording to what a decoder takes."""
        samples = self._draw.normal(0.0, LOUDNESS, round(seconds * 16000)).astype(np.float32)
        begin = perf_counter()
        _core.encode_voice(self._model, samples)
        return {"s": perf_counter() - begin}

    def _window(self, decoder: _core.SpeechDecoder) -> dict[str, Any]:
        before = decoder.timings
        codes = self._codes(self._shape.chunk_codes)
        begin = perf_counter()
        samples = decoder.push(codes)
        seconds = perf_counter() - begin
        after = decoder.timings
        _check(samples)
        spans = {name: after[f"{name}_s"] - before[f"{name}_s"] for name in ("flow", "vocoder")}
        return {"s": seconds, **spans, "n_sample": len(samples)}

    def _codes(self, n: int) -> NDArray[np.int32]:
        return self._draw.integers(0, self._shape.n_code, n, dtype=np.int32)

    def _condition(self, n: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        hidden = self._draw.normal(0.0, 1.0, (n, self._n_embd_llm)).astype(np.float32)
        return self._draw.integers(0, N_TEXT, n, dtype=np.int32), hidden


def _check(samples: NDArray[np.float32]) -> None:
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise RuntimeError(f"[bench] expected samples, got {len(samples)}, some of them no numbers")


if __name__ == "__main__":
    serve(OursSpeech())
