"""Turn: messages read and answered in a worker thread, so that the main thread sees Ctrl-C at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from minicpmo_cpp._core import GenerationInterruptedError
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.session import Session
from minicpmo_cpp.types import ChatResult, Piece, Progress

_TICK_S = 0.1


class Turn:
    """One question and its answer."""

    def __init__(
        self,
        session: Session,
        messages: list[dict[str, Any]],
        reading: dict[str, Any],
        saying: dict[str, Any],
    ) -> None:
        """reading and saying are the keywords of Session.prefill and Session.generate."""
        self._session = session
        self._messages = messages
        self._reading = reading
        self._saying = saying
        self._events: queue.Queue[Piece | None] = queue.Queue()  # None is the last one
        self._is_written = False
        self._is_cancelled = threading.Event()
        self._answer: Answer | None = None
        self._error: BaseException | None = None

    @property
    def is_written(self) -> bool:
        """Whether only sound is still to come."""
        return self._is_written

    def run(self, on_piece: Callable[[Piece], None], on_wait: Callable[[Progress], None]) -> ChatResult:
        """Calls back in the calling thread. Ctrl-C ends the answer, a second one raises KeyboardInterrupt."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            self._follow(on_piece, on_wait)
        except KeyboardInterrupt:
            self._cancel()
            self._follow(on_piece, on_wait)
        except BaseException:  # what a callback raises, such as a closed pipe
            self._cancel()
            self._follow(lambda piece: None, lambda progress: None)
            raise
        thread.join()
        if self._error is not None and not isinstance(self._error, GenerationInterruptedError):
            raise self._error
        if self._answer is None or self._error is not None:
            return ChatResult("", [], self._session.timings, "interrupted")
        return self._answer.result()

    def _follow(self, on_piece: Callable[[Piece], None], on_wait: Callable[[Progress], None]) -> None:
        while True:
            try:
                piece = self._events.get(timeout=_TICK_S)
            except queue.Empty:
                if self._is_cancelled.is_set():
                    self._session.interrupt()  # again: beginning a computation forgets an earlier call
                on_wait(self._session.progress)
                continue
            if piece is None:
                return
            on_piece(piece)

    def _cancel(self) -> None:
        self._is_cancelled.set()
        self._session.interrupt()

    def _work(self) -> None:
        try:
            self._session.prefill(self._messages, **self._reading)
            if self._is_cancelled.is_set():
                return
            self._answer = self._session.generate(**self._saying)
            for piece in self._answer:
                if piece.audio is not None:
                    self._is_written = self._session._is_written
                self._events.put(piece)
                if self._is_cancelled.is_set():
                    self._answer.close()
        except BaseException as error:
            self._error = error
        finally:
            self._events.put(None)
