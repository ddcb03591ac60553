"""Writes a GGUF file as a stream, each tensor in pieces. The target appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUFWriter
from tqdm import tqdm  # type: ignore[import-untyped]

from minicpmo_convert.encoding import F16_MAX, F32_MAX, Values, encode, ggml_type, row_bytes
from minicpmo_convert.error import check
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

ARCHITECTURE = "general.architecture"


@dataclass(frozen=True)
class Output:
    tensor: Tensor
    type: str  # ggml type name to store it in
    importance: Values | None = None  # of each column, for types of blocks

    @property
    def n_byte(self) -> int:
        return self.tensor.n_row * row_bytes(self.type, self.tensor.n_col)


def write(target: Path, keys: Metadata, outputs: Sequence[Output]) -> None:
    with replacing(target) as part:
        _write_header(part, keys, outputs)
        with part.open("ab") as file, _progress(outputs) as bar:
            for output in outputs:
                _pad(file)
                for chunk in output.tensor.chunks():
                    piece = _piece(output, *chunk)
                    file.write(piece)
                    bar.update(piece.nbytes)
            _pad(file)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place at the end, and is removed if there is no such end."""
    check(not target.is_dir(), f"[output] expected a file name, got a folder ({target})")
    check(target.parent.is_dir(), f"[output] expected an existing folder, got {target.parent}")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.open("xb").close()
        yield part
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_header(path: Path, keys: Metadata, outputs: Sequence[Output]) -> None:
    writer = GGUFWriter(path, str(keys.get(ARCHITECTURE)))
    for key, entry in keys.items():
        if key != ARCHITECTURE:  # the writer has put it first
            writer.add_key_value(key, entry.value, entry.type, entry.item_type)
    for output in outputs:
        tensor = output.tensor
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), output.n_byte, raw_dtype=ggml_type(output.type)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def _progress(outputs: Sequence[Output]) -> tqdm:
    total = sum(output.n_byte for output in outputs)
    return tqdm(total=total, unit="B", unit_scale=True, desc="writing", disable=None, leave=False)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % GGUF_DEFAULT_ALIGNMENT))


def _piece(output: Output, first: int, count: int) -> memoryview:
    tensor = output.tensor
    if output.type == tensor.type and output.type not in ("f32", "f16", "bf16"):
        return tensor.read(first, count).data  # blocks as they are: encoding them again would lose
    # The scales of blocks are float16 and as large as a block's values can be.
    values = tensor.values(first, count, F32_MAX if output.type in ("f32", "bf16") else F16_MAX)
    return np.ascontiguousarray(encode(values, output.type, output.importance)).data
