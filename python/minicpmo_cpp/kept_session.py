"""KeptSession: the conversation that Model.chat() answered last, for a call that goes on with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from minicpmo_cpp import _core
from minicpmo_cpp._core import SessionLimitError

Key: TypeAlias = tuple[int, str | None]  # n_ctx and kv_type
_T = TypeVar("_T")


class KeptSession:
    """At most one session of the engine between two answers. Any thread."""

    def __init__(self, *, is_on: bool) -> None:
        """is_on: whether anything is kept."""
        self._is_on = is_on
        self._lock = threading.Lock()
        self._kept: tuple[Key, _core.Session] | None = None

    def take(self, key: Key) -> _core.Session | None:
        """The session, whatever was said in it, for one caller; None if there is none like this."""
        with self._lock:
            kept, self._kept = self._kept, None
        return kept[1] if kept is not None and kept[0] == key else None

    def give(self, key: Key, session: _core.Session) -> None:
        """Keeps a session that nobody uses any more, instead of the one before."""
        if self._is_on:
            session.rest()
            with self._lock:
                self._kept = (key, session) if self._is_on else None

    def make_room(self, make: Callable[[], _T]) -> _T:
        """make(), which a session that is only kept does not keep from being admitted."""
        try:
            return make()
        except SessionLimitError:
            with self._lock:
                kept, self._kept = self._kept, None
            if kept is None:
                raise
            del kept
            return make()

    def close(self) -> None:
        """Keeps nothing any more."""
        with self._lock:
            self._is_on, self._kept = False, None
