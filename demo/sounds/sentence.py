"""Sentences to be said: digits, colours, commands and short sentences, in English and Chinese."""

from __future__ import annotations

import numpy as np

from demo import lexicon
from demo.lexicon import Language

_COMMANDS = (
    "stop",
    "go",
    "turn left",
    "turn right",
    "open the door",
    "close the door",
    "light on",
    "light off",
)
_COMMANDS_ZH = ("停", "走", "向左转", "向右转", "打开门", "关上门", "开灯", "关灯")
_THINGS = ("cat", "dog", "bird", "fish", "house", "tree", "book", "car", "cup", "ball")
_THINGS_ZH = ("猫", "狗", "鸟", "鱼", "房子", "树", "书", "车", "杯子", "球")
_PLACES = ("here", "there", "in the garden", "on the table", "at home")
_PLACES_ZH = ("这里", "那里", "花园里", "桌子上", "家里")
_SUMS = ("plus", "minus")
KINDS = ("digits", "colours", "command", "thing", "place", "shapes", "sum")


def draw_sentence(rng: np.random.Generator, language: Language) -> tuple[str, str]:
    """(kind, text) in small letters without marks: what one hears."""
    kind = KINDS[rng.integers(len(KINDS))]
    make = _english if language == "en" else _chinese
    return kind, make(rng, kind)


def is_new(kind: str, text: str) -> bool:
    """Whether there are so many sentences alike that one can be held out."""
    return kind != "command" and len(text) > (12 if text.isascii() else 4)


def _pick(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[rng.integers(len(words))]


def _english(rng: np.random.Generator, kind: str) -> str:
    colours = [lexicon.colour(name).en for name in lexicon.COLOURS]
    if kind == "digits":
        return " ".join(_pick(rng, lexicon.DIGITS) for _ in range(int(rng.integers(1, 6))))
    if kind == "colours":
        return " and ".join(_pick(rng, colours) for _ in range(int(rng.integers(1, 4))))
    if kind == "command":
        return _pick(rng, _COMMANDS)
    if kind == "thing":
        return f"the {_pick(rng, _THINGS)} is {_pick(rng, colours)}"
    if kind == "place":
        return f"the {_pick(rng, _THINGS)} is {_pick(rng, _PLACES)}"
    if kind == "shapes":
        n = int(rng.integers(1, 6))
        return lexicon.thing(_pick(rng, list(lexicon.COLOURS)), _pick(rng, list(lexicon.SHAPES)), "en", n)
    return f"what is {_pick(rng, lexicon.DIGITS)} {_pick(rng, _SUMS)} {_pick(rng, lexicon.DIGITS)}"


def _chinese(rng: np.random.Generator, kind: str) -> str:
    colours = [lexicon.colour(name).zh for name in lexicon.COLOURS]
    digits = list(lexicon.DIGITS_ZH)
    if kind == "digits":
        return "".join(_pick(rng, digits) for _ in range(int(rng.integers(1, 6))))
    if kind == "colours":
        return "和".join(_pick(rng, colours) for _ in range(int(rng.integers(1, 4))))
    if kind == "command":
        return _pick(rng, _COMMANDS_ZH)
    if kind == "thing":
        return f"{_pick(rng, _THINGS_ZH)}是{_pick(rng, colours)}的"
    if kind == "place":
        return f"{_pick(rng, _THINGS_ZH)}在{_pick(rng, _PLACES_ZH)}"
    if kind == "shapes":
        n = int(rng.integers(1, 6))
        return lexicon.thing(_pick(rng, list(lexicon.COLOURS)), _pick(rng, list(lexicon.SHAPES)), "zh", n)
    return f"{_pick(rng, digits)}{_pick(rng, ['加', '减'])}{_pick(rng, digits)}等于几"
