"""A Hugging Face checkpoint folder: its safetensors files, validated before anything is read from them.

The `safetensors` package cannot hand bfloat16 to numpy, so the format is read here: 8 bytes of header length,
a JSON header of name -> dtype, shape, data_offsets, then the data without holes or overlaps.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicpmo_convert.encoding import Blocks, row_bytes
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.facts import Facts, read_json
from minicpmo_convert.tensor import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000
_FLOATS = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
_ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "C64": 8},
}


@dataclass(frozen=True)
class StoredTensor:
    name: str
    dtype: str  # as safetensors spells it
    shape: tuple[int, ...]
    path: Path
    begin: int  # byte offset in the file
    n_byte: int

    def open(self) -> Tensor:
        check(
            self.dtype in _FLOATS,
            f"[checkpoint] expected a float tensor, got {self.dtype} ({self.name}, {self.path.name})",
        )
        kind = _FLOATS[self.dtype]
        width = row_bytes(kind, self.shape[-1])

        def read(first: int, count: int) -> Blocks:
            return read_bytes(self.path, self.begin + first * width, count * width).reshape(count, width)

        return Tensor(self.name, self.shape, kind, read)


class Checkpoint:
    """All tensors of a folder by name, and which of them have been asked for."""

    def __init__(self, folder: Path) -> None:
        check(folder.is_dir(), f"[checkpoint] expected a checkpoint folder, got {folder}")
        self.folder = folder
        self._tensors = _read_folder(folder)
        self._taken: set[str] = set()

    def facts(self, name: str) -> Facts:
        return Facts.read(self.folder / name)

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of that name, which must have that shape."""
        stored = self._find(name)
        check(
            stored.shape == shape,
            f"[checkpoint] expected shape {[*shape]}, got {[*stored.shape]} ({name}, {stored.path.name})",
        )
        self._taken.add(name)
        return stored.open()

    def left(self) -> list[str]:
        """Names that nobody took."""
        return [name for name in self._tensors if name not in self._taken]

    def _find(self, name: str) -> StoredTensor:
        check(name in self._tensors, f"[checkpoint] expected the tensor {name}, got nothing ({self.folder})")
        return self._tensors[name]


def read_bytes(path: Path, offset: int, count: int) -> Blocks:
    data = np.empty(count, np.uint8)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        view, done = data.data, 0
        while done < count:
            got = file.readinto(view[done:])
            check(
                bool(got),
                f"[checkpoint] expected {count} bytes at {offset}, got the end of the file ({path.name})",
            )
            done += got or 0
    return data


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The validated header of one safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            limit = min(MAX_HEADER_BYTES, size - 8)
            check(
                2 <= length <= limit,
                f"[safetensors] expected a header of 2 to {limit} bytes, got {length} ({path.name})",
            )
            header = json.loads(file.read(length), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise ConvertError(
            f"[checkpoint] expected the file {path.name} in {path.parent}, got nothing"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"[safetensors] expected a JSON header, got {error} ({path.name})") from None
    check(isinstance(header, dict), f"[safetensors] expected a JSON object as header ({path.name})")
    header.pop("__metadata__", None)
    tensors = [_stored(path, 8 + length, name, entry) for name, entry in header.items()]
    end = 8 + length
    for tensor in sorted(tensors, key=lambda t: (t.begin, t.n_byte)):
        check(
            tensor.begin == end,
            f"[safetensors] expected data at byte {end}, got {tensor.begin} ({tensor.name!r}, {path.name})",
        )
        end += tensor.n_byte
    check(end == size, f"[safetensors] expected a file of {end} bytes, got {size} ({path.name})")
    return {tensor.name: tensor for tensor in tensors}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name that occurs twice")
    return entries


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**60


def _stored(path: Path, base: int, name: str, entry: Any) -> StoredTensor:
    where = f"({name!r}, {path.name})"
    good = isinstance(entry, dict) and isinstance(entry.get("dtype"), str) and entry["dtype"] in _ITEM_BYTES
    check(good, f"[safetensors] expected an entry with a known dtype {where}")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    good = isinstance(shape, list) and len(shape) <= 8 and all(map(_is_count, shape))
    check(good, f"[safetensors] expected a shape of at most 8 sizes {where}")
    good = (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(map(_is_count, offsets))
        and offsets[0] <= offsets[1]
    )
    check(good, f"[safetensors] expected data_offsets [begin, end] {where}")
    begin, end = offsets
    n_byte = math.prod(shape) * _ITEM_BYTES[entry["dtype"]]
    check(n_byte == end - begin, f"[safetensors] expected {n_byte} bytes of data, got {end - begin} {where}")
    return StoredTensor(name, entry["dtype"], tuple(shape), path, base + begin, n_byte)


def _read_folder(folder: Path) -> dict[str, StoredTensor]:
    if (folder / SINGLE).exists():
        return read_header(folder / SINGLE)
    check((folder / INDEX).exists(), f"[checkpoint] expected {SINGLE} or {INDEX}, got neither ({folder})")
    index = read_json(folder / INDEX)
    place = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(place, dict) or not all(isinstance(shard, str) for shard in place.values()):
        raise ConvertError(f"[checkpoint] expected a weight_map of names to files ({INDEX})")
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(place.values())):
        check(
            shard == Path(shard).name and shard.endswith(".safetensors"),
            f"[checkpoint] expected the name of a safetensors file, got {shard!r} ({INDEX})",
        )
        for name, tensor in read_header(folder / shard).items():
            check(
                place.get(name) == shard,
                f"[checkpoint] expected {name!r} only where {INDEX} says, got {shard}",
            )
            tensors[name] = tensor
    for name, shard in place.items():
        check(name in tensors, f"[checkpoint] expected the tensor {name!r} in {shard}, got nothing")
    return tensors
