"""The tensors of a file of torch.save, read without torch: a zip archive of a pickle and raw storages."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minicpmo_convert.checkpoint import read_bytes
from minicpmo_convert.encoding import Blocks, row_bytes
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_pickle import Placed, read_pickle

MAX_PICKLE_BYTES = 16_000_000  # it holds names and shapes; the data lies apart from it
_FLOATS = {"FloatStorage": "f32", "HalfStorage": "f16", "BFloat16Storage": "bf16", "DoubleStorage": "f64"}
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., lengths of the name and of the extra field


class TorchFile:
    """Tensors by name, and which of them have been asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _read_directory(path)
        pickles = [name for name in self._entries if name.split("/")[1:] == ["data.pkl"]]
        check(len(pickles) == 1, f"[torch] expected one data.pkl, got {len(pickles)} ({path.name})")
        self._folder = pickles[0].split("/")[0]
        if f"{self._folder}/byteorder" in self._entries:
            order = self._read("byteorder", 16)
            check(order == b"little", f"[torch] expected little-endian numbers, got {order!r} ({path.name})")
        pickle = read_pickle(self._read("data.pkl", MAX_PICKLE_BYTES), path.name)
        self._tensors = _tensors_of(pickle, path.name)
        self._taken: set[str] = set()

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of that name, which must have that shape."""
        placed = self._find(name)
        check(
            placed.shape == shape,
            f"[torch] expected shape {[*shape]}, got {[*placed.shape]} ({name}, {self.path.name})",
        )
        self._taken.add(name)
        return self._open(name, placed)

    def left(self) -> list[str]:
        """Names that nobody took."""
        return [name for name in self._tensors if name not in self._taken]

    def _find(self, name: str) -> Placed:
        check(name in self._tensors, f"[torch] expected the tensor {name}, got nothing ({self.path.name})")
        return self._tensors[name]

    def _open(self, name: str, placed: Placed) -> Tensor:
        storage, where = placed.storage, f"({name}, {self.path.name})"
        check(storage.type in _FLOATS, f"[torch] expected a float tensor, got {storage.type} {where}")
        kind = _FLOATS[storage.type]
        item = row_bytes(kind, 1)
        base, n_byte = self._place(f"data/{storage.key}")
        expected = storage.n_item * item
        check(n_byte == expected, f"[torch] expected {expected} bytes of data, got {n_byte} {where}")
        shape, stride = placed.shape, placed.stride
        good = len(shape) >= 1 and min(shape) >= 1 and math.prod(shape) <= storage.n_item
        check(good, f"[torch] expected 1 to {storage.n_item} values, got shape {[*shape]} {where}")
        span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        end = placed.offset + span
        check(end <= storage.n_item, f"[torch] expected {storage.n_item} values, got up to {end} {where}")
        begin, width = base + placed.offset * item, row_bytes(kind, shape[-1])

        def read(first: int, count: int) -> Blocks:
            return read_bytes(self.path, begin + first * width, count * width).reshape(count, width)

        def read_strided(first: int, count: int) -> Blocks:
            words = read_bytes(self.path, begin, span * item).view(f"u{item}")
            view = np.lib.stride_tricks.as_strided(words, shape, [step * item for step in stride])
            rows = np.ascontiguousarray(view).reshape(-1, shape[-1])[first : first + count]
            return np.ascontiguousarray(rows).view(np.uint8)

        dense = all(step == math.prod(shape[i + 1 :]) or shape[i] == 1 for i, step in enumerate(stride))
        return Tensor(name, shape, kind, read if dense else read_strided)

    def _read(self, entry: str, limit: int) -> bytes:
        begin, count = self._place(entry)
        check(
            count <= limit,
            f"[torch] expected at most {limit} bytes, got {count} ({entry}, {self.path.name})",
        )
        return read_bytes(self.path, begin, count).tobytes()

    def _place(self, entry: str) -> tuple[int, int]:
        """Where the bytes of an entry begin in the file, and how many there are."""
        where = f"({entry!r}, {self.path.name})"
        info = self._entries.get(f"{self._folder}/{entry}")
        if info is None or info.compress_type != zipfile.ZIP_STORED:
            raise ConvertError(f"[torch] expected an uncompressed entry, got none {where}")
        size, begin = self.path.stat().st_size, info.header_offset
        check(
            0 <= begin <= size - 30 and info.file_size >= 0,
            f"[torch] expected an entry inside the file, got byte {begin} {where}",
        )
        signature, n_name, n_extra = _LOCAL_HEADER.unpack(read_bytes(self.path, begin, 30).tobytes())
        begin += 30 + n_name + n_extra
        check(
            signature == b"PK\x03\x04" and begin + info.file_size <= size,
            f"[torch] expected {info.file_size} bytes of data, got the end of the file {where}",
        )
        return begin, info.file_size


def _read_directory(path: Path) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except FileNotFoundError:
        raise ConvertError(f"[torch] expected the file {path.name} in {path.parent}, got nothing") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise ConvertError(
            f"[torch] expected a zip file as torch.save writes it, got {error} ({path.name})"
        ) from None
    entries = {info.filename: info for info in infos}
    check(len(entries) == len(infos), f"[torch] expected each entry once, got a name twice ({path.name})")
    return entries


def _tensors_of(root: Any, file: str) -> dict[str, Placed]:
    """The tensors of a state dictionary; numbers and texts that were saved beside them carry no weights."""
    good = isinstance(root, dict)
    check(good, f"[torch] expected a dictionary of tensors, got {type(root).__name__} ({file})")
    tensors = {str(name): value for name, value in root.items() if isinstance(value, Placed)}
    for name, value in root.items():
        good = isinstance(value, Placed | int | float | str | None)
        check(good, f"[torch] expected a tensor, got {type(value).__name__} ({name!r}, {file})")
    check(len(tensors) > 0, f"[torch] expected tensors, got none ({file})")
    return tensors
