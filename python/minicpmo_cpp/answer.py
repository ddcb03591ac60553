"""Answer: what the model says, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.types import ChatResult, Piece, Samples, SpeechTimings, Timings

if TYPE_CHECKING:
    from minicpmo_cpp.session import Session

END_OF_SPEECH = "<|tts_eos|>"


class Answer(Iterator[Piece]):
    """Iterates over the pieces of an answer; closing it, or dropping it before its end, interrupts.

    Whatever else is asked of its session ends it too. The pieces joined are `text`. As in the reference, text
    ends before <|tts_eos|>, whatever tokens follow. With audio=True pieces of sound come between and after
    those of text.
    """

    def __init__(
        self, session: Session, number: int, end_of_speech: int | None, sample_rate: int = 0
    ) -> None:
        self._session = session
        self._number = number
        self._end_of_speech = end_of_speech
        self._is_silent = False
        self._texts: list[str] = []
        self._token_ids: list[int] = []
        self._stop_reason = ""
        self._timings = Timings()
        self._hidden: NDArray[np.float32] | None = None
        self._sounds: list[Samples] = []
        self._sample_rate = sample_rate
        self._speech_timings: SpeechTimings | None = None

    def __next__(self) -> Piece:
        if self._stop_reason:
            raise StopIteration
        item = self._session._next()
        if item is None:
            raise StopIteration
        token_id, text, samples = item
        if samples is not None:
            self._sounds.append(samples)
            return Piece("", -1, samples)
        if self._is_silent:
            text = ""
        if token_id >= 0:
            self._token_ids.append(token_id)
            if token_id == self._end_of_speech:
                text, self._is_silent = text.removesuffix(END_OF_SPEECH), True
        self._texts.append(text)
        return Piece(text, token_id)

    def _finish(
        self,
        stop_reason: str,
        timings: Timings,
        hidden: NDArray[np.float32] | None,
        speech_timings: SpeechTimings | None,
    ) -> None:
        """The session says that the answer has ended."""
        self._stop_reason, self._timings = stop_reason, timings
        self._hidden, self._speech_timings = hidden, speech_timings

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._texts)

    @property
    def token_ids(self) -> list[int]:
        return list(self._token_ids)

    @property
    def audio(self) -> Samples | None:
        """What sounded so far, float32 [n] at sample_rate; None without audio=True."""
        if self._sample_rate == 0:
            return None
        return np.concatenate([np.zeros(0, np.float32), *self._sounds])

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz; 0 without audio=True."""
        return self._sample_rate

    @property
    def speech_timings(self) -> SpeechTimings | None:
        """None while the answer goes on, and without audio=True."""
        return self._speech_timings

    @property
    def stop_reason(self) -> str:
        """ "stop", "length" or "interrupted"; empty while the answer goes on."""
        return self._stop_reason

    @property
    def timings(self) -> Timings:
        """Of the whole turn; zeros while the answer goes on."""
        return self._timings

    def result(self) -> ChatResult:
        """Says the rest and returns the whole."""
        for _ in self:
            pass
        return ChatResult(
            self.text,
            self.token_ids,
            self._timings,
            self._stop_reason,
            self._hidden,
            self.audio,
            self._sample_rate,
            self._speech_timings,
        )

    def close(self) -> None:
        """Ends the answer here; the session goes on."""
        if not self._stop_reason:
            self._session._abandon(self._number)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (MiniCPMOError, AttributeError):  # another thread uses the session, or the constructor failed
            pass
