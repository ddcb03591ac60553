"""The words the demo model knows its world by, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, Language] = ("en", "zh")
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Word:
    en: str
    zh: str
    plural: str = ""  # English

    def __getitem__(self, language: Language) -> str:
        return self.en if language == "en" else self.zh


COLOURS: dict[str, tuple[Word, Rgb]] = {
    "red": (Word("red", "红色"), (214, 36, 32)),
    "orange": (Word("orange", "橙色"), (245, 140, 20)),
    "yellow": (Word("yellow", "黄色"), (246, 222, 40)),
    "green": (Word("green", "绿色"), (32, 150, 58)),
    "blue": (Word("blue", "蓝色"), (30, 78, 210)),
    "purple": (Word("purple", "紫色"), (136, 40, 168)),
    "black": (Word("black", "黑色"), (12, 12, 14)),
    "white": (Word("white", "白色"), (250, 250, 250)),
}
SHAPES: dict[str, Word] = {
    "circle": Word("circle", "圆形", "circles"),
    "square": Word("square", "方形", "squares"),
    "triangle": Word("triangle", "三角形", "triangles"),
    "star": Word("star", "星形", "stars"),
    "cross": Word("cross", "十字", "crosses"),
    "ring": Word("ring", "圆环", "rings"),
}
PLACES: dict[str, Word] = {
    "top left": Word("top left", "左上"),
    "top right": Word("top right", "右上"),
    "bottom left": Word("bottom left", "左下"),
    "bottom right": Word("bottom right", "右下"),
    "centre": Word("in the centre", "中间"),
}
SIDES: dict[str, Word] = {"left": Word("left", "左边"), "right": Word("right", "右边")}
YES, NO = Word("yes", "是"), Word("no", "不是")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_ZH = "零一二三四五六七八九"
CLASSIFIERS_ZH = "两三四五"  # how two to five things are counted


def colour(name: str) -> Word:
    return COLOURS[name][0]


def thing(colour_name: str, shape_name: str, language: Language, count: int = 1) -> str:
    """So many shapes of a colour: "two red circles", "两个红色圆形"."""
    c, shape = colour(colour_name)[language], SHAPES[shape_name]
    if language == "zh":
        return f"{'一' if count == 1 else CLASSIFIERS_ZH[count - 2]}个{c}{shape.zh}"
    if count == 1:
        return f"{'an' if c[0] in 'aeiou' else 'a'} {c} {shape.en}"
    return f"{DIGITS[count]} {c} {shape.plural}"


def listed(parts: list[str], language: Language) -> str:
    """An enumeration as one says it."""
    if len(parts) == 1:
        return parts[0]
    comma, last = (", ", " and ") if language == "en" else ("、", "和")
    return comma.join(parts[:-1]) + last + parts[-1]
