"""llama.cpp's vocabularies and the ids that it expects of them.

MINICPMO_VOCABS names a folder with ggml-vocab-*.gguf and their .inp and .out files: vendor/llama.cpp/models
in the source archive of llama-cpp-python (`pip download --no-binary :all: --no-deps llama-cpp-python`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from minicpmo_cpp import UnsupportedModelError, _core

SEPARATOR = b"\n__ggml_vocab_test__\n"
FOLDER = os.environ.get("MINICPMO_VOCABS")

needs_vocabularies = pytest.mark.skipif(FOLDER is None, reason="MINICPMO_VOCABS names no folder")


@needs_vocabularies
@pytest.mark.parametrize("name", ["qwen2", "llama-spm", "phi-3"])
def test_every_vector_is_equal(name: str) -> None:
    file = Path(FOLDER or "", f"ggml-vocab-{name}.gguf")
    tokenizer = _core.Tokenizer.from_gguf(str(file))
    texts = file.with_name(file.name + ".inp").read_bytes().split(SEPARATOR)[:-1]
    lines = file.with_name(file.name + ".out").read_text().splitlines()
    assert len(texts) == len(lines) == 46
    for text, line in zip(texts, lines, strict=True):
        ids = [int(word) for word in line.split()]
        assert tokenizer.encode(text.decode(), parse_special=False) == ids, text
        assert tokenizer.decode(ids) == text.decode()


@needs_vocabularies
def test_other_vocabularies_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.ggml\.pre qwen2 or llama-bpe, got"):
        _core.Tokenizer.from_gguf(str(Path(FOLDER or "", "ggml-vocab-starcoder.gguf")))
