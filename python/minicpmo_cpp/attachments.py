"""Attachments: the media that go with a question, in the order of the official examples."""

from __future__ import annotations

from typing import Any

from minicpmo_cpp.audio import SAMPLE_RATE, to_samples
from minicpmo_cpp.image import to_pixels
from minicpmo_cpp.parts import read_video
from minicpmo_cpp.types import Pixels, Samples


class Attachments:
    """Decoded when they are added; each add_ returns a line that says what was found."""

    def __init__(self, *, allow_remote: bool = False, **video_options: Any) -> None:
        """video_options are keywords of parts.read_video."""
        self._allow_remote = allow_remote
        self._video_options = video_options
        self.clear()

    def add_image(self, path: str) -> str:
        pixels = to_pixels(path, allow_remote=self._allow_remote)
        self._images.append(pixels)
        return f"{pixels.shape[1]} x {pixels.shape[0]} pixels"

    def add_audio(self, path: str) -> str:
        samples = to_samples(path, allow_remote=self._allow_remote)
        self._sounds.append(samples)
        return f"{len(samples) / SAMPLE_RATE:.1f} s of sound"

    def add_video(self, path: str) -> str:
        units = read_video(path, allow_remote=self._allow_remote, **self._video_options)
        self._videos.append(units)
        n_sample = sum(unit.size for unit in units if unit.ndim == 1)
        n_frame = sum(unit.ndim == 3 for unit in units)
        return f"{n_frame} pictures and {n_sample / SAMPLE_RATE:.1f} s of sound"

    def clear(self) -> None:
        self._images: list[Pixels] = []
        self._videos: list[list[Pixels | Samples]] = []
        self._sounds: list[Samples] = []

    @property
    def has_audio(self) -> bool:
        """Whether there is a recording, which may be the question itself."""
        return bool(self._sounds)

    @property
    def first_sound(self) -> Samples | None:
        """The first recording, whose voice may be borrowed."""
        return self._sounds[0] if self._sounds else None

    def __bool__(self) -> bool:
        return bool(self._images or self._videos or self._sounds)

    def content(self, text: str) -> list[Any]:
        """Of a message: what is seen, what is asked, what is heard."""
        videos = [{"type": "video", "video": units} for units in self._videos]
        return [*self._images, *videos, *([text] if text else []), *self._sounds]
