"""Speaking: how an answer is said, and the engine's answer that says it."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from minicpmo_cpp import _core
from minicpmo_cpp.types import Samples, SpeechTimings
from minicpmo_cpp.voice_store import VoiceStore, Wanted


class Speaking(NamedTuple):
    """What was asked for."""

    voice: Wanted
    n_steps: int  # of the flow; 0 is the model's own number
    seed: int
    is_whole: bool  # the text is written before it is said


class Spoken:
    """An answer that is being said, and the decoder that it borrows.

    One thread at a time; interrupt() from any.
    """

    def __init__(
        self,
        voices: VoiceStore,
        session: _core.Session,
        options: _core.GenerateOptions,
        speaking: Speaking,
    ) -> None:
        """Begins the answer. A voice that is new is heard first, which takes a while."""
        self._voices = voices
        self._speaking = speaking
        self._lock = threading.Lock()  # nobody may hold the answer when the decoder goes back
        self.sample_rate = voices.sample_rate
        begin = time.perf_counter()
        self._decoder = voices.take(speaking.voice, speaking.n_steps)
        self._voice_s = time.perf_counter() - begin
        try:
            self._answer: _core.SpokenAnswer | None = _core.SpokenAnswer(
                voices.engine,
                session,
                self._decoder,
                options,
                is_whole=speaking.is_whole,
                seed=speaking.seed,
            )
        except BaseException:
            voices.give_back(speaking.voice, speaking.n_steps, self._decoder)
            raise

    def next(self) -> tuple[int, str, Samples | None] | None:
        """(token id, text, None), (-1, "", samples), or None at the end."""
        answer = self._answer
        return None if answer is None else answer.next()

    def interrupt(self) -> None:
        with self._lock:
            if self._answer is not None:
                self._answer.interrupt()

    def close(self) -> SpeechTimings:
        """Ends the answer, wherever it is."""
        with self._lock:
            assert self._answer is not None
            self._answer.interrupt()
            facts = self._answer.timings
            self._answer = None  # waits for its threads
        self._voices.give_back(self._speaking.voice, self._speaking.n_steps, self._decoder)
        return SpeechTimings(voice_s=self._voice_s, sample_rate=self.sample_rate, **facts)
