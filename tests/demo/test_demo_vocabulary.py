"""The demo's vocabulary: the official special tokens in their order, and letters for what is read."""

import json
import os
from pathlib import Path

import pytest

from demo.corpus import texts
from demo.vocabulary import SPECIAL, Encoder, Vocabulary, learn

GOLDEN = Path(os.environ.get("MINICPMO_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")
SOME = list(texts(n_picture=15, n_sentence=150, n_talk=40))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return learn(SOME, 120)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden data: set MINICPMO_GOLDEN")
def test_special_tokens_are_the_official_ones_in_their_order() -> None:
    official = json.loads((GOLDEN / "tiny-a" / "checkpoint" / "added_tokens.json").read_text())
    assert tuple(sorted(official, key=official.__getitem__)) == SPECIAL


def test_texts_come_back(vocabulary: Vocabulary) -> None:
    encoder = Encoder(vocabulary)
    for text in SOME[::3]:
        assert encoder.decode(encoder.encode(text)) == text


def test_it_is_the_same_every_time_and_survives_a_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    assert learn(SOME, 120) == vocabulary
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary


def test_frequent_words_are_single_tokens_and_capitals_are_letters(vocabulary: Vocabulary) -> None:
    encoder = Encoder(vocabulary)
    assert len(encoder.encode(" the")) == 1
    assert len(encoder.encode("What")) == 1
    assert len(encoder.encode("CAT")) == 3
    assert len(encoder.encode("1024")) == 4


def test_ids_have_no_holes_and_rows_are_whole_blocks(vocabulary: Vocabulary) -> None:
    ids = sorted([*vocabulary.tokens.values(), *vocabulary.special.values()])
    assert ids == list(range(256 + 120 + len(SPECIAL)))
    assert len(vocabulary) % 32 == 0
    assert 0 <= len(vocabulary) - len(ids) < 32
