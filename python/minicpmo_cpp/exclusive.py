"""Exclusive: lets one thread in and refuses a second one, which would corrupt the engine's state."""

from __future__ import annotations

import threading
from types import TracebackType

from minicpmo_cpp._core import MiniCPMOError


class Exclusive:
    """A lock that does not wait."""

    def __init__(self, name: str) -> None:
        self._name = name  # of what it guards, for the message
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise MiniCPMOError(
                f"[{self._name}] expected one thread at a time, got a call while another one runs"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
