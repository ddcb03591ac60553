"""Importance matrices: how much each input of a matrix matters, as llama-imatrix measures it.

Two formats: GGUF, with the tensors NAME.in_sum2 and NAME.counts, and the older list of names and sums.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minicpmo_convert.encoding import Values
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.gguf_file import MAGIC, GgufFile

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MAX_BYTES = 1 << 30
_MAX_NAME = 1 << 12


def read_imatrix(path: Path) -> dict[str, Values]:
    """Tensor name -> float32 [n_col], not negative, not all 0. Raises ConvertError for another file."""
    check(path.is_file(), f"[imatrix] expected a file, got {path}")
    check(path.stat().st_size <= _MAX_BYTES, f"[imatrix] expected at most {_MAX_BYTES} bytes ({path.name})")
    with path.open("rb") as file:
        is_gguf = file.read(len(MAGIC)) == MAGIC
    found = _read_gguf(path) if is_gguf else _read_list(path)
    check(len(found) > 0, f"[imatrix] expected importance of some tensors, got none ({path.name})")
    for name, values in found.items():
        good = bool(np.isfinite(values).all() and values.min() >= 0 and values.max() > 0)
        check(
            good, f"[imatrix] expected importance of 0 and above, got other numbers ({name!r}, {path.name})"
        )
    return found


def importance_of(imatrix: Mapping[str, Values], name: str, n_col: int) -> Values | None:
    """Of the inputs of one tensor; None where nothing was measured."""
    values = imatrix.get(name)
    if values is not None:
        check(
            len(values) == n_col,
            f"[imatrix] expected the importance of {n_col} inputs, got {len(values)} ({name!r}); "
            "it was measured on another model",
        )
    return values


def _read_gguf(path: Path) -> dict[str, Values]:
    tensors = {tensor.name: tensor for tensor in GgufFile(path).tensors}
    found = {}
    for name, sums in tensors.items():
        stem = name.removesuffix(_SUMS)
        counts = tensors.get(stem + _COUNTS)
        if stem == name or counts is None or sums.n_row != 1:  # more rows: experts
            continue
        check(
            sums.type == counts.type == "f32" and counts.n_col * counts.n_row == 1,
            f"[imatrix] expected sums and a count in f32, got others ({name!r}, {path.name})",
        )
        count = float(counts.values(0, 1)[0, 0])
        found[stem] = sums.values(0, 1)[0] / np.float32(count if count > 0 else 1)
    return found


def _read_list(path: Path) -> dict[str, Values]:
    data, at = path.read_bytes(), 0

    def number() -> int:
        nonlocal at
        if at + 4 > len(data):
            raise ConvertError(f"[imatrix] expected more data, got the end of the file ({path.name})")
        at += 4
        return int(struct.unpack_from("<i", data, at - 4)[0])

    found: dict[str, Values] = {}
    for _ in range(number()):
        n_name = number()
        good = 0 < n_name <= _MAX_NAME and at + n_name <= len(data)
        check(good, f"[imatrix] expected the name of a tensor, got {n_name} bytes ({path.name})")
        name = data[at : at + n_name].decode(errors="replace")
        at += n_name
        n_call, n_value = number(), number()
        good = 0 < n_value <= (len(data) - at) // 4
        check(good, f"[imatrix] expected values, got {n_value} ({name!r}, {path.name})")
        sums: Values = np.frombuffer(data, np.dtype("<f4"), n_value, at).astype(np.float32)
        found[name] = sums / np.float32(max(n_call, 1))
        at += 4 * n_value
    return found
