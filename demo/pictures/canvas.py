"""What a picture is drawn on: the ground, what lies where, and colours that stand out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from demo.example import Pixels
from demo.lexicon import COLOURS, Rgb

SMOOTH = 4  # drawn so many times larger, then averaged
Paint = Callable[[ImageDraw.ImageDraw, Rgb], None]  # draws in SMOOTH times the picture's pixels

_GROUNDS: tuple[Rgb, ...] = (
    (214, 214, 210),
    (226, 214, 192),
    (196, 212, 226),
    (206, 222, 200),
    (62, 64, 70),
    (76, 66, 60),
)
_CONTRAST = 90.0  # least distance of a colour from the ground
_SHADE = 9  # most that a colour channel strays


class Canvas:
    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.ground = shade(rng, _GROUNDS[rng.integers(len(_GROUNDS))])
        size = (width * SMOOTH, height * SMOOTH)
        self._image = Image.new("RGB", size, self.ground)
        self._labels = Image.new("RGB", size)

    def draw(self, rgb: Rgb, label: Rgb, paint: Paint) -> None:
        """Draws the same thing in its colour and, where labels are kept, as what it is."""
        self.decorate(rgb, paint)
        self.mark(label, paint)

    def decorate(self, rgb: Rgb, paint: Paint) -> None:
        """Draws what is not asked about."""
        paint(ImageDraw.Draw(self._image), rgb)

    def mark(self, label: Rgb, paint: Paint) -> None:
        paint(ImageDraw.Draw(self._labels), label)

    def draw_colours(self, rng: np.random.Generator, count: int) -> list[str]:
        """Names of `count` different colours that stand out from the ground."""
        clear = [
            n for n, (_, rgb) in COLOURS.items() if np.linalg.norm(np.subtract(rgb, self.ground)) >= _CONTRAST
        ]
        return [clear[i] for i in rng.permutation(len(clear))[:count]]

    def finish(self, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """(the picture with smooth edges and a little noise, its labels as in pictures/label.py)"""
        small = self._image.reduce(SMOOTH)
        noise = rng.normal(0.0, rng.uniform(0.0, 4.0), (small.height, small.width, 3))
        pixels = np.clip(np.rint(np.asarray(small, np.float64) + noise), 0, 255).astype(np.uint8)
        middle = SMOOTH // 2
        return pixels, np.ascontiguousarray(np.asarray(self._labels)[middle::SMOOTH, middle::SMOOTH])


def shade(rng: np.random.Generator, rgb: Rgb) -> Rgb:
    r, g, b = (int(np.clip(c + rng.integers(-_SHADE, _SHADE + 1), 0, 255)) for c in rgb)
    return r, g, b


def block(box: tuple[float, float, float, float], scale: int = 1) -> Paint:
    """Fills left, top, right, bottom, each times `scale`."""
    return lambda pen, rgb: pen.rectangle([v * scale for v in box], fill=rgb)
