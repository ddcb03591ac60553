"""What each step of training is made of: by the step's number, so that a run can be resumed."""

from __future__ import annotations

from typing import Literal

from demo.example import Question, Sight
from demo.pictures.maker import SIZES, make_sight
from demo.split import rng_for
from demo.talk import make_talk

Lesson = Literal["sight", "pair", "talk", "sound"]
N_SIGHT, N_QUESTION, N_TALK = 16, 4, 64
_SIZE_SHARE = (0.6, 0.14, 0.14, 0.12)  # of SIZES
_KIND_SHARE = {"scene": 0.55, "lettering": 0.33, "chart": 0.12}
_SHARE: dict[Lesson, float] = {"sight": 0.84, "pair": 0.08, "talk": 0.08}
_HEARING_SHARE: dict[Lesson, float] = {"sight": 0.46, "pair": 0.05, "talk": 0.05, "sound": 0.44}


def lesson_of(step: int, *, hears: bool) -> Lesson:
    share = _HEARING_SHARE if hears else _SHARE
    names = list(share)
    return names[rng_for("train", "lesson", step).choice(len(names), p=list(share.values()))]


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
