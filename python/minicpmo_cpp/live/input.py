"""What a duplex conversation sees and hears, unit by unit: a second of sound and that second's pictures."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from minicpmo_cpp import video
from minicpmo_cpp.audio import SAMPLE_RATE
from minicpmo_cpp.mosaic import mosaic
from minicpmo_cpp.source import Source
from minicpmo_cpp.types import Pixels, Samples

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexSession

_UNIT = SAMPLE_RATE  # samples
_PARTS = 10  # that a unit is handed over in, at the speed of real time


@dataclass(frozen=True)
class Unit:
    """One second."""

    samples: Samples  # [16000]
    frames: list[Pixels] = field(default_factory=list)  # what it begins with; the stacked ones as one picture


class Feed(Protocol):
    """Gives a conversation its input while it happens."""

    heard: list[Samples]  # all that was handed over

    def run(self, session: DuplexSession, stop: threading.Event) -> None:
        """Until there is no more or `stop` is set."""

    @property
    def now_s(self) -> float:
        """Seconds since the first sample."""


def units_of_sound(samples: Samples, seconds: float = math.inf) -> Iterator[Unit]:
    """A recording; silence fills the last unit up.

    Args:
        samples: float32 [n] at 16 kHz.
        seconds: how much of it.
    """
    samples = samples[: int(min(seconds * SAMPLE_RATE, len(samples)))]
    for begin in range(0, len(samples), _UNIT):
        yield Unit(_full(samples[begin : begin + _UNIT]))


def units_of_video(file: Source, *, stack_frames: int = 1, seconds: float = math.inf) -> Iterator[Unit]:
    """A video, as video.read_units finds its units, one in memory at a time; silence where it has no sound.

    Args:
        file: of kind "video".
        stack_frames: frames a second; those after the first make one picture.
        seconds: how much of it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no video or is damaged, which also may show later.
        ImportError: PyAV is missing.
    """
    with video._opened(file) as container:
        stream = video._video_stream(container, file.name)
        rate = video._average_rate(stream, file.name)
        # Packets of size 0 only flush; a discarded one is decoded for the sake of later frames.
        packets = (packet for packet in container.demux(stream) if packet.size > 0 and not packet.is_discard)
        n_most = None if seconds == math.inf else math.ceil(seconds * rate)
        count = sum(1 for _ in itertools.islice(packets, n_most))
    if count == 0:
        raise ValueError(f"[video] expected a video, got one without frames ({file.name})")
    plan = video._planned(count, rate, stack_frames, 1.0, sys.maxsize)
    sound = video._sound_of_video(file, plan)
    return _units_of_plan(file, plan, np.zeros(0, np.float32) if sound is None else sound)


def _units_of_plan(file: Source, plan: video._Plan, sound: Samples) -> Iterator[Unit]:
    n_sample = math.ceil(plan.duration * SAMPLE_RATE)
    with video._opened(file) as container:
        frames = video._chosen_frames(container, plan, file.name)
        for i, unit in enumerate(plan.units):
            pictures = [next(frames)]
            if unit.stacked:
                pictures.append(mosaic(list(itertools.islice(frames, len(unit.stacked)))))
            yield Unit(_full(sound[i * _UNIT : min((i + 1) * _UNIT, n_sample)]), pictures)


def with_silence(units: Iterable[Unit], seconds: int) -> Iterator[Unit]:
    """And then so many seconds in which nothing happens: the last picture stays."""
    unit = None
    for unit in units:
        yield unit
    last = [] if unit is None else unit.frames[:1]
    for _ in range(seconds if unit is not None else 0):
        yield Unit(np.zeros(_UNIT, np.float32), last)


class RealTimeFeed:
    """Units at the speed at which they happened: each tenth of a second of sound when it is over."""

    def __init__(self, units: Iterable[Unit], max_slices: list[int]) -> None:
        """max_slices: of the first picture of a unit and of the stacked one."""
        self._units = units
        self._max_slices = max_slices
        self._begin_s = time.monotonic()
        self.heard: list[Samples] = []

    def run(self, session: DuplexSession, stop: threading.Event) -> None:
        units = iter(self._units)
        unit = next(units, None)
        self._begin_s = time.monotonic()
        for i in itertools.count():
            if unit is None:
                return
            part = len(unit.samples) // _PARTS
            for k in range(_PARTS):
                if k == 0 and unit.frames:
                    session.push_frame(unit.frames[0], self._max_slices[0])
                if stop.wait(max(0.0, self._begin_s + i + (k + 1) / _PARTS - time.monotonic())):
                    return
                if k + 1 == _PARTS and len(unit.frames) > 1:
                    session.push_frame(unit.frames[1], self._max_slices[1])
                samples = unit.samples[k * part : (k + 1) * part]
                session.push_audio(samples)
                self.heard.append(samples)
            unit = next(units, None)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._begin_s


def _full(samples: Samples) -> Samples:
    """Exactly a unit."""
    return np.pad(samples, (0, _UNIT - len(samples)))
