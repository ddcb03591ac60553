"""The blocks that the networks behind several code books are made of: ConvNeXt for sound."""

from __future__ import annotations

import numpy as np

from minicpmo_convert.error import check
from minicpmo_convert.folding import Make, computed, exact
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.names import Page, take
from minicpmo_convert.tensor import Source, Tensor

EPSILON = 1e-6  # of all norms; the reference writes it into its code


class ConvNext:
    """Blocks `source_name`.0, .1, ... that become `name`.0, ...; their scale goes into the weights."""

    def __init__(self, source: Source, source_name: str, name: str, scale: str, dilation: int) -> None:
        self._source, self._source_name, self._name, self._scale = source, source_name, name, scale
        self.dilation = dilation
        blocks = {
            each.removeprefix(f"{source_name}.").split(".")[0]
            for each in source.names()
            if each.startswith(f"{source_name}.")
        }
        self.n_block = len(blocks)
        good = self.n_block >= 1 and blocks == {str(i) for i in range(self.n_block)}
        check(good, f"[checkpoint] expected blocks 0, 1, ..., got {sorted(blocks)} ({source_name})")
        kernel = source.shape(f"{source_name}.0.dwconv.weight")
        good = len(kernel) == 3 and kernel[1] == 1 and kernel[2] % 2 == 1
        check(good, f"[checkpoint] expected a depthwise convolution, got {[*kernel]} ({source_name})")
        self.n_embd, _, self.n_tap = kernel
        self.n_ff = next(iter(source.shape(f"{source_name}.0.pwconv1.weight")), 0)

    def take_tensors(self) -> list[Tensor]:
        return [tensor for i in range(self.n_block) for tensor in self._take_block(i)]

    def _take_block(self, i: int) -> list[Tensor]:
        source, name = f"{self._source_name}.{i}", f"{self._name}.{i}"
        sizes = {"n_embd": self.n_embd, "n_ff": self.n_ff}
        pages = (
            Page(f"{name}.conv.bias", f"{source}.dwconv.bias", ("n_embd",)),
            Page(f"{name}.ln.weight", f"{source}.norm.weight", ("n_embd",)),
            Page(f"{name}.ln.bias", f"{source}.norm.bias", ("n_embd",)),
            Page(f"{name}.ffn_up.weight", f"{source}.pwconv1.weight", ("n_ff", "n_embd")),
            Page(f"{name}.ffn_up.bias", f"{source}.pwconv1.bias", ("n_ff",)),
        )
        taps = self._source.take(f"{source}.dwconv.weight", (self.n_embd, 1, self.n_tap))
        columns = computed(
            f"{name}.conv.weight",
            (self.n_tap, self.n_embd),
            lambda: np.ascontiguousarray(exact(taps)[:, 0].T),
        )
        scale = self._source.take(f"{source}.{self._scale}", (self.n_embd,))

        def scaled(part: str, shape: tuple[int, ...]) -> Make:
            values = self._source.take(f"{source}.pwconv2.{part}", shape)
            return lambda: (exact(values).T * exact(scale)).T

        weight, bias = (self.n_embd, self.n_ff), (self.n_embd,)
        return [
            columns,
            *(take(page, self._source, sizes) for page in pages),
            computed(f"{name}.ffn_down.weight", weight, scaled("weight", weight)),
            computed(f"{name}.ffn_down.bias", bias, scaled("bias", bias)),
        ]

    def write_keys(self, keys: Metadata, prefix: str) -> None:
        keys.u32(f"{prefix}block_count", self.n_block)
        keys.u32(f"{prefix}embedding_length", self.n_embd)
        keys.u32(f"{prefix}feed_forward_length", self.n_ff)
        keys.u32(f"{prefix}conv_kernel", self.n_tap)
        keys.u32(f"{prefix}conv_dilation", self.dilation)
        keys.f32(f"{prefix}layer_norm_epsilon", EPSILON)
