"""tokenizer.model: the pieces of a SentencePiece vocabulary, without its package."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.protocol_buffer import Message

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of a model
_TEXT, _SCORE, _TYPE = 1, 2, 3  # of a piece
_KIND, _BPE = 3, 2  # of a trainer, and its value
_ADDS_SPACE = 3  # of a normalizer
_NORMAL, _LAST_TYPE = 1, 6


@dataclass
class SentencePieces:
    tokens: list[str]
    scores: list[float]
    types: list[int]  # as tokenizer.ggml.token_type numbers them: the numbers are the same
    adds_space: bool = True  # in front of a text


def read_sentence_pieces(path: Path) -> SentencePieces:
    """The model in `path`, whose pieces merge by their scores. Raises ConvertError for any other file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConvertError(f"[tokenizer] expected the file {path.name} in {path.parent}, got none") from None
    found, kind = SentencePieces([], [], []), 1
    for number, value in Message(data, 0, len(data), path.name, "sentencepiece").fields():
        if not isinstance(value, Message):
            continue
        if number == _PIECES:
            _add_piece(found, value)
        elif number == _TRAINER:
            kind = _integer(value, _KIND, 1)
        elif number == _NORMALIZER:
            found.adds_space = _integer(value, _ADDS_SPACE, 1) != 0
    check(kind == _BPE, f"[tokenizer] expected a model of byte pairs, got one of type {kind} ({path.name})")
    check(len(found.tokens) > 0, f"[tokenizer] expected pieces, got none ({path.name})")
    return found


def _add_piece(found: SentencePieces, message: Message) -> None:
    text, score, kind = "", 0.0, _NORMAL
    for number, value in message.fields():
        if number == _TEXT and isinstance(value, Message):
            text = value.text()
        elif number == _SCORE and isinstance(value, Message):
            score = value.float32() or 0.0
        elif number == _TYPE and isinstance(value, int):
            kind = value
    good = text != "" and math.isfinite(score) and _NORMAL <= kind <= _LAST_TYPE
    check(good, f"[tokenizer] expected a piece with a score, got {text!r:.40}, type {kind} ({message.file})")
    found.tokens.append(text)
    found.scores.append(score)
    found.types.append(kind)


def _integer(message: Message, wanted: int, default: int) -> int:
    return next((v for number, v in message.fields() if number == wanted and isinstance(v, int)), default)
