"""Breakable: the official events that stop a live conversation, from any thread."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Breakable(ABC):
    """A break, which can be taken back, and a stop, which ends the conversation."""

    def __init__(self) -> None:
        self._break = threading.Event()
        self._stop = threading.Event()

    def set_break_event(self) -> None:
        """Stops what is being said; until clear_break_event() nothing is read and nothing said."""
        self._break.set()
        self._cut()

    def clear_break_event(self) -> None:
        self._break.clear()

    def is_break_set(self) -> bool:
        return self._break.is_set()

    def set_session_stop(self) -> None:
        """The same until prepare()."""
        self._stop.set()
        self.set_break_event()

    def clear_session_stop(self) -> None:
        self._stop.clear()

    def is_session_stop_set(self) -> bool:
        return self._stop.is_set()

    @property
    def _is_stopped(self) -> bool:
        return self.is_break_set() or self.is_session_stop_set()

    @abstractmethod
    def _cut(self) -> None:
        """Ends what is being computed."""
