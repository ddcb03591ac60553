"""What hears a voice, at full size with random weights: ONNX graphs that the converter then reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from full_size_speech import MadeUp, MakeTensor
from minicpmo_convert.components import speaker, speech_tokenizer
from minicpmo_convert.onnx_file import Node, OnnxFile

N_TOKENIZER, N_TOKENIZER_MEL, N_TOKENIZER_FF = 1280, 128, 5120
N_TOKENIZER_LAYER, N_TAP, N_FSMN, N_CODE_DIM = 6, 3, 31, 8
N_HEAD, N_FREQ, N_TDNN, N_TDNN_TAP = 32, 10, 128, 5
N_BOTTLENECK, N_GROWTH, N_GATE, N_SPEAKER, N_SEGMENT = 128, 32, 64, 192, 100
NORM = ("gain.weight", "bias", "mean", "variance.weight")  # random, but ones where the name ends in weight

Shapes = dict[str, tuple[int, ...]]


class MadeUpGraph(MadeUp):
    """As a file of ONNX answers."""

    def __init__(self, name: str, graph: _Graph, make: MakeTensor) -> None:
        super().__init__(name, iter(graph.shapes.items()), make)
        self.nodes = graph.nodes

    def __contains__(self, name: str) -> bool:
        return name in self.names()


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: Shapes = {}

    def add(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        """Returns the name of what the node makes."""
        self.nodes.append(Node(name, op, inputs, [f"{name}:out"], attributes))
        return f"{name}:out"

    def weight(self, name: str, *shape: int) -> str:
        self.shapes[name] = shape
        return name

    def conv(
        self,
        name: str,
        x: str,
        shape: tuple[int, ...],
        strides: list[int] | None = None,
        dilation: int = 1,
        has_bias: bool = True,
    ) -> str:
        kernel = shape[2:]
        inputs = [x, self.weight(f"{name}.weight", *shape)]
        if has_bias:
            inputs.append(self.weight(f"{name}.bias", shape[0]))
        return self.add(
            "Conv",
            name,
            inputs,
            strides=strides or [1] * len(kernel),
            dilations=[dilation] * len(kernel),
            pads=[dilation * (n // 2) for n in kernel] * 2,
        )

    def norm_relu(self, name: str, x: str, n: int) -> str:
        inputs = [x, *(self.weight(f"{name}.{part}", n) for part in NORM)]
        return self.add("Relu", f"{name}.relu", [self.add("BatchNormalization", name, inputs)])


def tokenizer(make: MakeTensor) -> speech_tokenizer.SpeechTokenizer:
    graph = MadeUpGraph(speech_tokenizer.FILE, _tokenizer(), make)
    return speech_tokenizer.SpeechTokenizer(cast(OnnxFile, graph))


def speaker_encoder(make: MakeTensor) -> speaker.Speaker:
    return speaker.Speaker(cast(OnnxFile, MadeUpGraph(speaker.FILE, _speaker(), make)))


def _tokenizer() -> _Graph:
    graph, n = _Graph(), N_TOKENIZER
    x = graph.conv("conv1", "mel", (n, N_TOKENIZER_MEL, N_TAP))
    x = graph.conv("conv2", x, (n, n, N_TAP))
    for i in range(N_TOKENIZER_LAYER):
        block = f"/blocks.{i}"
        for norm in ("attn_ln", "mlp_ln"):
            name = f"{block}/{norm}/LayerNormalization"
            graph.add(
                "LayerNormalization",
                name,
                [x, graph.weight(f"{name}.weight", n), graph.weight(f"{name}.bias", n)],
            )
        graph.conv(f"{block}/attn/fsmn", x, (n, 1, N_FSMN), has_bias=False)
        for name, n_out, n_in in _linears(block):
            y = graph.add("MatMul", f"{name}/MatMul", [x, graph.weight(f"{name}.weight", n_in, n_out)])
            if not name.endswith("key"):
                graph.add("Add", f"{name}/Add", [y, graph.weight(f"{name}.bias", n_out)])
    y = graph.add("MatMul", "/quantizer/MatMul", [x, graph.weight("quant.weight", n, N_CODE_DIM)])
    graph.add("Add", "/quantizer/Add", [y, graph.weight("quant.bias", N_CODE_DIM)])
    return graph


def _linears(block: str) -> Iterator[tuple[str, int, int]]:
    n, n_ff = N_TOKENIZER, N_TOKENIZER_FF
    yield from ((f"{block}/attn/{part}", n, n) for part in ("query", "key", "value", "out"))
    yield from ((f"{block}/mlp/mlp.0", n_ff, n), (f"{block}/mlp/mlp.2", n, n_ff))


def _speaker() -> _Graph:
    graph, n = _Graph(), N_HEAD
    x = graph.conv("head.in", "image", (n, 1, 3, 3))
    for i, stride in enumerate(speaker.HEAD_STRIDES):
        y = graph.conv(f"head.{i}.conv1", x, (n, n, 3, 3), [stride, 1])
        graph.conv(f"head.{i}.conv2", y, (n, n, 3, 3))
        if stride > 1:
            graph.conv(f"head.{i}.shortcut", x, (n, n, 1, 1), [stride, 1])
    graph.conv("head.out", x, (n, n, 3, 3), [2, 1])
    x = graph.conv("tdnn", "flat", (N_TDNN, n * N_FREQ, N_TDNN_TAP), [2])
    n = N_TDNN
    for b, (n_layer, dilation) in enumerate(zip(speaker.BLOCK_LAYERS, speaker.BLOCK_DILATIONS, strict=True)):
        for i in range(n_layer):
            name = f"block.{b}.{i}"
            y = graph.norm_relu(f"{name}.norm", x, n)
            y = graph.conv(f"{name}.bottleneck", y, (N_BOTTLENECK, n, 1))
            graph.conv(f"{name}.local", y, (N_GROWTH, N_BOTTLENECK, 3), dilation=dilation, has_bias=False)
            y = graph.conv(f"{name}.gate1", y, (N_GATE, N_BOTTLENECK, 1))
            y = graph.conv(f"{name}.gate2", y, (N_GROWTH, N_GATE, 1))
            x = graph.add("Concat", f"{name}.concat", [x, y])
            n += N_GROWTH
        x = graph.norm_relu(f"transit.{b}.norm", x, n)
        n //= 2
        x = graph.conv(f"transit.{b}", x, (n, 2 * n, 1))
    graph.add("AveragePool", "segments", [x], kernel_shape=[N_SEGMENT])
    graph.conv("dense", x, (N_SPEAKER, 2 * n, 1))
    return graph
