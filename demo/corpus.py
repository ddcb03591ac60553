"""All that is asked and answered, as texts: what the vocabulary is learned from."""

from __future__ import annotations

from collections.abc import Iterator

from demo.lexicon import LANGUAGES
from demo.pictures.maker import SIZES, make_sight
from demo.prompts import HEAR, chat_text
from demo.sounds.sentence import draw_sentence
from demo.split import rng_for
from demo.talk import FIXED, make_talk
from demo.vocabulary import Vocabulary, learn

N_MERGE = 600


def texts(n_picture: int = 400, n_sentence: int = 4000, n_talk: int = 600) -> Iterator[str]:
    """Of training only."""
    for kind in ("scene", "lettering", "text", "chart", "pair"):
        for i in range(n_picture):
            for question in make_sight("train", kind, i, SIZES[0], 6).questions:
                yield chat_text(question.text)
                yield question.answer
    for i in range(n_sentence):
        language = LANGUAGES[i % 2]
        yield draw_sentence(rng_for("train", f"corpus {language}", i), language)[1]
        yield HEAR[language]
    for i in range(n_talk):
        question = make_talk("train", i)
        yield chat_text(question.text)
        yield question.answer
    for asked, answer in FIXED:
        for text in asked:
            yield from (text, answer) * 4


def learn_vocabulary() -> Vocabulary:
    return learn(texts(), N_MERGE)
