from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import Model, ModelFileError, Tokenizer
from minicpmo_cpp.parity.understanding import compare_tokenizer


def byte_letters() -> list[str]:
    """GPT-2's letter of every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte if byte in printable else next(rest)) for byte in range(256)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bytes, "he", "ll", and two added tokens: <eot> is special, <tool> is not; id 259 is nobody's."""
    vocab = {letter: i for i, letter in enumerate(byte_letters())} | {"he": 256, "ll": 257}
    write(tmp_path / "vocab.json", vocab)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\nl l\n", encoding="utf-8")
    write(tmp_path / "added_tokens.json", {"<eot>": 258, "<tool>": 260})
    decoder = {"258": {"content": "<eot>", "special": True}, "260": {"content": "<tool>", "special": False}}
    write(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def test_a_folder_with_vocab_and_merges(folder: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.n_vocab == 261
    assert tokenizer.tokenize("hello<eot><tool>") == [256, 257, byte_letters().index("o"), 258, 260]
    assert tokenizer.detokenize([256, 257, 258, 260]) == "hell<eot><tool>"
    assert tokenizer.detokenize([256, 257, 258, 260], skip_special=True) == "hell<tool>"
    assert tokenizer.detokenize(np.array([256, 257], np.int64)) == "hell"
    plain = tokenizer.tokenize("<eot>", parse_special=False)
    assert 258 not in plain
    assert tokenizer.detokenize(plain) == "<eot>"
    assert tokenizer.find("nothing") is None


@pytest.mark.parametrize("merges", [["h e", "l l"], [["h", "e"], ["l", "l"]]])
def test_tokenizer_json_alone_gives_the_same(folder: Path, merges: list[Any]) -> None:
    whole = Tokenizer.from_pretrained(folder)
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    added = [
        {"id": 258, "content": "<eot>", "special": True},
        {"id": 260, "content": "<tool>", "special": False},
    ]
    for name in ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"):
        (folder / name).unlink()
    write(folder / "tokenizer.json", {"model": {"vocab": vocab, "merges": merges}, "added_tokens": added})
    alone = Tokenizer.from_pretrained(folder)
    text = "hello<eot> <tool>!"
    assert alone.n_vocab == whole.n_vocab
    assert alone.tokenize(text) == whole.tokenize(text)
    assert alone.detokenize([258, 260], skip_special=True) == "<tool>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", None, "expected vocab.json and merges.txt, or tokenizer.json, got neither"),
        ("merges.txt", None, r"expected a file, got: .*merges\.txt"),
        ("vocab.json", "{", r"expected JSON, got: .*vocab\.json"),
        ("vocab.json", "[" * 100000, r"expected JSON, got: .*vocab\.json"),
        ("vocab.json", "[]", r"expected an object, got list .*vocab\.json"),
        ("vocab.json", '{"a": "0"}', r"got '0' for 'a' .*vocab\.json"),
        ("vocab.json", '{"a": -1}', "got -1 for 'a'"),
        ("vocab.json", '{"a": 4000000000}', "got 4000000000 for 'a'"),
        ("vocab.json", '{"a": 0, "b": 0}', "got an id twice"),
        ("merges.txt", b"\xff\xfe", r"expected UTF-8, .*merges\.txt"),
        ("merges.txt", "nospace\n", "merge"),
        ("added_tokens.json", '{"<x>": 256}', "got 'he' and '<x>' for 256"),
        ("added_tokens.json", '{"<x>": "y"}', r"got 'y' for '<x>' .*added_tokens\.json"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "<x>"}}}', "got 'x' for '<x>'"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": {}}}', "expected a token with its content"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": 5}}', "expected an object, got int"),
    ],
)
def test_damaged_folders_are_named(
    folder: Path, name: str, content: str | bytes | None, message: str
) -> None:
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ModelFileError, match=message):
        Tokenizer.from_pretrained(folder)


def test_a_missing_file_is_a_model_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="none"):
        Tokenizer.from_pretrained(tmp_path / "none")


@pytest.mark.parametrize("ids", ["ab", [0.5], [[1]], [2**40], [-5], [10**6], [None]])
def test_ids_that_are_none_are_refused(folder: Path, ids: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Tokenizer.from_pretrained(folder).detokenize(ids)


def test_a_model_file_has_the_same_tokenizer(model: Model, model_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(model_path)
    for text in ("Hello,  world!\n", "<|im_start|>user\n", "你好 é 🙂", ""):
        assert tokenizer.tokenize(text) == model.tokenize(text)
        assert tokenizer.tokenize(text, parse_special=False) == model.tokenize(text, parse_special=False)
        assert model.detokenize(model.tokenize(text)) == text


def test_a_checkpoint_has_one_tokenizer_in_all_its_forms(
    golden: Path, model_path: Path, tmp_path: Path
) -> None:
    checkpoint = golden / "tiny-a" / "checkpoint"
    shutil.copy(checkpoint / "tokenizer.json", tmp_path)
    forms = [Tokenizer.from_pretrained(path) for path in (checkpoint, tmp_path, model_path)]
    for entry in json.loads((golden / "tokens.json").read_text(encoding="utf-8")):
        first, *others = [form.tokenize(entry["text"]) for form in forms]
        assert others == [first, first]
        first_text, *texts = [form.detokenize(first, skip_special=True) for form in forms]
        assert texts == [first_text, first_text]


def test_golden_tokens(golden: Path) -> None:
    real = golden.parent / "tokenizer"
    if not real.exists():
        pytest.skip(f"no tokenizer files in {real}")
    rows = list(compare_tokenizer(golden, Tokenizer.from_pretrained(real)))
    assert [row.error for row in rows] == [0.0, 0.0]
