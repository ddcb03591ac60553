"""SpeechOutput: where the command line's answers sound: files, a player, and how far it is at a terminal."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.status import Status

from minicpmo_cpp.player import Player, find_player
from minicpmo_cpp.sound_file import SoundFile, check_path
from minicpmo_cpp.types import Samples


class SpeechOutput:
    """One answer after another; of several, each has a file of its own: out-1.wav, out-2.wav."""

    def __init__(self, sample_rate: int, path: str | None, *, plays: bool, is_numbered: bool) -> None:
        """Says now what would fail later."""
        self._sample_rate = sample_rate
        self._path = None if path is None else Path(path)
        self._plays = plays
        self._n_answer = 0 if is_numbered else None
        self._sinks: list[SoundFile | Player] = []
        self._n_sample = 0
        self._begin_s = 0.0
        if self._path is not None:
            check_path(self._path)
        if plays:
            find_player()

    def begin(self) -> None:
        """A new answer. Its file appears with its first samples."""
        self._n_sample = 0
        self._begin_s = time.monotonic()
        if self._n_answer is not None:
            self._n_answer += 1

    def write(self, samples: Samples) -> None:
        if not self._sinks:
            if self.path is not None:
                self._sinks.append(SoundFile(self.path, self._sample_rate))
            if self._plays:
                self._sinks.append(Player(self._sample_rate))
        for sink in self._sinks:
            sink.write(samples)
        self._n_sample += len(samples)

    def end(self, *, is_cut: bool) -> None:
        """The file is whole; waits until all was heard unless the answer was cut."""
        sinks, self._sinks = self._sinks, []
        for sink in sinks:
            if isinstance(sink, Player) and is_cut:
                sink.stop()
            else:
                sink.close()

    @property
    def path(self) -> Path | None:
        """Of this answer's file."""
        if self._path is None or self._n_answer is None:
            return self._path
        return self._path.with_name(f"{self._path.stem}-{self._n_answer}{self._path.suffix}")

    @property
    def seconds(self) -> float:
        """Of sound in this answer so far."""
        return self._n_sample / self._sample_rate

    @property
    def line(self) -> str:
        """How far it is. The factor counts all the time since the question was read."""
        took = time.monotonic() - self._begin_s
        where = "" if self.path is None else f" to {self.path}"
        factor = took / self.seconds if self._n_sample else 0.0
        return f"{self.seconds:.1f} s of speech{where} in {took:.1f} s, real-time factor {factor:.2f}"


class SpeakingProgress:
    """The line of an output, live on stderr where that is a terminal."""

    def __init__(self, console: Console, output: SpeechOutput) -> None:
        self._console = console
        self._output = output
        self._status: Status | None = None

    def update(self) -> None:
        if not self._console.is_terminal or self._output.seconds == 0:
            return
        if self._status is None:
            self._status = self._console.status(self._output.line)
            self._status.start()
        self._status.update(self._output.line)

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()
        self._status = None
