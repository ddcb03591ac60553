"""Lessons by a step's number, and how held-out answers are counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from demo import lessons
from demo.evaluate import answered, heard, sights, talk
from demo.sounds.utterance import Utterance
from demo.sounds.voice import Voice


@pytest.mark.parametrize("hears", [False, True])
def test_a_step_is_always_the_same_lesson_and_every_lesson_comes(hears: bool) -> None:
    steps = range(lessons.LOOKS, lessons.LOOKS + 300)
    first = [lessons.lesson_of(i, hears=hears) for i in steps]
    assert first == [lessons.lesson_of(i, hears=hears) for i in steps]
    counts = Counter(first)
    assert set(counts) == {"page", "sight", "pair", "talk"} | ({"listen"} if hears else set())
    assert counts["sight"] > 100
    assert {lessons.lesson_of(i, hears=hears) for i in range(0, lessons.LOOKS, 50)} == {"page"}
    last = lessons.LOOKS + lessons.LISTENS
    later = {lessons.lesson_of(i, hears=hears) for i in range(last, last + 300)}
    assert later == {"page", "sight", "pair", "talk"} | ({"sound"} if hears else set())


def test_no_page_comes_twice() -> None:
    seen = [page.pictures[0].tobytes() for step in (0, 1, 2) for page in lessons.pages(step)]
    assert len(set(seen)) == len(seen) == 3 * lessons.N_PAGE


def test_pictures_of_a_step_are_alike_in_size_and_no_step_repeats_another() -> None:
    seen: list[bytes] = []
    for step in range(4):
        shown = lessons.sights(step)
        is_cut = shown[0].pictures[0].shape == (168, 336, 3)
        assert len(shown) == (lessons.N_SIGHT // 3 if is_cut else lessons.N_SIGHT)
        assert len({sight.pictures[0].shape for sight in shown}) == 1
        assert {len(sight.questions) for sight in shown} == {lessons.N_QUESTION}
        seen += [sight.pictures[0].tobytes() for sight in shown]
    assert len(set(seen)) == len(seen)


class Parrot:
    """Answers every question in one way."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked: list[Any] = []

    def chat(self, messages: Any, **options: Any) -> Any:
        assert options["temperature"] == 0
        self.asked.append(messages[0]["content"])
        return type("Result", (), {"text": f" {self.says}\n"})


def test_answers_are_right_when_they_are_the_same() -> None:
    wrong: list[str] = []
    parrot: Any = Parrot("red")
    asked = [("colour", ["a"], "red"), ("colour", ["b"], "blue"), ("shape", ["c"], "star")]
    assert answered(parrot, iter(asked), wrong.append) == {"colour": (1, 2), "shape": (0, 1)}
    assert wrong == ["colour: 'b' expected 'blue', got 'red'", "shape: 'c' expected 'star', got 'red'"]
    assert parrot.asked == [["a"], ["b"], ["c"]]


def test_words_are_counted_and_too_many_do_not_help() -> None:
    def said(text: str) -> Utterance:
        return Utterance("en", text, Voice("", 160, 50), np.zeros(160, np.float32))

    parrot: Any = Parrot("one two two two two two two")
    asked = [said("one two three"), said("one two two"), said("four")]
    # Six errors in three words are three at most, and four words too many in three leave none.
    assert heard(parrot, iter(asked), lambda line: None) == (0, 7)
    assert heard(Parrot("one two"), iter(asked), lambda line: None) == (4, 7)  # type: ignore[arg-type]
    assert parrot.asked[0][0].startswith("Please listen")


def test_what_is_asked_is_held_out_and_nothing_twice() -> None:
    asked = list(sights(3, sliced=True))
    assert all(task.endswith(", sliced") for task, _, _ in asked)
    assert {content[0].shape for _, content, _ in asked} == {(168, 336, 3)}
    assert {task for task, _, _ in talk(2)} == {"talk", "sum"}
    for _, content, _ in sights(1, sliced=False):
        assert isinstance(content[-1], str)
