"""SaidTrack: what a duplex conversation said, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from minicpmo_cpp.types import Samples

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexChunk

SAID_RATE = 24000  # Hz

_LINE = 84  # characters of a caption: two lines
_LEAST_S = 1.0  # that a caption is shown, unless the next one comes


@dataclass(frozen=True)
class Cue:
    """A caption and when it is shown."""

    begin_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class _Said:
    begin: int  # in samples of the track
    samples: Samples
    text: str
    is_last: bool  # of its turn

    @property
    def end(self) -> int:
        return self.begin + len(self.samples)


class SaidTrack:
    """Sound and words on the clock of what was heard: unit i is heard from second i to i + 1.

    The sound of a unit begins when the unit is over and computed, or when the sound before it ends if that is
    later: a turn has no seams.

    Example:
        >>> track = SaidTrack()
        >>> for audio, frames in units:
        ...     track.add(session.step(audio, frames))
        >>> write_film("talk.mp4", "out.mp4", track)
    """

    def __init__(self) -> None:
        self._said: list[_Said] = []

    def add(self, chunk: DuplexChunk) -> None:
        """The next unit. What one that was interrupted wanted to say is heard by nobody.

        Raises:
            ValueError: its sound has another rate.
        """
        text, samples = chunk.text, np.zeros(0, np.float32)
        if chunk.is_interrupted:
            text = ""
        elif chunk.audio is not None:
            if chunk.sample_rate != SAID_RATE:
                raise ValueError(f"[output] expected sound at {SAID_RATE} Hz, got {chunk.sample_rate}")
            samples = np.asarray(chunk.audio, np.float32)
        begin = max(round((chunk.unit + 1 + chunk.latency_s) * SAID_RATE), self._end)
        is_last = chunk.end_of_turn or chunk.is_interrupted
        if len(samples) or text or is_last:
            self._said.append(_Said(begin, samples, text, is_last))

    def cut(self, time_s: float) -> None:
        """Silence from then on: what was to be heard later is not said."""
        end = round(time_s * SAID_RATE)
        kept = (said for said in self._said if said.begin < end)
        self._said = [replace(said, samples=said.samples[: end - said.begin]) for said in kept]

    @property
    def seconds(self) -> float:
        """When the last sound ends."""
        return self._end / SAID_RATE

    @property
    def spoken_s(self) -> float:
        """Length of all sounds."""
        return sum(len(said.samples) for said in self._said) / SAID_RATE

    def samples(self, seconds: float = 0.0) -> Samples:
        """float32 [n] at 24 kHz, from 0 to the end of the last sound, or to `seconds` if that is later."""
        track = np.zeros(max(self._end, round(seconds * SAID_RATE)), np.float32)
        for said in self._said:
            track[said.begin : said.end] = said.samples
        return track

    def cues(self) -> list[Cue]:
        """Captions, which grow with what is said; each turn has new ones, and so has a third line."""
        cues: list[Cue] = []
        line = ""
        for said in self._said:
            line = line + said.text if len(line) + len(said.text) <= _LINE else said.text
            begin_s = said.begin / SAID_RATE
            if (shown := _printable(line)) and (said.text or len(said.samples)):
                if cues:
                    cues[-1] = replace(cues[-1], end_s=min(cues[-1].end_s, begin_s))
                cues.append(Cue(begin_s, max(said.end / SAID_RATE, begin_s + _LEAST_S), shown))
            line = "" if said.is_last else line
        return [cue for cue in cues if cue.begin_s < cue.end_s]

    @property
    def _end(self) -> int:
        return self._said[-1].end if self._said else 0


def _printable(text: str) -> str:
    """On one line, without control characters."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
