"""The ground a picture is drawn on, and colours that stand out from it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from demo.example import Pixels
from demo.lexicon import COLOURS, Rgb
from demo.pictures.shape import SMOOTH

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


def draw_ground(rng: np.random.Generator, width: int, height: int) -> tuple[Image.Image, Rgb]:
    """An empty canvas, SMOOTH times the size of the picture, and its colour."""
    rgb = shade(rng, _GROUNDS[rng.integers(len(_GROUNDS))])
    return Image.new("RGB", (width * SMOOTH, height * SMOOTH), rgb), rgb


def shade(rng: np.random.Generator, rgb: Rgb) -> Rgb:
    r, g, b = (int(np.clip(c + rng.integers(-_SHADE, _SHADE + 1), 0, 255)) for c in rgb)
    return r, g, b


def draw_colours(rng: np.random.Generator, ground: Rgb, count: int) -> list[str]:
    """Names of `count` different colours that stand out from the ground."""
    clear = [name for name, (_, rgb) in COLOURS.items() if _distance(rgb, ground) >= _CONTRAST]
    return [clear[i] for i in rng.permutation(len(clear))[:count]]


def finish(rng: np.random.Generator, canvas: Image.Image) -> Pixels:
    """The picture: edges smooth, with a little noise as a camera has it."""
    small = canvas.reduce(SMOOTH)
    noise = rng.normal(0.0, rng.uniform(0.0, 4.0), (small.height, small.width, 3))
    return np.clip(np.rint(np.asarray(small, np.float64) + noise), 0, 255).astype(np.uint8)


def _distance(a: Rgb, b: Rgb) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))
