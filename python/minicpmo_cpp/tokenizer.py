"""Tokenizer: the tokenizer of a model, without the model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minicpmo_cpp import _core
from minicpmo_cpp._core import ModelFileError

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # tokenizer.ggml.token_type
_MAX_ID = 1 << 24


class Tokenizer:
    """Text <-> ids, as Model.tokenize and Model.detokenize.

    Example:
        >>> tokenizer = Tokenizer.from_pretrained("MiniCPM-o-4_5")
        >>> tokenizer.detokenize(tokenizer.tokenize("Hello"))
        'Hello'
    """

    def __init__(self, engine: _core.Tokenizer) -> None:
        """Wraps an engine tokenizer; users call from_pretrained()."""
        self._engine = engine

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Opens a GGUF file, or a folder with vocab.json and merges.txt, or with tokenizer.json alone.

        Raises:
            ModelFileError: a file is missing or damaged; the message names it.
        """
        path = Path(path)
        if not path.is_dir():
            return cls(_core.Tokenizer.from_gguf(os.fsdecode(path)))
        ids, merges = _read_bpe(path)
        types = dict.fromkeys(ids.values(), _NORMAL)
        if len(types) != len(ids):
            raise ModelFileError(f"[tokenizer] expected one token per id, got an id twice ({path})")
        by_id = {i: token for token, i in ids.items()}
        for token, i, is_special in _added_tokens(path):
            if by_id.setdefault(i, token) != token:
                found = f"{by_id[i]!r} and {token!r} for {i}"
                raise ModelFileError(f"[tokenizer] expected one token per id, got {found} ({path})")
            types[i] = _CONTROL if is_special else _USER_DEFINED
        n_vocab = max(by_id, default=-1) + 1
        tokens = [by_id.get(i, f"[PAD{i}]") for i in range(n_vocab)]
        kinds = [types.get(i, _UNUSED) for i in range(n_vocab)]
        return cls(_core.Tokenizer(tokens=tokens, types=kinds, merges=merges))

    @property
    def n_vocab(self) -> int:
        return self._engine.n_vocab

    def tokenize(self, text: str, parse_special: bool = True) -> list[int]:
        """Text -> ids. parse_special: whether "<|im_end|>" and its like mean themselves or are plain text."""
        return self._engine.encode(text, parse_special)

    def detokenize(self, ids: Sequence[int] | NDArray[Any], skip_special: bool = False) -> str:
        """Ids -> text; bytes that are no UTF-8 become U+FFFD."""
        return self._engine.decode(to_ids(ids), skip_special)

    def find(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it, or None."""
        return self._engine.find(token)


def to_ids(ids: ArrayLike) -> list[int]:
    """Integers in any form -> a list of int."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"[tokenizer] expected integers [n], got {array.dtype} {list(array.shape)}")
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError(f"[tokenizer] expected 32-bit ids, got {array.min()} to {array.max()}")
    return [int(i) for i in array]


def _read_bpe(folder: Path) -> tuple[dict[str, int], list[str]]:
    """(token -> id, merges "left right")."""
    if (folder / "vocab.json").exists():
        path = folder / "vocab.json"
        return _checked_ids(_read_json(path), path), _read_merges(folder / "merges.txt")
    path = folder / "tokenizer.json"
    if not path.exists():
        known = "vocab.json and merges.txt, or tokenizer.json"
        raise ModelFileError(f"[tokenizer] expected {known}, got neither ({folder})")
    model = _object(_object(_read_json(path), path).get("model"), path)
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise ModelFileError(f"[tokenizer] expected a list of merges, got {type(merges).__name__} ({path})")
    joined = [" ".join(merge) if _is_pair(merge) else merge for merge in merges]
    for merge in joined:
        if not isinstance(merge, str):
            raise ModelFileError(f'[tokenizer] expected merges "a b" or ["a", "b"], got {merge!r} ({path})')
    return _checked_ids(model.get("vocab"), path), joined


def _read_merges(path: Path) -> list[str]:
    lines = _read_text(path).split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return [line.removesuffix("\r") for line in lines if line.strip("\r")]


def _added_tokens(folder: Path) -> list[tuple[str, int, bool]]:
    """(token, id, whether it is special) of every file that lists them; the last one decides."""
    found: list[tuple[Any, Any, Any, Path]] = []
    path = folder / "added_tokens.json"
    if path.exists():
        found += [(token, i, False, path) for token, i in _object(_read_json(path), path).items()]
    path = folder / "tokenizer.json"
    if path.exists():
        for entry in _object(_read_json(path), path).get("added_tokens") or []:
            fields = _object(entry, path)
            found.append((fields.get("content"), fields.get("id"), fields.get("special", False), path))
    path = folder / "tokenizer_config.json"
    if path.exists():
        settings = _object(_read_json(path), path)
        for key, entry in _object(settings.get("added_tokens_decoder") or {}, path).items():
            fields = _object(entry, path)
            i = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else key
            found.append((fields.get("content"), i, fields.get("special", False), path))
    for token, i, is_special, path in found:
        if not (isinstance(token, str) and token and isinstance(is_special, bool)):
            raise ModelFileError(f"[tokenizer] expected a token with its content, got {token!r} ({path})")
        _checked_ids({token: i}, path)
    return [(token, i, is_special) for token, i, is_special, _ in found]


def _checked_ids(ids: Any, path: Path) -> dict[str, int]:
    for token, i in _object(ids, path).items():
        if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < _MAX_ID:
            found = f"{i!r} for {token!r}"
            raise ModelFileError(f"[tokenizer] expected ids of 0 to {_MAX_ID - 1}, got {found} ({path})")
    return dict(ids)


def _is_pair(merge: Any) -> bool:
    return isinstance(merge, list) and len(merge) == 2 and all(isinstance(token, str) for token in merge)


def _object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelFileError(f"[tokenizer] expected an object, got {type(value).__name__} ({path})")
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"[tokenizer] expected JSON, got: {error} ({path})") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFileError(
            f"[tokenizer] expected a file, got: {error.strerror or error} ({path})"
        ) from None
    except UnicodeDecodeError as error:
        raise ModelFileError(f"[tokenizer] expected UTF-8, got: {error} ({path})") from None
