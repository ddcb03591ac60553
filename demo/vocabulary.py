"""Byte pairs learned from the makers' texts, in the format and with the special tokens of the official files.

Capital letters are not merged: what is written in pictures is read letter by letter.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

# How the official tokenizer cuts text into words; digits one by one.
_WORDS = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:(?![\r\n])[\W_])?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PLAIN: tuple[str, ...] = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
)
PLAIN += ("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>")
# In the official order of ids.
_TAGS: tuple[str, ...] = (
    "image",
    "ref",
    "box",
    "quad",
    "point",
    "slice",
    "image_id",
    "unit",
    "answer",
    "focus",
    "line",
)
_TAGS += ("perception", "source_image")
_NAMES = (
    "audio_start audio audio_end spk_bos spk spk_eos tts_bos tts_eos listen speak interrupt vad_start "
    "vad_end emotion_start emotion_end speed_start speed_end pitch_start pitch_end turn_bos turn_eos "
    "chunk_eos chunk_bos chunk_tts_bos chunk_tts_eos tts_pad"
).split()
SPECIAL: tuple[str, ...] = (
    "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    *(f"<|{name}_{end}|>" for name in ("object_ref", "box", "quad", "vision") for end in ("start", "end")),
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", *PLAIN,
    *(f"<{slash}{tag}>" for tag in _TAGS for slash in ("", "/")),
    "<image_save_to>", "</image_save_to>", *(f"<|{name}|>" for name in _NAMES),
    *(f"<|timbre_{i}|>" for i in range(7, 32)),
)  # fmt: skip
_SPECIAL = re.compile("|".join(re.escape(token) for token in sorted(SPECIAL, key=len, reverse=True)))


def _byte_letters() -> dict[int, str]:
    """Every byte as a letter that can be seen: itself where it can, else one from U+0100 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in seen}
    return letters | {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in letters)}


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


@dataclass(frozen=True)
class Vocabulary:
    merges: tuple[tuple[str, str], ...]

    @property
    def tokens(self) -> dict[str, int]:
        """token -> id without the special ones: bytes, then merges in their order."""
        letters = [_LETTERS[b] for b in sorted(_LETTERS, key=lambda b: ord(_LETTERS[b]))]
        return {token: i for i, token in enumerate([*letters, *(a + b for a, b in self.merges)])}

    @property
    def special(self) -> dict[str, int]:
        return {token: len(self.tokens) + i for i, token in enumerate(SPECIAL)}

    def __len__(self) -> int:
        """Rows of the embedding, filled up to whole blocks of 32."""
        return -(-(len(self.tokens) + len(SPECIAL)) // 32) * 32

    def save(self, path: Path) -> None:
        path.write_text(json.dumps([" ".join(pair) for pair in self.merges], ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        return cls(
            tuple((a, b) for a, b in (line.split(" ") for line in json.loads(path.read_text("utf-8"))))
        )


class Encoder:
    """Text -> ids and back, special tokens included."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = vocabulary.tokens
        self.special = vocabulary.special
        self._ranks = {pair: i for i, pair in enumerate(vocabulary.merges)}
        self._names = {i: token for token, i in (self._ids | self.special).items()}
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        at = 0
        for match in _SPECIAL.finditer(text):
            ids += self._encode_plain(text[at : match.start()])
            ids.append(self.special[match.group()])
            at = match.end()
        return ids + self._encode_plain(text[at:])

    def decode(self, ids: Iterable[int]) -> str:
        pieces = (self._names.get(i, "") for i in ids)
        data = b"".join(
            p.encode() if p in self.special else bytes(_BYTES[letter] for letter in p) for p in pieces
        )
        return data.decode("utf-8", "replace")

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in _WORDS.findall(text):
            if word not in self._known:
                self._known[word] = [self._ids[piece] for piece in _merged(_letters(word), self._ranks)]
            ids += self._known[word]
        return ids


def learn(texts: Iterable[str], n_merge: int) -> Vocabulary:
    """The merges of the most frequent pairs; of equally frequent ones the first in the alphabet.

    Ends early where no pair occurs twice.
    """
    plain = (part for text in texts for part in _SPECIAL.split(text))
    words = Counter(
        word for part in plain for word in _WORDS.findall(part) if not re.search("[A-Z]{2}", word)
    )
    parts = {word: _letters(word) for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < n_merge:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in parts.items():
            for pair in pairwise(pieces):
                pairs[pair] += words[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        parts = {word: _merged(pieces, {best: 0}) for word, pieces in parts.items()}
    return Vocabulary(tuple(merges))


def _letters(word: str) -> list[str]:
    return [_LETTERS[b] for b in word.encode()]


def _merged(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    while len(pieces) > 1:
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not found:
            return pieces
        rank = min(found)[0]
        joined: list[str] = []
        i = 0
        while i < len(pieces):
            if i + 1 < len(pieces) and ranks.get((pieces[i], pieces[i + 1])) == rank:
                joined.append(pieces[i] + pieces[i + 1])
                i += 2
            else:
                joined.append(pieces[i])
                i += 1
        pieces = joined
    return pieces
