"""Protocol buffers read without their package: fields by number, as they lie in a file."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from minicpmo_convert.error import ConvertError, check

MAX_LIST_BYTES = 1 << 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Message:
    """A range of the file that holds one message."""

    data: mmap.mmap | bytes
    begin: int
    end: int
    file: str
    kind: str  # of file, for messages

    def fields(self) -> Iterator[tuple[int, int | Message]]:
        """(field number, an integer or a range); fixed-size numbers are ranges too."""
        at = self.begin
        while at < self.end:
            tag, at = self._varint(at)
            kind = tag & 7
            if kind == _VARINT:
                value, at = self._varint(at)
                yield tag >> 3, value
                continue
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if kind == _BYTES:
                length, at = self._varint(at)
            if length is None or length > self.end - at:
                raise ConvertError(f"[{self.kind}] expected a field, got damage at byte {at} ({self.file})")
            yield tag >> 3, replace(self, begin=at, end=at + length)
            at += length

    def bytes(self) -> bytes:
        return self.data[self.begin : self.end]

    def float32(self) -> float | None:
        """None where it is no number of that size."""
        return struct.unpack("<f", self.bytes())[0] if self.end - self.begin == 4 else None

    def text(self) -> str:
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise ConvertError(
                f"[{self.kind}] expected UTF-8 text at byte {self.begin} ({self.file})"
            ) from None

    def integers(self) -> list[int]:
        """A packed list."""
        good = self.end - self.begin <= MAX_LIST_BYTES
        check(good, f"[{self.kind}] expected a short list at byte {self.begin} ({self.file})")
        values, at = [], self.begin
        while at < self.end:
            value, at = self._varint(at)
            values.append(signed(value))
        return values

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= self.end:
                break
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise ConvertError(f"[{self.kind}] expected a number, got damage at byte {at} ({self.file})")


def signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value
