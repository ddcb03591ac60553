"""Answer: what the model says, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.types import ChatResult, Piece, Timings

if TYPE_CHECKING:
    from minicpmo_cpp.session import Session

END_OF_SPEECH = "<|tts_eos|>"


class Answer(Iterator[Piece]):
    """Iterates over the pieces of an answer; closing it, or dropping it before its end, interrupts.

    Whatever else is asked of its session ends it too. The pieces joined are `text`. As in the reference, text
    ends before <|tts_eos|>, whatever tokens follow.
    """

    def __init__(self, session: Session, number: int, end_of_speech: int | None) -> None:
        self._session = session
        self._number = number
        self._end_of_speech = end_of_speech
        self._is_silent = False
        self._texts: list[str] = []
        self._token_ids: list[int] = []
        self._stop_reason = ""
        self._timings = Timings()
        self._hidden: NDArray[np.float32] | None = None

    def __next__(self) -> Piece:
        if self._stop_reason:
            raise StopIteration
        item = self._session._next()
        if item is None:
            raise StopIteration
        token_id, text = item
        if self._is_silent:
            text = ""
        if token_id >= 0:
            self._token_ids.append(token_id)
            if token_id == self._end_of_speech:
                text, self._is_silent = text.removesuffix(END_OF_SPEECH), True
        self._texts.append(text)
        return Piece(text, token_id)

    def _finish(self, stop_reason: str, timings: Timings, hidden: NDArray[np.float32]) -> None:
        """The session says that the answer has ended."""
        self._stop_reason, self._timings = stop_reason, timings
        self._hidden = hidden if hidden.size > 0 else None

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._texts)

    @property
    def token_ids(self) -> list[int]:
        return list(self._token_ids)

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
        return ChatResult(self.text, self.token_ids, self._timings, self._stop_reason, self._hidden)

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
