"""DuplexRun: one conversation from its first second to its last: shown, played and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minicpmo_cpp.live.input import Feed, Unit
from minicpmo_cpp.live.microphone import Keys, Loudspeaker
from minicpmo_cpp.live.said_track import SaidTrack
from minicpmo_cpp.live.view import DuplexView
from minicpmo_cpp.types import Samples

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexChunk, DuplexSession

KEYS = "space or Enter interrupts, q ends"

_PATIENCE_S = 2.0  # with a feed that was told to stop


class DuplexRun:
    """What was heard and said stays in `heard` and `track`, also after an error or Ctrl-C."""

    def __init__(
        self, session: DuplexSession, view: DuplexView, loudspeaker: Loudspeaker | None = None
    ) -> None:
        self._session = session
        self._view = view
        self._loudspeaker = loudspeaker
        self._lock = threading.Lock()  # of the track, which keys cut
        self._stop = threading.Event()  # the end was asked for, or came
        self._heard: list[Samples] = []
        self.track = SaidTrack()

    @property
    def heard(self) -> Samples:
        """float32 [n] at 16 kHz."""
        return np.concatenate([np.zeros(0, np.float32), *self._heard])

    def step_through(self, units: Iterable[Unit], max_slices: Sequence[int]) -> None:
        """As fast as the model is.

        Args:
            max_slices: of the first picture of a unit and of the stacked one.
        """
        with self._view:
            for unit in units:
                slices = list(max_slices[: len(unit.frames)])
                chunk = self._session.step(unit.samples, unit.frames, max_slice_nums=slices or 1)
                self._heard.append(unit.samples)
                self._take(chunk)

    def live(self, feed: Feed) -> None:
        """As fast as it happens, with keys that interrupt and end it."""
        self._heard = feed.heard
        failures: list[Exception] = []

        def push() -> None:
            try:
                try:
                    feed.run(self._session, self._stop)
                finally:
                    self._session.finish()
            except Exception as error:  # raised again in the thread that waits for units
                failures.append(error)

        def obey(key: str) -> None:
            if key == "q":
                self._stop.set()
            elif key in " \r\n":
                self._interrupt(feed.now_s)

        self._session.push_audio(np.zeros(0, np.float32))  # begins the stream, which two threads must not do
        pushing = threading.Thread(target=push, daemon=True)
        with self._view, Keys(obey):
            try:
                pushing.start()
                for chunk in self._session.chunks():
                    self._take(chunk)
                pushing.join()
                if failures:
                    raise failures[0]
                if self._loudspeaker is not None:
                    self._loudspeaker.close()
            finally:
                self._stop.set()
                pushing.join(_PATIENCE_S)
                if self._loudspeaker is not None:
                    self._loudspeaker.silence()

    def _interrupt(self, now_s: float) -> None:
        self._session.interrupt()
        if self._loudspeaker is not None:
            self._loudspeaker.silence()
        with self._lock:
            self.track.cut(now_s)

    def _take(self, chunk: DuplexChunk) -> None:
        with self._lock:
            self.track.add(chunk)
        if self._loudspeaker is not None and chunk.audio is not None and not chunk.is_interrupted:
            self._loudspeaker.write(chunk.audio)
        self._view.show(chunk)
