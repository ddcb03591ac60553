"""A GGUF file: its header with every count checked against the bytes that are left, its tensors by rows.

The reader of the gguf package trusts the counts in a file, and maps the whole file.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType
from gguf import GGUFValueType as Type

from minicpmo_convert.checkpoint import read_bytes
from minicpmo_convert.encoding import Blocks
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.metadata import Entry, Metadata
from minicpmo_convert.tensor import Tensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ITEMS = 1 << 24  # of a metadata array: each becomes an object
MAX_TENSORS = 1 << 20
ALIGNMENT = "general.alignment"
_SCALARS = {
    Type.UINT8: "<B",
    Type.INT8: "<b",
    Type.UINT16: "<H",
    Type.INT16: "<h",
    Type.UINT32: "<I",
    Type.INT32: "<i",
    Type.FLOAT32: "<f",
    Type.BOOL: "<?",
    Type.UINT64: "<Q",
    Type.INT64: "<q",
    Type.FLOAT64: "<d",
}
_MIN_ENTRY = 8 + 4 + 1  # key length, type, one byte of value
_MIN_TENSOR = 8 + 4 + 8 + 4 + 8  # name length, dimensions, one of them, type, offset


class GgufFile:
    """`keys` in the file's order, `tensors` in the order of their table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            cursor = _Cursor(file, path)
            check(cursor.bytes(4) == MAGIC, f"[gguf] expected a GGUF file, got another format ({path.name})")
            version = cursor.number("<I")
            check(version in VERSIONS, f"[gguf] expected version 2 or 3, got {version} ({path.name})")
            n_tensor = cursor.number("<Q")
            n_key = cursor.count("<Q", _MIN_ENTRY)
            self.keys = cursor.metadata(n_key)
            limit = min(cursor.left() // _MIN_TENSOR, MAX_TENSORS)
            check(n_tensor <= limit, f"[gguf] expected at most {limit} tensors, got {n_tensor} ({path.name})")
            entries = [cursor.tensor_entry() for _ in range(n_tensor)]
            alignment = self.keys.get(ALIGNMENT) or GGUF_DEFAULT_ALIGNMENT
            good = (
                isinstance(alignment, int) and 8 <= alignment <= 1 << 20 and alignment & (alignment - 1) == 0
            )
            check(
                good, f"[gguf] expected an alignment that is a power of two, got {alignment!r} ({path.name})"
            )
            base = cursor.at() + -cursor.at() % alignment
            self.tensors = [_open(path, base, cursor.size, *entry) for entry in entries]
        names = {tensor.name for tensor in self.tensors}
        check(
            len(names) == len(self.tensors),
            f"[gguf] expected each tensor once, got a name twice ({path.name})",
        )


class _Cursor:
    """Reads little-endian values, never more than the file holds."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._name = path.name
        self.size = path.stat().st_size

    def at(self) -> int:
        return self._file.tell()

    def left(self) -> int:
        return self.size - self._file.tell()

    def bytes(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self.left() else b""
        check(len(data) == count, f"[gguf] expected {count} more bytes, got {self.left()} ({self._name})")
        return data

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]

    def count(self, layout: str, item_bytes: int) -> int:
        """A count of items that take at least so many bytes each."""
        count = int(self.number(layout))
        limit = min(self.left() // item_bytes, MAX_ITEMS)
        check(count <= limit, f"[gguf] expected a count of at most {limit}, got {count} ({self._name})")
        return count

    def text(self) -> str:
        data = self.bytes(self.count("<Q", 1))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ConvertError(f"[gguf] expected UTF-8 text, got {data[:40]!r} ({self._name})") from None

    def metadata(self, n_key: int) -> Metadata:
        keys = Metadata()
        for _ in range(n_key):
            key = self.text()
            check(keys.get(key) is None, f"[gguf] expected each key once, got {key!r} twice ({self._name})")
            kind = self._type(key)
            if kind is Type.ARRAY:
                item = self._type(key)
                n_item = self.count(
                    "<Q", 8 if item is Type.STRING else struct.calcsize(_SCALARS.get(item, "<Q"))
                )
                keys.put(key, Entry([self._value(item, key) for _ in range(n_item)], kind, item))
            else:
                keys.put(key, Entry(self._value(kind, key), kind))
        return keys

    def tensor_entry(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self.text()
        n_dim = self.number("<I")
        check(1 <= n_dim <= 4, f"[gguf] expected 1 to 4 dimensions, got {n_dim} ({name!r}, {self._name})")
        shape = tuple(self.number("<Q") for _ in range(n_dim))[::-1]
        number = self.number("<I")
        try:
            return name, shape, GGMLQuantizationType(number), self.number("<Q")
        except ValueError:
            raise ConvertError(
                f"[gguf] expected a tensor type, got {number} ({name!r}, {self._name})"
            ) from None

    def _type(self, key: str) -> Type:
        number = self.number("<I")
        try:
            return Type(number)
        except ValueError:
            raise ConvertError(
                f"[gguf] expected a value type, got {number} ({key!r}, {self._name})"
            ) from None

    def _value(self, kind: Type, key: str) -> Any:
        if kind is Type.STRING:
            return self.text()
        check(kind in _SCALARS, f"[gguf] expected no array inside an array ({key!r}, {self._name})")
        return self.number(_SCALARS[kind])


def _open(
    path: Path, base: int, size: int, name: str, shape: tuple[int, ...], kind: Any, offset: int
) -> Tensor:
    where = f"({name!r}, {path.name})"
    n_value, n_byte = GGML_QUANT_SIZES[kind]
    good = min(shape) >= 1 and shape[-1] % n_value == 0
    check(good, f"[gguf] expected rows in blocks of {n_value}, got shape {list(shape)} {where}")
    width = shape[-1] // n_value * n_byte
    end = base + offset + width * math.prod(shape[:-1])
    check(end <= size, f"[gguf] expected data up to byte {end}, got a file of {size} bytes {where}")

    def read(first: int, count: int) -> Blocks:
        return read_bytes(path, base + offset + first * width, count * width).reshape(count, width)

    return Tensor(name, shape, kind.name.lower(), read)
