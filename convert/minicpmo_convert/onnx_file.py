"""The nodes and tensors of an ONNX file, read without its package: a protocol buffer of a few known fields.

Tensors stay in the file; only names, shapes and small attributes are kept.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicpmo_convert.checkpoint import read_bytes
from minicpmo_convert.encoding import Blocks, row_bytes
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.protocol_buffer import Message, signed
from minicpmo_convert.tensor import Tensor

MAX_NODES = 1 << 18
_FLOATS = {1: "f32", 10: "f16", 11: "f64", 16: "bf16"}  # TensorProto.DataType


@dataclass(frozen=True)
class OnnxTensor:
    name: str
    shape: tuple[int, ...]
    data_type: int
    begin: int  # of the data in the file
    n_byte: int


@dataclass
class Node:
    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)  # integers, lists of them, floats, tensors

    def ints(self, name: str, default: list[int]) -> list[int]:
        value = self.attributes.get(name, default)
        return value if isinstance(value, list) else default


class OnnxFile:
    """`nodes` in the file's order, which is one of execution; tensors by name, constants among them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: list[Node] = []
        self._tensors: dict[str, OnnxTensor] = {}
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._read(Message(data, 0, len(data), path.name, "onnx"))
        except FileNotFoundError:
            raise ConvertError(
                f"[onnx] expected the file {path.name} in {path.parent}, got nothing"
            ) from None
        except ValueError as error:  # an empty file cannot be mapped
            raise ConvertError(f"[onnx] expected an ONNX file, got {error} ({path.name})") from None

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of that name, which must have that shape."""
        stored, where = self._find(name), f"({name!r}, {self.path.name})"
        check(stored.shape == shape, f"[onnx] expected shape {[*shape]}, got {[*stored.shape]} {where}")
        check(
            stored.data_type in _FLOATS,
            f"[onnx] expected a float tensor, got data type {stored.data_type} {where}",
        )
        kind = _FLOATS[stored.data_type]
        n_byte = math.prod(shape) * row_bytes(kind, 1)
        good = len(shape) >= 1 and min(shape) >= 1 and stored.n_byte == n_byte
        check(good, f"[onnx] expected {n_byte} bytes of data, got {stored.n_byte} {where}")
        width = row_bytes(kind, shape[-1])

        def read(first: int, count: int) -> Blocks:
            return read_bytes(self.path, stored.begin + first * width, count * width).reshape(count, width)

        return Tensor(name, shape, kind, read)

    def _find(self, name: str) -> OnnxTensor:
        check(name in self._tensors, f"[onnx] expected the tensor {name!r}, got nothing ({self.path.name})")
        return self._tensors[name]

    def _read(self, model: Message) -> None:
        graphs = [value for number, value in model.fields() if number == 7 and isinstance(value, Message)]
        check(len(graphs) == 1, f"[onnx] expected one graph, got {len(graphs)} ({self.path.name})")
        for number, value in graphs[0].fields():
            if number == 1 and isinstance(value, Message):
                self.nodes.append(_read_node(value))
                check(
                    len(self.nodes) <= MAX_NODES,
                    f"[onnx] expected at most {MAX_NODES} nodes ({self.path.name})",
                )
            elif number == 5 and isinstance(value, Message):
                tensor = _read_tensor(value)
                self._tensors[tensor.name] = tensor
        for node in self.nodes:
            self._name_constant(node)

    def _name_constant(self, node: Node) -> None:
        """A constant's value, or another name of a tensor."""
        value = node.attributes.get("value")
        if len(node.outputs) != 1:
            return
        if node.op == "Constant" and isinstance(value, OnnxTensor):
            self._tensors[node.outputs[0]] = value
        elif node.op == "Identity" and len(node.inputs) == 1 and node.inputs[0] in self._tensors:
            self._tensors[node.outputs[0]] = self._tensors[node.inputs[0]]


def _integers(value: int | Message) -> list[int]:
    return value.integers() if isinstance(value, Message) else [signed(value)]


def _read_node(message: Message) -> Node:
    node = Node()
    for number, value in message.fields():
        if not isinstance(value, Message):
            continue
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(value.text())
        elif number == 3:
            node.name = value.text()
        elif number == 4:
            node.op = value.text()
        elif number == 5:
            name, attribute = _read_attribute(value)
            node.attributes[name] = attribute
    return node


def _read_attribute(message: Message) -> tuple[str, Any]:
    name, integers = "", list[int]()
    result: Any = None
    for number, value in message.fields():
        if number == 1 and isinstance(value, Message):
            name = value.text()
        elif number == 2 and isinstance(value, Message):
            result = value.float32()
        elif number == 3 and isinstance(value, int):
            result = signed(value)
        elif number == 5 and isinstance(value, Message):
            result = _read_tensor(value)
        elif number == 8:
            integers += _integers(value)
    return name, integers or result


def _read_tensor(message: Message) -> OnnxTensor:
    name, shape, data_type, data, outside = "", [], 0, None, False
    for number, value in message.fields():
        if number == 1:
            shape += _integers(value)
        elif number == 2 and isinstance(value, int):
            data_type = value
        elif number == 8 and isinstance(value, Message):
            name = value.text()
        elif number in (4, 9, 10) and isinstance(value, Message):  # float_data, raw_data, double_data
            data = value
        elif number == 14:
            outside = value != 0
    check(not outside, f"[onnx] expected data inside the file, got a reference ({name!r}, {message.file})")
    good = len(shape) <= 8 and all(0 <= size < 1 << 40 for size in shape)
    check(good, f"[onnx] expected a shape of at most 8 sizes ({name!r}, {message.file})")
    begin, end = (data.begin, data.end) if data is not None else (0, 0)
    return OnnxTensor(name, tuple(shape), data_type, begin, end - begin)
