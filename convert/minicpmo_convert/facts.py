"""Typed, range-checked reading of one JSON object of a checkpoint folder (config.json and its neighbours)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from minicpmo_convert.error import ConvertError, check

_REQUIRED = object()


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConvertError(
            f"[checkpoint] expected the file {path.name} in {path.parent}, got nothing"
        ) from None
    except UnicodeDecodeError as error:
        raise ConvertError(f"[checkpoint] expected UTF-8 in {path.name}, got {error}") from None


def read_json(path: Path) -> Any:
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"[checkpoint] expected JSON in {path.name}, got {error}") from None


class Facts:
    """One JSON object. A key that is absent or null takes the default; without a default it is an error."""

    def __init__(self, values: Any, where: str) -> None:
        check(isinstance(values, dict), f"[config] expected an object, got {type(values).__name__} ({where})")
        self._values: dict[str, Any] = values
        self._where = where

    @classmethod
    def read(cls, path: Path) -> Facts:
        return cls(read_json(path), path.name)

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def section(self, key: str) -> Facts:
        return Facts(self._get(key, _REQUIRED), f"{self._where}: {key}")

    def integer(self, key: str, default: Any = _REQUIRED, low: int = 1, high: int = 2**24) -> int:
        value = self._get(key, default)
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        self._check(good, f"an integer of {low} to {high}", key, value)
        return int(value)

    def number(self, key: str, default: Any = _REQUIRED, low: float = 0.0, high: float = 1e12) -> float:
        value = self._get(key, default)
        self._check(
            _is_number(value) and low <= value <= high, f"a number of {low:g} to {high:g}", key, value
        )
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        value = self._get(key, default)
        self._check(isinstance(value, bool), "true or false", key, value)
        return bool(value)

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        value = self._get(key, default)
        self._check(isinstance(value, str), "a string", key, value)
        return str(value)

    def numbers(self, key: str, count: int, default: Any = _REQUIRED) -> list[float]:
        value = self._get(key, default)
        good = isinstance(value, list) and len(value) == count and all(map(_is_number, value))
        self._check(good, f"a list of {count} numbers", key, value)
        return [float(number) for number in value]

    def ids(self, key: str, n_vocab: int, default: Any = _REQUIRED) -> list[int]:
        """A token id or a list of them."""
        value = self._get(key, default)
        ids = value if isinstance(value, list) else [value]
        good = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < n_vocab for i in ids)
        self._check(good, f"token ids below {n_vocab}", key, value)
        return [int(i) for i in ids]

    def raw(self, key: str) -> Any:
        return self._values.get(key)

    def values(self) -> dict[str, Any]:
        return dict(self._values)

    def require(self, key: str, value: Any, expected: Any) -> None:
        """For a fact of which this converter knows one value only."""
        self._check(value == expected, repr(expected), key, value)

    def _get(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is None:
            self._check(default is not _REQUIRED, "a value", key, "nothing")
            return default
        return value

    def _check(self, holds: bool, expected: str, key: str, got: Any) -> None:
        if not holds:
            shown = repr(got) if got != "nothing" else got
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            raise ConvertError(f"[config] expected {expected}, got {shown} ({self._where}: {key})")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
