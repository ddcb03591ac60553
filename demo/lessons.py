"""What each step of training is made of: by the step's number, so that a run can be resumed."""

from __future__ import annotations

from typing import Literal

from demo.example import Question, Sight
from demo.pictures.maker import SIZES, make_sight
from demo.split import rng_for
from demo.talk import make_talk

Lesson = Literal["page", "sight", "pair", "talk", "listen", "sound"]
N_PAGE, N_SIGHT, N_QUESTION, N_TALK = 8, 16, 4, 64
LOOKS = 5650  # steps at first in which the tower alone learns to name what lies in a patch
LISTENS = 3000  # steps behind them in which sound is not answered yet, but named moment by moment
_SIZE_SHARE = (0.6, 0.14, 0.14, 0.12)  # of SIZES
_KIND_SHARE = {"scene": 0.5, "lettering": 0.15, "text": 0.25, "chart": 0.1}
_SHARE: dict[Lesson, float] = {"page": 0.12, "sight": 0.74, "pair": 0.08, "talk": 0.06}
_HEARING_SHARE: dict[Lesson, float] = {"page": 0.07, "sight": 0.5, "pair": 0.05, "talk": 0.05, "sound": 0.33}


def lesson_of(step: int, *, hears: bool) -> Lesson:
    if step < LOOKS:
        return "page"
    share = _HEARING_SHARE if hears else _SHARE
    names = list(share)
    lesson = names[rng_for("train", "lesson", step).choice(len(names), p=list(share.values()))]
    return "listen" if lesson == "sound" and step < LOOKS + LISTENS else lesson


def pages(step: int) -> list[Sight]:
    first = step * N_PAGE
    return [make_sight("train", "page", first + i, SIZES[0], 0) for i in range(N_PAGE)]


def pairs(step: int) -> list[Sight]:
    first = step * N_SIGHT
    return [make_sight("train", "pair", first + i, SIZES[0], N_QUESTION) for i in range(N_SIGHT // 2)]


def talk(step: int) -> list[Question]:
    return [make_talk("train", step * N_TALK + i) for i in range(N_TALK)]


def sights(step: int) -> list[Sight]:
    """Single pictures of several kinds and of one size, so that they are cut alike."""
    rng = rng_for("train", "sights", step)
    size = SIZES[rng.choice(len(SIZES), p=_SIZE_SHARE)]
    count = N_SIGHT // 3 if size == SIZES[-1] else N_SIGHT  # about as many slices in every step
    kinds = rng.choice(list(_KIND_SHARE), count, p=list(_KIND_SHARE.values()))
    first = step * N_SIGHT
    return [make_sight("train", str(k), first + i, size, N_QUESTION) for i, k in enumerate(kinds)]
