"""Writers of the files beside a checkpoint, with numpy only: what torch.save and an ONNX exporter leave."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def name(module: str, function: str) -> bytes:
    return b"c" + f"{module}\n{function}\n".encode()


def pickled_tensor(key: str, values: Values, storage: str = "FloatStorage") -> bytes:
    """What torch.save writes for one tensor whose data is the entry `key`."""
    strides = [int(np.prod(values.shape[i + 1 :])) for i in range(values.ndim)]
    place = b"(" + text("storage") + name("torch", storage) + text(key) + text("cpu")
    place += integer(values.size) + b"tQ"
    shape = b"(" + b"".join(map(integer, values.shape)) + b"t"
    shape += b"(" + b"".join(map(integer, strides)) + b"t"
    hooks = b"\x89" + name("collections", "OrderedDict") + b")R"
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + place + integer(0) + shape + hooks + b"tR"


def pickled_tensors(tensors: Mapping[str, Values]) -> bytes:
    items = b"".join(text(key) + pickled_tensor(str(i), v) for i, (key, v) in enumerate(tensors.items()))
    return b"\x80\x02" + name("collections", "OrderedDict") + b")R(" + items + b"u."


def write_torch(path: Path, tensors: Mapping[str, Values], pickle: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled_tensors(tensors) if pickle is None else pickle)
        archive.writestr("archive/byteorder", "little")
        for i, values in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{i}", values.astype("<f4").tobytes())
    return path


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_tensor(key: str, values: Values) -> bytes:
    shape = b"".join(varint(1 << 3) + varint(size) for size in values.shape)
    return (
        shape
        + varint(2 << 3)
        + varint(1)
        + message(8, key.encode())
        + message(9, values.astype("<f4").tobytes())
    )


def onnx_attribute(key: str, value: Any) -> bytes:
    data = message(1, key.encode())
    if isinstance(value, float):
        return data + varint(2 << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return data + varint(3 << 3) + varint(value)
    return data + b"".join(varint(8 << 3) + varint(item) for item in value)


def onnx_node(
    op: str, inputs: Sequence[str], output: str, key: str = "", attributes: Mapping[str, Any] | None = None
) -> bytes:
    data = b"".join(message(1, each.encode()) for each in inputs) + message(2, output.encode())
    data += message(3, key.encode()) + message(4, op.encode())
    return data + b"".join(message(5, onnx_attribute(*item)) for item in (attributes or {}).items())


def write_onnx(path: Path, nodes: Sequence[bytes], tensors: Mapping[str, Values]) -> Path:
    graph = b"".join(message(1, node) for node in nodes)
    graph += b"".join(message(5, onnx_tensor(*item)) for item in tensors.items())
    path.write_bytes(varint(1 << 3) + varint(8) + message(2, b"test") + message(7, graph))
    return path
