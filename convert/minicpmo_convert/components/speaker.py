"""The speaker encoder (CAM++), whose vector says how a voice sounds.

Its ONNX graph is read by structure, because exporters name weights by numbers: convolutions in their order,
the norms around them by the edges of the graph, every shape checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.folding import Exact, computed, exact, flattened
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.onnx_file import Node, OnnxFile
from minicpmo_convert.tensor import Tensor

FILE = "campplus.onnx"
N_MEL, SAMPLE_RATE = 80, 16000
BLOCK_LAYERS, BLOCK_DILATIONS = (12, 24, 16), (1, 2, 2)
HEAD_STRIDES = (2, 1, 2, 1)  # of the head's blocks, over frequency
_N_CONV = 1 + 10 + 1 + 1 + 4 * sum(BLOCK_LAYERS) + 3 + 1
Arrange = Callable[[Exact], Exact]


@dataclass(frozen=True)
class _Norm:
    """A BatchNormalization as scale and shift."""

    tensors: tuple[Tensor, Tensor, Tensor, Tensor]  # weight, bias, mean, variance
    epsilon: float

    def scale(self) -> Exact:
        scale: Exact = exact(self.tensors[0]) / np.sqrt(exact(self.tensors[3]) + self.epsilon)
        return scale

    def shift(self) -> Exact:
        shift: Exact = exact(self.tensors[1]) - exact(self.tensors[2]) * self.scale()
        return shift


@dataclass(frozen=True)
class _Conv:
    node: Node
    weight: Tensor
    bias: Tensor | None
    norm: _Norm | None  # the one that directly follows

    def folded_weight(self) -> Exact:
        weight = exact(self.weight)
        scale = self.norm.scale() if self.norm else np.ones(len(weight))
        return weight * scale.reshape(-1, *(1 for _ in weight.shape[1:]))

    def folded_bias(self) -> Exact:
        bias = exact(self.bias) if self.bias else np.zeros(self.weight.shape[0])
        return bias * self.norm.scale() + self.norm.shift() if self.norm else bias


class Speaker:
    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self._where = f"({file.path.name})"
        self._makers = {name: node for node in file.nodes for name in node.outputs}
        self._users: dict[str, list[Node]] = {}
        for node in file.nodes:
            for name in node.inputs:
                self._users.setdefault(name, []).append(node)
        self._convs = [node for node in file.nodes if node.op == "Conv"]
        check(
            len(self._convs) == _N_CONV,
            f"[speaker] expected {_N_CONV} convolutions, got {len(self._convs)} {self._where}",
        )
        self.n_head = self._size(0, 0)
        self.n_tdnn = self._size(12, 0)
        layer = self._convs[13:17]
        self.n_bottleneck = self._shape(layer[0])[0]
        self.n_growth = self._shape(layer[-1])[0]
        self.n_gate = self._shape(layer[-1])[1]
        self.n_out = self._size(_N_CONV - 1, 0)
        self.n_freq = N_MEL
        for _ in range(3):
            self.n_freq = (self.n_freq + 1) // 2
        pools = {tuple(node.ints("kernel_shape", [])) for node in file.nodes if node.op == "AveragePool"}
        good = len(pools) == 1 and len(next(iter(pools))) == 1
        check(good, f"[speaker] expected one size of segments, got {sorted(pools)} {self._where}")
        self.n_segment = int(next(iter(pools))[0])

    def _shape(self, node: Node) -> tuple[int, ...]:
        check(len(node.inputs) >= 2, f"[speaker] expected a weight of {node.name!r} {self._where}")
        shape = self._file.shape(node.inputs[1])
        check(
            len(shape) >= 3 and min(shape) >= 1, f"[speaker] expected a kernel, got {[*shape]} {self._where}"
        )
        return shape

    def _size(self, index: int, dimension: int) -> int:
        return self._shape(self._convs[index])[dimension]

    def take_tensors(self) -> list[Tensor]:
        self._queue = list(self._convs)
        tensors = [*self._take_head(), *self._take_tdnn()]
        n_channel = self.n_tdnn
        for b, (n_layer, dilation) in enumerate(zip(BLOCK_LAYERS, BLOCK_DILATIONS, strict=True)):
            for i in range(n_layer):
                tensors += self._take_layer(f"spk.block.{b}.layer.{i}", n_channel, dilation)
                n_channel += self.n_growth
            node = self._queue.pop(0)
            name = f"spk.transit.{b}"
            tensors += self._take_norm_before(name, node, n_channel)
            tensors += self._emit(name, self._open(node, (n_channel // 2, n_channel, 1)))
            n_channel //= 2
        dense = self._open(self._queue.pop(0), (self.n_out, 2 * n_channel, 1))
        return tensors + self._emit("spk.dense", dense)

    def _take_head(self) -> list[Tensor]:
        """The part that sees a spectrum as an image: frequency, then time."""
        n = self.n_head
        tensors = self._emit("spk.head.conv_in", self._open(self._queue.pop(0), (n, 1, 3, 3)), _image)
        for i, stride in enumerate(HEAD_STRIDES):
            nodes = [self._queue.pop(0) for _ in range(2 + (stride > 1))]
            nodes.sort(key=lambda node: self._shape(node)[2] == 1)  # the shortcut last, wherever it was
            name = f"spk.head.blk.{i}"
            tensors += self._emit(f"{name}.conv1", self._open(nodes[0], (n, n, 3, 3), [stride, 1]), _image)
            tensors += self._emit(f"{name}.conv2", self._open(nodes[1], (n, n, 3, 3)), _image)
            for node in nodes[2:]:
                shortcut = self._open(node, (n, n, 1, 1), [stride, 1])
                tensors += self._emit(f"{name}.shortcut", shortcut, _image)
        last = self._open(self._queue.pop(0), (n, n, 3, 3), [2, 1])
        return tensors + self._emit("spk.head.conv_out", last, _image)

    def _take_tdnn(self) -> list[Tensor]:
        """Its input is the image, channel by channel in the file; here frequency by frequency."""
        n_freq, n_channel = self.n_freq, self.n_head
        conv = self._open(self._queue.pop(0), (self.n_tdnn, n_channel * n_freq, 5), [2])

        def arrange(weight: Exact) -> Exact:
            return weight.reshape(-1, n_channel, n_freq, 5).transpose(0, 3, 2, 1).reshape(len(weight), -1)

        return self._emit("spk.tdnn", conv, arrange)

    def _take_layer(self, name: str, n_channel: int, dilation: int) -> list[Tensor]:
        """The convolution with three taps may come anywhere after the first."""
        nodes = [self._queue.pop(0) for _ in range(4)]
        n_local = sum(self._shape(node)[2] == 3 for node in nodes)
        check(
            n_local == 1,
            f"[speaker] expected one convolution of 3 taps in a layer, got {n_local} {self._where}",
        )
        local = next(node for node in nodes if self._shape(node)[2] == 3)
        bottleneck, gate1, gate2 = (node for node in nodes if node is not local)
        n, growth = self.n_bottleneck, self.n_growth
        opened = self._open(local, (growth, n, 3), [1], dilation)
        check(
            opened.bias is None and opened.norm is None,
            f"[speaker] expected no bias, got one ({local.name!r}, {self._file.path.name})",
        )
        return [
            *self._take_norm_before(name, bottleneck, n_channel),
            *self._emit(f"{name}.bottleneck", self._open(bottleneck, (n, n_channel, 1))),
            self._emit(f"{name}.local", opened)[0],
            *self._emit(f"{name}.gate1", self._open(gate1, (self.n_gate, n, 1))),
            *self._emit(f"{name}.gate2", self._open(gate2, (growth, self.n_gate, 1))),
        ]

    def _take_norm_before(self, name: str, node: Node, n: int) -> list[Tensor]:
        """The norm and the ReLU that a convolution's input has gone through."""
        relu = self._makers.get(node.inputs[0])
        norm = self._makers.get(relu.inputs[0]) if relu and relu.op == "Relu" and relu.inputs else None
        if norm is None or norm.op != "BatchNormalization":
            raise ConvertError(f"[speaker] expected a norm and a ReLU before {node.name!r} {self._where}")
        opened = self._open_norm(norm, n)
        return [
            computed(f"{name}.norm.scale", (n,), opened.scale),
            computed(f"{name}.norm.shift", (n,), opened.shift),
        ]

    def _open(
        self, node: Node, shape: tuple[int, ...], strides: list[int] | None = None, dilation: int = 1
    ) -> _Conv:
        """A convolution of that shape, padded so that only strides shorten its input."""
        where = f"({node.name!r}, {self._file.path.name})"
        kernel = list(shape[2:])
        ones = [1] * len(kernel)
        padding = [dilation * (k // 2) for k in kernel]
        for key, expected, default in (
            ("strides", strides or ones, ones),
            ("dilations", [dilation] * len(kernel), ones),
            ("pads", padding * 2, [0] * 2 * len(kernel)),
        ):
            got = node.ints(key, default)
            check(got == expected, f"[speaker] expected {key} {expected}, got {got} {where}")
        group = node.attributes.get("group", 1)
        check(group == 1, f"[speaker] expected one group, got {group} {where}")
        weight = self._file.take(node.inputs[1], shape)
        bias = self._file.take(node.inputs[2], shape[:1]) if len(node.inputs) > 2 else None
        return _Conv(node, weight, bias, self._norm_after(node, shape[0]))

    def _norm_after(self, node: Node, n: int) -> _Norm | None:
        """Only if nobody else uses what the convolution makes."""
        users = self._users_of(node)
        if len(users) == 1 and users[0].op == "Squeeze":
            users = self._users_of(users[0])
        if len(users) == 1 and users[0].op == "BatchNormalization":
            return self._open_norm(users[0], n)
        return None

    def _users_of(self, node: Node) -> list[Node]:
        return [user for name in node.outputs for user in self._users.get(name, [])]

    def _open_norm(self, node: Node, n: int) -> _Norm:
        check(len(node.inputs) == 5, f"[speaker] expected four weights of {node.name!r} {self._where}")
        weight, bias, mean, variance = (self._file.take(name, (n,)) for name in node.inputs[1:])
        epsilon = node.attributes.get("epsilon", 1e-5)
        good = isinstance(epsilon, float) and 0 < epsilon < 1 and bool(exact(variance).min() >= 0)
        check(good, f"[speaker] expected variances, got less ({node.name!r}, {self._file.path.name})")
        return _Norm((weight, bias, mean, variance), epsilon)

    def _emit(self, name: str, conv: _Conv, arrange: Arrange = flattened) -> list[Tensor]:
        n_out, n_in = conv.weight.shape[0], conv.weight.n_row * conv.weight.n_col // conv.weight.shape[0]
        return [
            computed(f"{name}.weight", (n_out, n_in), lambda: arrange(conv.folded_weight())),
            computed(f"{name}.bias", (n_out,), conv.folded_bias),
        ]

    def write_keys(self, keys: Metadata) -> None:
        for key, number in {
            **{"n_mel": N_MEL, "embedding_length": self.n_out, "sample_rate": SAMPLE_RATE},
            **{"head.channels": self.n_head, "tdnn.embedding_length": self.n_tdnn},
            **{"tdnn.kernel": 5, "tdnn.stride": 2, "kernel": 3, "segment_length": self.n_segment},
            **{"growth": self.n_growth, "bottleneck": self.n_bottleneck, "gate_length": self.n_gate},
        }.items():
            keys.u32(f"minicpmo.spk.{key}", number)
        keys.u32s("minicpmo.spk.block_layers", BLOCK_LAYERS)
        keys.u32s("minicpmo.spk.block_dilations", BLOCK_DILATIONS)
        keys.u32s("minicpmo.spk.head.strides", HEAD_STRIDES)


def _image(weight: Exact) -> Exact:
    """[n_out, n_in, frequency, time] -> [n_out, time * frequency * n_in]."""
    return weight.transpose(0, 3, 2, 1).reshape(len(weight), -1)
