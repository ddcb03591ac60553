"""Numbers and short words in real fonts, and what is written."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.pictures import canvas
from demo.pictures.fonts import font_names, open_font
from demo.pictures.shape import SMOOTH
from demo.split import Split, split_of_word

_VOWELS, _CONSONANTS = "AEIOU", "BCDFGHJKLMNPRSTVWXZ"
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


def draw_text(
    rng: np.random.Generator, split: Split, text: str, width: int, height: int
) -> tuple[Pixels, str]:
    """The picture of a text, and the name of its colour."""
    image, ground = canvas.draw_ground(rng, width, height)
    name = canvas.draw_colours(rng, ground, 1)[0]
    names = font_names(split)
    font_name = names[rng.integers(len(names))]
    size = int(rng.integers(26, 49))
    while True:
        font = open_font(font_name, size * SMOOTH)
        left, top, right, bottom = font.getbbox(text)
        w, h = (right - left) / SMOOTH, (bottom - top) / SMOOTH
        if (w <= width - 8 and h <= height - 8) or size <= 14:
            break
        size -= 2
    x, y = (float(rng.uniform(4, max(4.5, side - extent - 4))) for side, extent in ((width, w), (height, h)))
    ImageDraw.Draw(image).text(
        (x * SMOOTH - left, y * SMOOTH - top),
        text,
        font=font,
        fill=canvas.shade(rng, lexicon.COLOURS[name][1]),
    )
    return canvas.finish(rng, image), name


def make(rng: np.random.Generator, split: Split, width: int, height: int, count: int) -> Sight:
    is_word = rng.random() < 0.65
    text = draw_word(rng, split) if is_word else draw_number(rng, split)
    pixels, name = draw_text(rng, split, text, width, height)
    colour = lexicon.colour(name)
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
    order = rng.permutation(len(pool))
    return Sight((pixels,), tuple(pool[order[i % len(pool)]] for i in range(count)))
