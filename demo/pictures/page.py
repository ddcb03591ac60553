"""Pages full of signs and shapes, where nearly every patch has something to name; and texts to read."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.pictures.canvas import Canvas, shade
from demo.pictures.fonts import font_names
from demo.pictures.lettering import draw_number, draw_word, fit, write
from demo.pictures.shape import Shape, draw
from demo.split import Split

_SIGNS = string.ascii_uppercase + string.digits
_SHAPE_SHARE = 0.3  # of rows
MOST = 3  # rows of a text


@dataclass(frozen=True)
class Text:
    rows: tuple[str, ...]  # from top to bottom
    pixels: Pixels
    labels: Pixels


def make_page(rng: np.random.Generator, split: Split, width: int, height: int) -> Sight:
    """Rows of any signs and shapes, over the edge too: to be named, and nothing is asked."""
    canvas = Canvas(rng, width, height)
    y = float(rng.uniform(-8, 6))
    while y < height:
        size = int(rng.integers(24, 52))
        colours = canvas.draw_colours(rng, 3)
        x = float(rng.uniform(-10, 6))
        if rng.random() < _SHAPE_SHARE:
            tall = _row_of_shapes(rng, canvas, colours, x, y, size)
        else:
            tall = _row_of_signs(rng, split, canvas, colours, x, y, size)
        y += tall + float(rng.uniform(2, 10))
    pixels, labels = canvas.finish(rng)
    return Sight((pixels,), (labels,), ())


def draw_words(rng: np.random.Generator, split: Split, width: int, height: int) -> Text:
    """One word or number, or several one below the other."""
    canvas = Canvas(rng, width, height)
    n = int(rng.integers(1, MOST + 1))
    names = font_names(split)
    rows = []
    for i in range(n):
        text = draw_word(rng, split) if rng.random() < 0.75 else draw_number(rng, split)
        room = height / n - 6
        size = int(rng.integers(26, 49))
        line = fit(text, names[rng.integers(len(names))], size, width - 8, room)
        x = float(rng.uniform(4, max(4.5, width - line.width - 4)))
        y = i * height / n + float(rng.uniform(3, max(3.5, room + 3 - line.height)))
        colour = canvas.draw_colours(rng, 1)[0]
        write(canvas, line, x, y, colour, shade(rng, lexicon.COLOURS[colour][1]))
        rows.append(text)
    return Text(tuple(rows), *canvas.finish(rng))


def make_text(rng: np.random.Generator, split: Split, width: int, height: int, count: int) -> Sight:
    text = draw_words(rng, split, width, height)
    whole = " ".join(text.rows)
    pool = [Question("read", "Read the text.", whole), Question("read", "读出文字。", whole)]
    order = rng.permutation(len(pool))
    return Sight((text.pixels,), (text.labels,), tuple(pool[order[i % len(pool)]] for i in range(count)))


def _row_of_signs(
    rng: np.random.Generator, split: Split, canvas: Canvas, colours: list[str], x: float, y: float, size: int
) -> float:
    """Height of the row, pixels."""
    names = font_names(split)
    text = "".join(_SIGNS[i] for i in rng.integers(len(_SIGNS), size=12))
    line = fit(text, names[rng.integers(len(names))], size, float("inf"), float("inf"))
    colour = colours[rng.integers(len(colours))]
    write(canvas, line, x, y, colour, shade(rng, lexicon.COLOURS[colour][1]))
    return line.height


def _row_of_shapes(
    rng: np.random.Generator, canvas: Canvas, colours: list[str], x: float, y: float, tall: float
) -> float:
    kinds = list(lexicon.SHAPES)
    radius = tall * 0.6
    while x < canvas.width:
        r = radius * float(rng.uniform(0.75, 1.0))
        kind, colour = kinds[rng.integers(len(kinds))], colours[rng.integers(len(colours))]
        rgb = shade(rng, lexicon.COLOURS[colour][1])
        angle = float(rng.uniform(-0.25, 0.25))
        draw(canvas, Shape(kind, colour, rgb, x + r, y + radius, r, angle))
        x += 2 * r + float(rng.uniform(2, 8))
    return 2 * radius
