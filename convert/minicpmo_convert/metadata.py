"""The key-value part of a GGUF file as an ordered list of typed entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gguf import GGUFValueType as Type

from minicpmo_convert.error import ConvertError


@dataclass(frozen=True)
class Entry:
    value: Any
    type: Type
    item_type: Type | None = None  # of an array


class Metadata:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def put(self, key: str, entry: Entry) -> None:
        for text in entry.value if entry.item_type is Type.STRING else (entry.value,):
            _check_text(key, text)
        self._entries[key] = entry

    def get(self, key: str) -> Any:
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def items(self) -> Iterator[tuple[str, Entry]]:
        return iter(self._entries.items())

    def u32(self, key: str, value: int) -> None:
        self.put(key, Entry(value, Type.UINT32))

    def i32(self, key: str, value: int) -> None:
        self.put(key, Entry(value, Type.INT32))

    def f32(self, key: str, value: float) -> None:
        self.put(key, Entry(value, Type.FLOAT32))

    def flag(self, key: str, value: bool) -> None:
        self.put(key, Entry(value, Type.BOOL))

    def text(self, key: str, value: str) -> None:
        self.put(key, Entry(value, Type.STRING))

    def texts(self, key: str, values: Sequence[str]) -> None:
        self._array(key, values, Type.STRING)

    def u32s(self, key: str, values: Sequence[int]) -> None:
        self._array(key, values, Type.UINT32)

    def i32s(self, key: str, values: Sequence[int]) -> None:
        self._array(key, values, Type.INT32)

    def f32s(self, key: str, values: Sequence[float]) -> None:
        self._array(key, values, Type.FLOAT32)

    def _array(self, key: str, values: Sequence[Any], item_type: Type) -> None:
        if len(values) > 0:  # GGUF readers differ on empty arrays; absent means empty
            self.put(key, Entry(list(values), Type.ARRAY, item_type))


def _check_text(key: str, value: Any) -> None:
    """JSON can spell half of a surrogate pair, which no UTF-8 text holds."""
    try:
        value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:
        raise ConvertError(f"[metadata] expected text, got {value[:40]!r} ({key})") from None
