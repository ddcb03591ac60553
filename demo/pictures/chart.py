"""Charts of a few bars of different colours: how many, which is the tallest, which the shortest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.pictures import canvas
from demo.pictures.shape import SMOOTH


@dataclass(frozen=True)
class Chart:
    colours: tuple[str, ...]
    heights: tuple[float, ...]  # pixels
    pixels: Pixels


def draw_chart(rng: np.random.Generator, width: int, height: int) -> Chart:
    image, ground = canvas.draw_ground(rng, width, height)
    colours = canvas.draw_colours(rng, ground, int(rng.integers(2, 5)))
    n = len(colours)
    # Tops are at least a tenth of the picture apart, so that nobody has to guess.
    steps = rng.permutation(7)[:n]
    heights = [height * (0.16 + 0.11 * float(s) + float(rng.uniform(0, 0.008))) for s in steps]
    pitch = (width - 16) / n
    pen = ImageDraw.Draw(image)
    base = height - 8
    for i, (name, h) in enumerate(zip(colours, heights, strict=True)):
        x = 8 + pitch * i + 0.12 * pitch
        box = [v * SMOOTH for v in (x, base - h, x + 0.76 * pitch, base)]
        pen.rectangle(box, fill=canvas.shade(rng, lexicon.COLOURS[name][1]))
    line = (40, 40, 40) if sum(ground) > 380 else (210, 210, 210)
    pen.line([4 * SMOOTH, base * SMOOTH, (width - 4) * SMOOTH, base * SMOOTH], fill=line, width=2 * SMOOTH)
    return Chart(tuple(colours), tuple(heights), canvas.finish(rng, image))


def ask(chart: Chart) -> list[Question]:
    tallest = lexicon.colour(chart.colours[int(np.argmax(chart.heights))])
    shortest = lexicon.colour(chart.colours[int(np.argmin(chart.heights))])
    n = str(len(chart.colours))
    return [
        Question("chart", "Which bar is the tallest?", tallest.en),
        Question("chart", "哪个柱子最高？", tallest.zh),
        Question("chart", "Which bar is the shortest?", shortest.en),
        Question("chart", "哪个柱子最矮？", shortest.zh),
        Question("chart", "How many bars are there?", n),
        Question("chart", "有几个柱子？", n),
    ]


def make(rng: np.random.Generator, width: int, height: int, count: int) -> Sight:
    chart = draw_chart(rng, width, height)
    pool = ask(chart)
    order = rng.permutation(len(pool))
    return Sight((chart.pixels,), tuple(pool[order[i % len(pool)]] for i in range(count)))
