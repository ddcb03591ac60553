"""The speech tokenizer (S3, 25 codes a second), which hears the voice to speak with.

Its ONNX graph names nodes after modules. Weights of matrix products are stored the other way round.
"""

from __future__ import annotations

import re

from minicpmo_convert.error import check
from minicpmo_convert.folding import computed, exact
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.onnx_file import Node, OnnxFile
from minicpmo_convert.tensor import Tensor

FILE = "speech_tokenizer_v2_25hz.onnx"
D_HEAD = 64
LEVELS = 3  # of each code dimension
MAX_CODE_DIM = 16
_PARTS = {"query": "attn_q", "key": "attn_k", "value": "attn_v", "out": "attn_out"}
_LINEAR = re.compile(r"/blocks\.([0-9]{1,3})/(?:attn/(query|key|value|out)|mlp/mlp\.([02]))/(MatMul|Add)")
_NORM = re.compile(r"/blocks\.([0-9]{1,3})/(attn_ln|mlp_ln)/LayerNormalization")


class SpeechTokenizer:
    """Finds each weight by the node that uses it; names of weights are numbers."""

    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self._places: dict[str, str] = {}  # our name -> the file's
        for node in file.nodes:
            self._place(node)
        self._place_quantizer()
        conv = self._shape("conv1.weight", 3)
        self.n_embd, self.n_mel, self.n_tap = conv
        self.n_layer = 1 + max(
            (int(name.split(".")[1]) for name in self._places if name.startswith("blk.")), default=-1
        )
        self.n_ff = self._shape("blk.0.ffn_up.weight", 2)[1]
        self.n_fsmn = self._shape("blk.0.attn_fsmn.weight", 3)[2]
        quant = self._shape("quant.weight", 2)
        self.n_code_dim = quant[1]
        check(
            self.n_embd % D_HEAD == 0 and self.n_fsmn % 2 == 1,
            f"[speech tokenizer] expected heads of {D_HEAD}, got {self.n_embd} ({file.path.name})",
        )

    def _place(self, node: Node) -> None:
        weights = [name for name in node.inputs if name in self._file]
        if node.op == "Conv":
            self._place_conv(node, weights)
        elif (norm := _NORM.fullmatch(node.name)) and node.op == "LayerNormalization" and len(weights) == 2:
            name = f"blk.{norm[1]}.{'ln1' if norm[2] == 'attn_ln' else 'ln2'}"
            self._keep(f"{name}.weight", weights[0])
            self._keep(f"{name}.bias", weights[1])
        elif node.op in ("MatMul", "Add") and len(weights) == 1:
            kind = "weight" if node.op == "MatMul" else "bias"
            if (linear := _LINEAR.fullmatch(node.name)) and linear[4] == node.op:
                part = _PARTS[linear[2]] if linear[2] else {"0": "ffn_up", "2": "ffn_down"}[linear[3]]
                self._keep(f"blk.{linear[1]}.{part}.{kind}", weights[0])

    def _place_conv(self, node: Node, weights: list[str]) -> None:
        """The two in front come in their order, the depthwise ones in that of the layers."""
        if len(weights) == 1:
            n = sum(name.endswith("attn_fsmn.weight") for name in self._places)
            self._keep(f"blk.{n}.attn_fsmn.weight", weights[0])
        elif len(weights) == 2:
            n = 1 + ("conv1.weight" in self._places)
            self._keep(f"conv{n}.weight", weights[0])
            self._keep(f"conv{n}.bias", weights[1])

    def _place_quantizer(self) -> None:
        """The product that makes few numbers, and the bias that is added to them."""
        for node in self._file.nodes:
            shapes = {name: self._file.shape(name) for name in node.inputs if name in self._file}
            for name, shape in shapes.items():
                if node.op == "MatMul" and len(shape) == 2 and shape[1] <= MAX_CODE_DIM:
                    self._keep("quant.weight", name)
                    sums = [other for other in self._file.nodes if set(other.inputs) & set(node.outputs)]
                    biases = [i for n in sums if n.op == "Add" for i in n.inputs if i in self._file]
                    for bias in biases[:1]:
                        self._keep("quant.bias", bias)

    def _keep(self, name: str, stored: str) -> None:
        check(
            name not in self._places,
            f"[speech tokenizer] expected {name} once, got it twice ({self._file.path.name})",
        )
        self._places[name] = stored

    def _stored(self, name: str) -> str:
        found = name in self._places
        check(found, f"[speech tokenizer] expected a node for {name}, got none ({self._file.path.name})")
        return self._places[name]

    def _shape(self, name: str, n_dim: int) -> tuple[int, ...]:
        shape = self._file.shape(self._stored(name))
        good = len(shape) == n_dim and min(shape) >= 1
        where = f"({name}, {self._file.path.name})"
        check(good, f"[speech tokenizer] expected {n_dim} dimensions, got {[*shape]} {where}")
        return shape

    def take_tensors(self) -> list[Tensor]:
        n, n_ff = self.n_embd, self.n_ff
        tensors = [
            *self._conv("conv1", (n, self.n_mel, self.n_tap)),
            *self._conv("conv2", (n, n, self.n_tap)),
        ]
        for i in range(self.n_layer):
            block = f"blk.{i}"
            tensors += [*self._norm(f"{block}.ln1"), *self._linear(f"{block}.attn_q", n, n)]
            tensors += [self._matrix(f"{block}.attn_k", n, n), *self._linear(f"{block}.attn_v", n, n)]
            tensors += [*self._linear(f"{block}.attn_out", n, n), self._depthwise(f"{block}.attn_fsmn")]
            tensors += [*self._norm(f"{block}.ln2"), *self._linear(f"{block}.ffn_up", n_ff, n)]
            tensors += self._linear(f"{block}.ffn_down", n, n_ff)
        tensors += self._linear("quant", self.n_code_dim, n)
        taken = {tensor.name.removeprefix("s3.") for tensor in tensors}
        left = sorted(set(self._places) - taken)
        check(not left, f"[speech tokenizer] expected {len(taken)} weights, got also {left[:1]} ({FILE})")
        return tensors

    def _take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self._file.take(self._stored(name), shape)

    def _matrix(self, name: str, n_out: int, n_in: int) -> Tensor:
        """[n_in, n_out] in the file, for a product from the right."""
        return self._take(f"{name}.weight", (n_in, n_out)).transposed().renamed(f"s3.{name}.weight")

    def _linear(self, name: str, n_out: int, n_in: int) -> list[Tensor]:
        bias = self._take(f"{name}.bias", (n_out,)).renamed(f"s3.{name}.bias")
        return [self._matrix(name, n_out, n_in), bias]

    def _norm(self, name: str) -> list[Tensor]:
        shape = (self.n_embd,)
        return [
            self._take(f"{name}.{kind}", shape).renamed(f"s3.{name}.{kind}") for kind in ("weight", "bias")
        ]

    def _conv(self, name: str, shape: tuple[int, ...]) -> list[Tensor]:
        bias = self._take(f"{name}.bias", shape[:1]).renamed(f"s3.{name}.bias")
        return [self._take(f"{name}.weight", shape).taps_first().renamed(f"s3.{name}.weight"), bias]

    def _depthwise(self, name: str) -> Tensor:
        weight = self._take(f"{name}.weight", (self.n_embd, 1, self.n_fsmn))
        shape = (self.n_fsmn, self.n_embd)
        return computed(f"s3.{name}.weight", shape, lambda: exact(weight)[:, 0].T)

    def write_keys(self, keys: Metadata) -> None:
        for key, number in {
            **{"block_count": self.n_layer, "embedding_length": self.n_embd},
            **{"feed_forward_length": self.n_ff, "attention.head_count": self.n_embd // D_HEAD},
            **{"n_mel": self.n_mel, "conv_kernel": self.n_tap, "conv_stride": 2},
            **{"fsmn_kernel": self.n_fsmn, "code_dimensions": self.n_code_dim, "code_levels": LEVELS},
            **{"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "max_positions": 2048},
        }.items():
            keys.u32(f"minicpmo.s3.{key}", number)
        keys.f32("minicpmo.s3.attention_layer_norm_epsilon", 1e-6)
        keys.f32("minicpmo.s3.ffn_layer_norm_epsilon", 1e-5)
        keys.f32("minicpmo.s3.rope.freq_base", 10000.0)
