"""What is held out is not in training: random numbers, words, sums, voices and sentences."""

import numpy as np
import pytest

from demo.lexicon import LANGUAGES
from demo.pictures.fonts import font_names
from demo.pictures.lettering import draw_number, draw_word
from demo.sounds.sentence import is_new
from demo.sounds.utterance import SETS, plan
from demo.sounds.voice import Voice
from demo.split import rng_for, split_of_word
from demo.talk import FIXED, ask_sum, make_talk


def test_no_two_examples_share_random_numbers() -> None:
    keys = [(s, m, i) for s in ("train", "held_out") for m in ("scene", "chart") for i in range(50)]
    first = [int(rng_for(*key).integers(2**62)) for key in keys]  # type: ignore[arg-type]
    assert len(set(first)) == len(keys)
    assert first == [int(rng_for(*key).integers(2**62)) for key in keys]  # type: ignore[arg-type]


def test_a_split_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"\[split\] expected one of"):
        rng_for("test", "scene", 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\[split\] expected an index from 0 on, got -1"):
        rng_for("train", "scene", -1)


@pytest.mark.parametrize("draw", [draw_word, draw_number])
def test_held_out_words_and_numbers_are_never_seen(draw: type[str]) -> None:
    seen, held = (
        {draw(rng_for(split, "words", i), split) for i in range(1500)}  # type: ignore[arg-type]
        for split in ("train", "held_out")
    )
    shared = {word for word in seen & held if not (word.isdigit() and len(word) == 1)}
    assert not shared
    assert len(held) > 100
    assert {split_of_word(word) for word in held if len(word) > 1} == {"held_out"}


def test_held_out_sums_are_never_seen() -> None:
    def asked(split: str) -> set[str]:
        return {ask_sum(rng_for(split, "sums", i), split).text for i in range(600)}  # type: ignore[arg-type]

    assert not asked("train") & asked("held_out")
    assert len(asked("held_out")) > 30


def test_sums_are_right() -> None:
    for i in range(100):
        question = ask_sum(rng_for("train", "sums", i), "train")
        a, b = (int(c) for c in question.text if c.isdigit())
        is_plus = any(word in question.text for word in ("+", "plus", "加"))
        assert question.answer == str(a + b if is_plus else a - b)


def test_talk_is_the_same_every_time_and_knows_who_it_is() -> None:
    assert [make_talk("train", i) for i in range(20)] == [make_talk("train", i) for i in range(20)]
    answers = {text: answer for texts, answer in FIXED for text in texts}
    assert "demo" in answers["Who are you?"]
    assert "minicpmo-cli -hf" in answers["How do I get the real model?"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_voices_and_sentences_are_never_heard(language: str) -> None:
    def planned(split: str, which: str) -> list[tuple[str, Voice]]:
        return [plan(split, language, i, which)[:2] for i in range(400)]  # type: ignore[arg-type]

    heard = planned("train", "seen voices")
    assert heard == planned("train", "seen voices")
    for which in SETS:
        for text, voice in planned("held_out", which):
            assert voice.speed not in {v.speed for _, v in heard}
            assert voice.pitch not in {v.pitch for _, v in heard}
            assert (voice.timbre in {v.timbre for _, v in heard}) == (which == "seen voices")
            if is_new("thing", text) and split_of_word(text) == "held_out":
                assert text not in {t for t, _ in heard}
    with pytest.raises(ValueError, match=r"\[sounds\] expected seen voices in training"):
        plan("train", language, 0, "unseen voices")  # type: ignore[arg-type]


def test_fonts_for_evaluation_are_not_for_training() -> None:
    seen, held = font_names("train"), font_names("held_out")
    assert "" in seen  # Pillow's own: there is always one to train with
    assert held == [""] or not set(seen) & set(held)


def test_examples_do_not_depend_on_each_other() -> None:
    """The tenth is the same whether or not the ninth was made before it."""
    alone = draw_word(rng_for("train", "order", 9), "train")
    assert [draw_word(rng_for("train", "order", i), "train") for i in range(10)][-1] == alone
    assert np.array_equal(rng_for("train", "a", 1).random(3), rng_for("train", "a", 1).random(3))
