"""Numbers and short words in real fonts, and what is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.lexicon import Rgb
from demo.pictures.canvas import SMOOTH, Canvas, block, shade
from demo.pictures.fonts import Font, font_names, open_font
from demo.pictures.label import label
from demo.split import Split, split_of_word

_VOWELS, _CONSONANTS = "AEIOU", "BCDFGHJKLMNPRSTVWXZ"
_LEAST_SIZE = 14  # of a font
_NAMES = (
    "CAT DOG SUN BUS CAR HAT CUP BOX KEY PEN TEA ICE RED EGG BED MAP BAG TOY JAM FAN "
    "FISH BIRD TREE BOOK DOOR SHIP MILK RAIN SNOW STAR MOON CAKE FROG LION BEAR DUCK "
    "OPEN STOP EXIT SALE FREE TAXI CAFE HOTEL APPLE HOUSE RIVER MUSIC BREAD TIGER"
).split()


def draw_word(rng: np.random.Generator, split: Split) -> str:
    """A name or a made-up word of three to five capital letters, of this split."""
    while True:
        if rng.random() < 0.3:
            word = _NAMES[rng.integers(len(_NAMES))]
        else:
            starts_with_vowel = int(rng.random() < 0.3)
            sets = (_VOWELS, _CONSONANTS) if starts_with_vowel else (_CONSONANTS, _VOWELS)
            word = "".join(
                sets[i % 2][rng.integers(len(sets[i % 2]))] for i in range(int(rng.integers(3, 6)))
            )
        if split_of_word(word) == split:
            return word


def draw_number(rng: np.random.Generator, split: Split) -> str:
    """One to four digits, of this split from two digits on."""
    while True:
        number = str(rng.integers(10 ** int(rng.integers(1, 5))))
        if len(number) == 1 or split_of_word(number) == split:
            return number


@dataclass(frozen=True)
class Lettering:
    text: str
    colour: str
    pixels: Pixels
    labels: Pixels


def draw_text(rng: np.random.Generator, split: Split, text: str, width: int, height: int) -> Lettering:
    """A text in a font of the split, as large as it fits, where it fits."""
    canvas = Canvas(rng, width, height)
    name = canvas.draw_colours(rng, 1)[0]
    names = font_names(split)
    font_name = names[rng.integers(len(names))]
    line = fit(text, font_name, int(rng.integers(26, 49)), width - 8, height - 8)
    x, y = (
        float(rng.uniform(4, max(4.5, side - n - 4)))
        for side, n in ((width, line.width), (height, line.height))
    )
    write(canvas, line, x, y, name, shade(rng, lexicon.COLOURS[name][1]))
    return Lettering(text, name, *canvas.finish(rng))


@dataclass(frozen=True)
class Line:
    """A text at a size it fits in."""

    text: str
    font: Font
    width: float  # pixels
    height: float


def fit(text: str, font_name: str, size: int, width: float, height: float) -> Line:
    """The text at a font's `size`, or at the next smaller one that fits, but for the smallest."""
    while True:
        font = open_font(font_name, size * SMOOTH)
        left, top, right, bottom = font.getbbox(text)
        line = Line(text, font, (right - left) / SMOOTH, (bottom - top) / SMOOTH)
        if (line.width <= width and line.height <= height) or size <= _LEAST_SIZE:
            return line
        size -= 2


def write(canvas: Canvas, line: Line, x: float, y: float, colour: str, rgb: Rgb) -> None:
    """Draws a line with its left upper corner at pixel (x, y), each letter labelled by its box."""
    left, top, _, bottom = line.font.getbbox(line.text)
    x, y = x * SMOOTH, y * SMOOTH
    canvas.decorate(rgb, lambda pen, ink: pen.text((x - left, y - top), line.text, font=line.font, fill=ink))
    for i, letter in enumerate(line.text):
        begin, end = (x - left + line.font.getlength(line.text[:n]) for n in (i, i + 1))
        canvas.mark(label(letter, colour), block((begin, y, end, y + bottom - top)))


def make(rng: np.random.Generator, split: Split, width: int, height: int, count: int) -> Sight:
    is_word = rng.random() < 0.65
    text = draw_word(rng, split) if is_word else draw_number(rng, split)
    made = draw_text(rng, split, text, width, height)
    colour = lexicon.colour(made.colour)
    if is_word:
        pool = [Question("word", "What word is written?", text), Question("word", "写的是什么单词？", text)]
    else:
        pool = [
            Question("number", "What number is written?", text),
            Question("number", "写的是什么数字？", text),
        ]
    pool += [
        Question("text colour", "What colour is the text?", colour.en),
        Question("text colour", "文字是什么颜色？", colour.zh),
    ]
    # Both languages ask what is written before the colour is asked for.
    order = [*rng.permutation(2), *(2 + rng.permutation(2))]
    return Sight((made.pixels,), (made.labels,), tuple(pool[order[i % len(pool)]] for i in range(count)))
