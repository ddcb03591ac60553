"""The way back of a discrete variational autoencoder: codes of several code books to a log-mel spectrum.

Its quantiser is a grouped residual one of finite scalars: what a code stands for follows from its digits and
a matrix, so that here each code book becomes a table of vectors.
"""

from __future__ import annotations

import numpy as np

from minicpmo_convert.components.convnext import ConvNext
from minicpmo_convert.error import check
from minicpmo_convert.folding import Exact, Make, computed, exact, flattened
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.names import Page, take
from minicpmo_convert.tensor import Source, Tensor

PREFIX = "tts.dvae."
# What only turns sound into codes.
IGNORED = (
    *(f"{PREFIX}{part}." for part in ("encoder", "downsample_conv")),
    *(f"{PREFIX}vq_layer.quantizer.rvqs.{group}.project_in." for group in range(2)),
)
LEVELS = (5, 5, 5, 5)  # of the digits of a code; the reference writes them into its code
N_LEVEL = 2  # code books whose vectors are added; likewise
DILATION = 2  # of the blocks; likewise
_GROUP = f"{PREFIX}vq_layer.quantizer.rvqs"
_STEM = f"{PREFIX}decoder.conv_in"


class Dvae:
    """Sizes are those of the tensors."""

    def __init__(self, source: Source, num_vq: int) -> None:
        check(num_vq % N_LEVEL == 0, f"[dvae] expected code books in pairs, got {num_vq} (num_vq)")
        self._source = source
        self.n_group, self.n_code = num_vq // N_LEVEL, int(np.prod(LEVELS))
        self.n_width = self._first(f"{_GROUP}.0.project_out.weight")
        self.n_stem = self._first(f"{_STEM}.0.weight")
        self.n_mel = self._first(f"{PREFIX}out_conv.weight")
        self.blocks = ConvNext(source, f"{PREFIX}decoder.decoder_block", "dvae.blk", "coef", DILATION)

    def _first(self, name: str) -> int:
        return next(iter(self._source.shape(name)), 0)

    def take_tensors(self) -> list[Tensor]:
        sizes = {"n_width": self.n_width, "n_stem": self.n_stem, "n_embd": self.blocks.n_embd, "n_tap": 3}
        pages = (
            Page("dvae.conv1.weight", f"{_STEM}.0.weight", ("n_stem", "n_tap", "n_width"), taps=True),
            Page("dvae.conv1.bias", f"{_STEM}.0.bias", ("n_stem",)),
            Page("dvae.conv2.weight", f"{_STEM}.2.weight", ("n_embd", "n_tap", "n_stem"), taps=True),
            Page("dvae.conv2.bias", f"{_STEM}.2.bias", ("n_embd",)),
        )
        tensors = [take(page, self._source, sizes) for page in pages]
        tensors += self.blocks.take_tensors()
        out = self._source.take(f"{PREFIX}decoder.conv_out.weight", (self.n_width, self.blocks.n_embd, 1))
        shape = (self.n_width, self.blocks.n_embd)
        tensors.append(computed("dvae.out.weight", shape, lambda: exact(out).reshape(shape)))
        tensors.append(computed("dvae.mel.weight", (self.n_mel, 3 * self.n_width), self._mel()))
        for group in range(self.n_group):
            tensors += self._books(group)
        return tensors

    def _mel(self) -> Make:
        """The last convolution, times the scale of each band."""
        weight = self._source.take(f"{PREFIX}out_conv.weight", (self.n_mel, self.n_width, 3))
        scale = self._source.take(f"{PREFIX}coef", (1, self.n_mel, 1))
        return lambda: exact(scale).reshape(-1, 1) * flattened(exact(weight))

    def _books(self, group: int) -> list[Tensor]:
        """Of each level: its codes' vectors; the first has the group's bias."""
        n_digit = len(LEVELS)
        weight = self._source.take(f"{_GROUP}.{group}.project_out.weight", (self.n_width, n_digit))
        bias = self._source.take(f"{_GROUP}.{group}.project_out.bias", (self.n_width,))

        def make(level: int) -> Exact:
            digits = values_of_codes() * (np.array(LEVELS) - 1.0) ** -level
            rows: Exact = digits @ exact(weight).T
            return rows + exact(bias) if level == 0 else rows

        def book(level: int) -> Tensor:
            name = f"dvae.codes.{group * N_LEVEL + level}.weight"
            return computed(name, (self.n_code, self.n_width), lambda: make(level))

        return [book(level) for level in range(N_LEVEL)]

    def write_keys(self, keys: Metadata) -> None:
        keys.u32("minicpmo.dvae.group_count", self.n_group)
        keys.u32("minicpmo.dvae.level_count", N_LEVEL)
        keys.u32("minicpmo.dvae.code_count", self.n_code)
        keys.u32("minicpmo.dvae.code_length", self.n_width)
        keys.u32("minicpmo.dvae.stem_length", self.n_stem)
        keys.u32("minicpmo.dvae.n_mel", self.n_mel)
        self.blocks.write_keys(keys, "minicpmo.dvae.")


def values_of_codes() -> Exact:
    """[n_code, n_digit] of -1 to 1: digit k of a code is (code / 5^k) mod 5, the lowest level -1."""
    codes = np.arange(int(np.prod(LEVELS)))
    places = np.cumprod([1, *LEVELS[:-1]])
    digits = codes[:, None] // places % np.array(LEVELS)
    half = np.array(LEVELS) // 2
    values: Exact = (digits - half) / half.astype(np.float64)
    return values
