"""Charts of a few bars of different colours: how many, which is the tallest, which the shortest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.pictures.canvas import SMOOTH, Canvas, block, shade
from demo.pictures.label import label


@dataclass(frozen=True)
class Chart:
    colours: tuple[str, ...]
    heights: tuple[float, ...]  # pixels
    pixels: Pixels
    labels: Pixels


def draw_chart(rng: np.random.Generator, width: int, height: int) -> Chart:
    canvas = Canvas(rng, width, height)
    colours = canvas.draw_colours(rng, int(rng.integers(2, 5)))
    n = len(colours)
    # Tops are at least a tenth of the picture apart, so that nobody has to guess.
    steps = rng.permutation(7)[:n]
    heights = [height * (0.16 + 0.11 * float(s) + float(rng.uniform(0, 0.008))) for s in steps]
    pitch = (width - 16) / n
    base = height - 8
    for i, (name, h) in enumerate(zip(colours, heights, strict=True)):
        x = 8 + pitch * i + 0.12 * pitch
        box = (x, base - h, x + 0.76 * pitch, base)
        canvas.draw(shade(rng, lexicon.COLOURS[name][1]), label("bar", name), block(box, SMOOTH))
    line = (40, 40, 40) if sum(canvas.ground) > 380 else (210, 210, 210)
    canvas.decorate(line, block((4, base - 1, width - 4, base + 1), SMOOTH))
    return Chart(tuple(colours), tuple(heights), *canvas.finish(rng))


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
    return Sight((chart.pixels,), (chart.labels,), tuple(pool[order[i % len(pool)]] for i in range(count)))
