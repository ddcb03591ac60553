"""Measures how a model speaks, a part at a time.

The parts have no public interface of their own, so this drives the engine's module directly. Codes, states
and voices are random but in range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model

SEED = 1
N_TEXT = 256  # ids that a condition is drawn from
N_TRY = 8  # seeds, of which one has speech that does not end at once
LOUDNESS = 0.1  # of noise: its standard deviation
MEL_MEAN, MEL_SPREAD = -6.0, 2.0  # of a voice's log mel


@dataclass(frozen=True)
class Window:
    """Seconds of one."""

    whole_s: float
    flow_s: float
    vocoder_s: float


class Speaking:
    """Each method measures one thing once, in seconds."""

    def __init__(self, model: Model) -> None:
        self._engine = model._open()
        self._speech = model.config["speech"]
        self._n_embd_llm: int = model.config["llm"]["n_embd"]
        self._draw = np.random.default_rng(SEED)
        self._decoders: dict[int, _core.SpeechDecoder] = {}

    def codes(self, n_condition: int, n_warm: int, n_code: int) -> float:
        """One by one, sampled, after a condition of so many tokens and some codes."""
        ids, hidden = self._condition(n_condition)
        generator = _core.CodeGenerator(self._engine, "chat", seed=SEED)

        def attempt(seed: int) -> float | None:
            generator.reset(seed)
            generator.feed(ids, hidden, True)
            if any(generator.next() is None for _ in range(n_warm)):
                return None
            begin = perf_counter()
            drawn = [generator.next() for _ in range(n_code)]
            seconds = perf_counter() - begin
            return None if None in drawn else seconds

        return _first_of(attempt, f"speech of {n_warm + n_code} codes")

    def hear_voice(self, n_code: int, n_step: int) -> float:
        """From codes, mel and vector of a voice to a decoder that speaks with it."""
        speech = self._speech
        mel = self._draw.normal(MEL_MEAN, MEL_SPREAD, (n_code * speech["frames_per_code"], speech["n_mel"]))
        speaker = self._draw.normal(0.0, 1.0, speech["n_speaker"])
        voice = _core.Voice(self._codes(n_code), mel.astype(np.float32), speaker.astype(np.float32))
        begin = perf_counter()
        decoder = _core.SpeechDecoder(self._engine, voice, n_steps=n_step, seed=SEED)
        seconds = perf_counter() - begin
        self._decoders[n_step] = decoder
        return seconds

    def has_voice(self, n_step: int) -> bool:
        return n_step in self._decoders

    def first_window(self, n_step: int) -> float:
        """The first samples of a turn, which opens with silence; of the voice that was heard last."""
        decoder = self._decoders[n_step]
        decoder.begin(True)
        return self._window(decoder).whole_s

    def windows(self, n_step: int, n_warm: int, n_window: int) -> Window:
        """The windows of a turn that come after some others: medians."""
        decoder = self._decoders[n_step]
        decoder.begin(True)
        for _ in range(n_warm):
            self._window(decoder)
        found = [self._window(decoder) for _ in range(n_window)]
        return Window(
            median(w.whole_s for w in found),
            median(w.flow_s for w in found),
            median(w.vocoder_s for w in found),
        )

    def first_audio(self, n_step: int, n_condition: int) -> float:
        """From the states of a few tokens to the first samples."""
        decoder = self._decoders[n_step]
        ids, hidden = self._condition(n_condition)
        generator = _core.CodeGenerator(self._engine, "streaming", seed=SEED)

        def attempt(seed: int) -> float | None:
            generator.reset(seed)
            decoder.begin(True)
            begin = perf_counter()
            generator.feed(ids, hidden)
            batch = generator.next_batch(self._speech["chunk_codes"])
            if batch is None:
                return None
            samples = decoder.push(np.array(batch[0], np.int32))
            seconds = perf_counter() - begin
            _check(samples)
            return seconds

        return _first_of(attempt, "a second of codes")

    def encode_voice(self, seconds: float) -> float:
        """From a recording to what a decoder takes."""
        samples = self._draw.normal(0.0, LOUDNESS, round(seconds * 16000)).astype(np.float32)
        begin = perf_counter()
        _core.encode_voice(self._engine, samples)
        return perf_counter() - begin

    def _window(self, decoder: _core.SpeechDecoder) -> Window:
        before = decoder.timings
        codes = self._codes(self._speech["chunk_codes"])
        begin = perf_counter()
        samples = decoder.push(codes)
        seconds = perf_counter() - begin
        after = decoder.timings
        _check(samples)
        return Window(seconds, after["flow_s"] - before["flow_s"], after["vocoder_s"] - before["vocoder_s"])

    def _codes(self, n: int) -> NDArray[np.int32]:
        return self._draw.integers(0, self._speech["n_code"], n, dtype=np.int32)

    def _condition(self, n: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        hidden = self._draw.normal(0.0, 1.0, (n, self._n_embd_llm)).astype(np.float32)
        return self._draw.integers(0, N_TEXT, n, dtype=np.int32), hidden


def _first_of(attempt: Callable[[int], float | None], what: str) -> float:
    """Random speech may end at once; some seed's does not."""
    for i in range(N_TRY):
        seconds = attempt(SEED + i)
        if seconds is not None:
            return seconds
    raise RuntimeError(f"[bench] expected {what}, got their end in {N_TRY} tries")


def _check(samples: NDArray[np.float32]) -> None:
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise RuntimeError(f"[bench] expected samples, got {len(samples)}, some of them no numbers")
