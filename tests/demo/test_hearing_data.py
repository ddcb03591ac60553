"""Sentences, words heard wrongly, resampling and rooms; none of it needs espeak-ng."""

import numpy as np
import pytest

from demo.lexicon import LANGUAGES
from demo.sounds.mel import log_mel
from demo.sounds.sentence import KINDS, draw_sentence
from demo.sounds.voice import RATE, UNIT, in_a_room, resample
from demo.sounds.word_accuracy import n_error, words_of
from demo.split import rng_for


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_of_every_kind_and_can_be_written_as_heard(language: str) -> None:
    drawn = [draw_sentence(rng_for("train", "s", i), language) for i in range(300)]  # type: ignore[arg-type]
    assert {kind for kind, _ in drawn} == set(KINDS)
    for _, text in drawn:
        assert text == text.strip().lower()
        letters = text.replace(" ", "")
        assert letters.isalpha()
        assert letters.isascii() == (language == "en")


@pytest.mark.parametrize(
    ("expected", "got", "n"),
    [
        ("one two three", "one two three", 0),
        ("one two three", "one three", 1),
        ("one two three", "one too three", 1),
        ("one two", "one two two", 1),
        ("one", "", 1),
        ("one two", "two one", 2),
    ],
)
def test_words_heard_wrongly_are_counted(expected: str, got: str, n: int) -> None:
    assert n_error(words_of(expected, "en"), words_of(got, "en")) == n
    assert n_error(words_of(got, "en"), words_of(expected, "en")) == n


def test_signs_are_the_words_of_chinese() -> None:
    assert words_of("红色 的", "zh") == ["红", "色", "的"]


def test_resampling_keeps_tones_that_fit() -> None:
    t = np.arange(22050) / 22050
    low, high = np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 9000 * t)
    got = resample(low + high, 22050, 16000)
    assert len(got) == RATE
    np.testing.assert_allclose(got, np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE), atol=1e-6)  # float32


def test_a_room_adds_silence_and_makes_lengths_alike() -> None:
    heard = in_a_room(rng_for("train", "room", 0), np.ones(5000, np.float32))
    assert len(heard) % UNIT == 0
    assert np.abs(heard).max() <= 1
    assert np.abs(heard[:400]).max() < 0.05


@pytest.mark.parametrize("n", [0, 480001])
def test_a_spectrum_is_of_some_sound_and_not_of_too_much(n: int) -> None:
    with pytest.raises(ValueError, match=r"\[mel\] expected 1 to 480000 samples"):
        log_mel(np.zeros(n, np.float32), 80)
