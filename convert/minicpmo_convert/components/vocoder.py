"""The vocoder (HiFT) in its two forms: the original one, and the causal one whose upsampling repeats frames.

Both have the same names; shapes tell them apart, file names do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from minicpmo_convert.components.flow import HOP, SAMPLE_RATE
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.folding import (
    Exact,
    Make,
    computed,
    exact,
    flattened,
    fold_repeated,
    fold_transposed,
    normed_weight,
    repeated_reach,
    transposed_reach,
)
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_file import TorchFile
from minicpmo_convert.yaml_facts import agree, section

FILES = ("hift.pt", "hift_original.pt")
CONFIG = "config.yaml"  # of the causal one
DILATIONS = [1, 3, 5]
_F0_CONVS = (0, 2, 4, 6, 8)  # activations lie between them
_CACHED_FRAMES = 8  # of the original's way to stream


class Generator:
    """A file's tensors without the prefix that training leaves."""

    def __init__(self, file: TorchFile) -> None:
        self.path = file.path
        self._file = file
        self._stored = {name.removeprefix("generator."): name for name in file.names()}
        good = len(self._stored) == len(file.names())
        check(good, f"[vocoder] expected each tensor once, with a prefix or without ({self.path.name})")

    def names(self) -> list[str]:
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file.shape(self._stored.get(name, name))

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self._file.take(self._stored.get(name, name), shape)

    def left(self) -> list[str]:
        return self._file.left()

    def normed_shape(self, name: str) -> tuple[int, int, int]:
        """Of a convolution whose weight is stored as gain and direction."""
        new = f"{name}.parametrizations.weight.original1"
        shape = self.shape(new if new in self._stored else f"{name}.weight_v")
        return self._three(name, shape)

    def plain_shape(self, name: str) -> tuple[int, int, int]:
        return self._three(name, self.shape(f"{name}.weight"))

    def _three(self, name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
        good = len(shape) == 3 and min(shape) >= 1
        check(good, f"[vocoder] expected a convolution, got shape {[*shape]} ({name}, {self.path.name})")
        return shape[0], shape[1], shape[2]


@dataclass(frozen=True)
class Sizes:
    causal: bool
    n_mel: int
    n_embd: int
    pre_kernel: int
    post_kernel: int
    channels: list[int]  # after each upsampling
    up_kernels: list[int]
    up_rates: list[int]
    down_kernels: list[int]
    res_kernels: list[int]
    source_res_kernels: list[int]
    f0_kernels: list[int]
    n_f0: int
    n_harmonic: int
    n_fft: int
    hop: int


def read_sizes(generator: Generator, config: Facts) -> Sizes:
    """From the shapes; `config` is of the causal vocoder and is asked for nothing else."""
    n_embd, n_mel, pre_kernel = generator.normed_shape("conv_pre")
    f0_shapes = [generator.normed_shape(f"f0_predictor.condnet.{i}") for i in _F0_CONVS]
    causal = f0_shapes[0][2] == 4
    n_stage = sum(name.startswith("ups.") and name.endswith(".bias") for name in generator.names())
    ups = [generator.normed_shape(f"ups.{i}") for i in range(n_stage)]
    n_bin, _, post_kernel = generator.normed_shape("conv_post")
    check(
        n_stage >= 1 and n_bin >= 4 and n_bin % 2 == 0, f"[vocoder] expected stages ({generator.path.name})"
    )
    n_fft = n_bin - 2
    stft = section(section(config, "hift"), "istft_params") if causal else Facts({}, CONFIG)
    agree(stft, {"n_fft": n_fft})
    hop = stft.integer("hop_len", n_fft // 4, high=n_fft)
    down_kernels = [generator.plain_shape(f"source_downs.{i}")[2] for i in range(n_stage)]
    n_kernel = _count_resblocks(generator) // n_stage
    return Sizes(
        causal=causal,
        n_mel=n_mel,
        n_embd=n_embd,
        pre_kernel=pre_kernel,
        post_kernel=post_kernel,
        channels=[shape[0] if causal else shape[1] for shape in ups],
        up_kernels=[shape[2] for shape in ups],
        up_rates=_up_rates(down_kernels, hop, generator.path.name),
        down_kernels=down_kernels,
        res_kernels=[generator.normed_shape(f"resblocks.{j}.convs1.0")[2] for j in range(n_kernel)],
        source_res_kernels=[
            generator.normed_shape(f"source_resblocks.{i}.convs1.0")[2] for i in range(n_stage)
        ],
        f0_kernels=[shape[2] for shape in f0_shapes],
        n_f0=f0_shapes[0][0],
        n_harmonic=_last(generator.shape("m_source.l_linear.weight")),
        n_fft=n_fft,
        hop=hop,
    )


def folded(generator: Generator) -> list[Tensor]:
    """All tensors as the file has them, but for norms of weights, which are folded in."""
    gains = (".parametrizations.weight.original0", ".weight_g")
    tensors = []
    for name in generator.names():
        if name.endswith(gains):
            stored = name.removesuffix(gains[0]).removesuffix(gains[1])
            shape = generator.normed_shape(stored)
            tensors.append(computed(f"{stored}.weight", shape, normed_weight(generator, stored, shape)))
        elif not name.endswith((".parametrizations.weight.original1", ".weight_v")):
            tensors.append(generator.take(name, generator.shape(name)).renamed(name))
    return tensors


def _count_resblocks(generator: Generator) -> int:
    count = 0
    while f"resblocks.{count}.convs1.0.bias" in generator.names():
        count += 1
    return count


def _last(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 0


def _up_rates(down_kernels: list[int], hop: int, file: str) -> list[int]:
    """The source is brought down to the rate of each stage: with a kernel of twice the stride, or of 1."""
    strides = down_strides(down_kernels)
    check(
        strides[-1] == 1, f"[vocoder] expected the last source at its own rate, got {down_kernels} ({file})"
    )
    rates = [a // b for a, b in pairwise(strides)]
    frames = HOP // hop
    rates = [frames // strides[0], *rates]
    good = math.prod(rates) == frames and frames * hop == HOP and math.prod(rates[1:]) == strides[0]
    check(good, f"[vocoder] expected {HOP} samples a frame, got rates {rates} and hop {hop} ({file})")
    return rates


def down_strides(down_kernels: list[int]) -> list[int]:
    return [max(1, kernel // 2) for kernel in down_kernels]


def take_tensors(generator: Generator, sizes: Sizes) -> list[Tensor]:
    """In the file's names, below `t2w.hift` or `t2w.hift_causal`."""
    tensors = [*_take(generator, sizes)]
    left = generator.left()
    check(not left, f"[vocoder] expected only tensors of HiFT, got {left[:1]} ({generator.path.name})")
    prefix = prefix_of(sizes)
    return [tensor.renamed(f"t2w.{prefix}.{tensor.name}") for tensor in tensors]


def prefix_of(sizes: Sizes) -> str:
    return "hift_causal" if sizes.causal else "hift"


def _take(generator: Generator, sizes: Sizes) -> Iterator[Tensor]:
    n_bin, n_stage = sizes.n_fft + 2, len(sizes.channels)
    yield from _normed(generator, "conv_pre", "conv_pre", (sizes.n_embd, sizes.n_mel, sizes.pre_kernel))
    for i, (n_out, rate, kernel) in enumerate(
        zip(sizes.channels, sizes.up_rates, sizes.up_kernels, strict=True)
    ):
        n_in = sizes.channels[i - 1] if i > 0 else sizes.n_embd
        yield from _upsampling(generator, i, (n_in, n_out, kernel), rate, sizes.causal)
        down = (n_out, n_bin, sizes.down_kernels[i])
        yield from _plain(generator, f"source_down.{i}", f"source_downs.{i}", down)
        source_kernel = sizes.source_res_kernels[i]
        yield from _resblock(generator, f"source_res.{i}", f"source_resblocks.{i}", n_out, source_kernel)
        for j, res_kernel in enumerate(sizes.res_kernels):
            m = i * len(sizes.res_kernels) + j
            yield from _resblock(generator, f"res.{m}", f"resblocks.{m}", n_out, res_kernel)
    post = (n_bin, sizes.channels[n_stage - 1], sizes.post_kernel)
    yield from _normed(generator, "conv_post", "conv_post", post)
    for n, (i, kernel) in enumerate(zip(_F0_CONVS, sizes.f0_kernels, strict=True)):
        n_in = sizes.n_f0 if n > 0 else sizes.n_mel
        yield from _normed(generator, f"f0.conv.{n}", f"f0_predictor.condnet.{i}", (sizes.n_f0, n_in, kernel))
    for name, stored, n_in in (
        ("f0.out", "f0_predictor.classifier", sizes.n_f0),
        ("source", "m_source.l_linear", sizes.n_harmonic),
    ):
        yield generator.take(f"{stored}.weight", (1, n_in)).renamed(f"{name}.weight")
        yield generator.take(f"{stored}.bias", (1,)).renamed(f"{name}.bias")


def _normed(generator: Generator, name: str, stored: str, shape: tuple[int, int, int]) -> Iterator[Tensor]:
    n_out, n_in, n_tap = shape
    weight = normed_weight(generator, stored, shape)
    yield computed(f"{name}.weight", (n_out, n_tap * n_in), lambda: flattened(weight()))
    yield generator.take(f"{stored}.bias", (n_out,)).renamed(f"{name}.bias")


def _plain(generator: Generator, name: str, stored: str, shape: tuple[int, int, int]) -> Iterator[Tensor]:
    yield generator.take(f"{stored}.weight", shape).taps_first().renamed(f"{name}.weight")
    yield generator.take(f"{stored}.bias", shape[:1]).renamed(f"{name}.bias")


def _upsampling(
    generator: Generator, i: int, shape: tuple[int, int, int], rate: int, causal: bool
) -> Iterator[Tensor]:
    n_in, n_out, kernel = shape
    good = causal or (kernel >= rate and (kernel - rate) % 2 == 0)
    check(good, f"[vocoder] expected a padded kernel, got {kernel} for {rate} ({generator.path.name})")
    stored = (n_out, n_in, kernel) if causal else (n_in, n_out, kernel)
    weight = normed_weight(generator, f"ups.{i}", stored)
    bias = generator.take(f"ups.{i}.bias", (n_out,))
    left, right = reach(kernel, rate, causal)
    fold = partial(_folded, weight, rate, causal)
    yield computed(f"up.{i}.weight", (rate * n_out, (left + 1 + right) * n_in), fold)
    yield computed(f"up.{i}.bias", (rate * n_out,), lambda: np.tile(exact(bias), rate))


def _folded(weight: Make, rate: int, causal: bool) -> Exact:
    return fold_repeated(weight(), rate) if causal else fold_transposed(weight(), rate)


def reach(kernel: int, rate: int, causal: bool) -> tuple[int, int]:
    """Frames to the left and to the right that an upsampling depends on."""
    return (repeated_reach(kernel, rate), 0) if causal else transposed_reach(kernel, rate)


def _resblock(generator: Generator, name: str, stored: str, n: int, kernel: int) -> Iterator[Tensor]:
    for part in (1, 2):
        for j in range(len(DILATIONS)):
            source = f"{stored}.convs{part}.{j}"
            yield from _normed(generator, f"{name}.conv{part}.{j}", source, (n, n, kernel))
            alpha = generator.take(f"{stored}.activations{part}.{j}.alpha", (n,))
            yield alpha.renamed(f"{name}.snake{part}.{j}.alpha")


def write_keys(keys: Metadata, sizes: Sizes, config: Facts) -> None:
    """`config` is CONFIG for the causal vocoder; the original one has none."""
    hift = section(config, "hift") if sizes.causal else Facts({}, CONFIG)
    _check(sizes, hift)
    prefix = f"minicpmo.{prefix_of(sizes)}."
    left, right = zip(
        *(reach(k, r, sizes.causal) for k, r in zip(sizes.up_kernels, sizes.up_rates, strict=True)),
        strict=True,
    )
    strides = down_strides(sizes.down_kernels)
    look_right = [k - 1 if sizes.causal else (k - 1) // 2 for k in (sizes.pre_kernel, sizes.f0_kernels[0])]
    keys.flag(prefix + "causal", sizes.causal)
    for key, number in {
        **{"n_mel": sizes.n_mel, "sample_rate": SAMPLE_RATE, "frame_length": HOP},
        **{"embedding_length": sizes.n_embd, "conv_pre_kernel": sizes.pre_kernel},
        **{"conv_post_kernel": sizes.post_kernel, "look_right": look_right[0]},
        **{"f0.look_right": look_right[1], "f0.embedding_length": sizes.n_f0},
        **{"harmonics": sizes.n_harmonic, "n_fft": sizes.n_fft, "hop_length": sizes.hop},
        "delay_frames": sum(look_right) + 1 if sizes.causal else _CACHED_FRAMES,
    }.items():
        keys.u32(prefix + key, number)
    for key, numbers in {
        **{"channels": sizes.channels, "upsample_rates": sizes.up_rates},
        **{"upsample_kernels": sizes.up_kernels, "upsample_left": left, "upsample_right": right},
        **{"source_down_kernels": sizes.down_kernels, "source_down_strides": strides},
        "source_down_left": [s - 1 if sizes.causal else s // 2 for s in strides],
        **{"resblock_kernels": sizes.res_kernels, "source_resblock_kernels": sizes.source_res_kernels},
        "resblock_dilations": DILATIONS * len(sizes.res_kernels),
        "source_resblock_dilations": DILATIONS * len(sizes.source_res_kernels),
        "f0.kernels": sizes.f0_kernels,
    }.items():
        keys.u32s(prefix + key, list(numbers))
    keys.f32(prefix + "sine_amplitude", hift.number("nsf_alpha", 0.1))
    keys.f32(prefix + "noise_sigma", hift.number("nsf_sigma", 0.003))
    keys.f32(prefix + "voiced_threshold", hift.number("nsf_voiced_threshold", 10.0))
    keys.f32(prefix + "slope", hift.number("lrelu_slope", 0.1))
    keys.f32(prefix + "final_slope", 0.01)  # torch's default: the reference states none at that place
    keys.f32(prefix + "audio_limit", hift.number("audio_limit", 0.99))


def _check(sizes: Sizes, hift: Facts) -> None:
    expected: dict[str, Any] = {
        **{"in_channels": sizes.n_mel, "base_channels": sizes.n_embd, "sampling_rate": SAMPLE_RATE},
        **{"nb_harmonics": sizes.n_harmonic - 1, "upsample_rates": sizes.up_rates},
        **{"upsample_kernel_sizes": sizes.up_kernels, "resblock_kernel_sizes": sizes.res_kernels},
        "resblock_dilation_sizes": [DILATIONS for _ in sizes.res_kernels],
        "source_resblock_kernel_sizes": sizes.source_res_kernels,
        "source_resblock_dilation_sizes": [DILATIONS for _ in sizes.source_res_kernels],
        "conv_pre_look_right": sizes.pre_kernel - 1,
    }
    agree(hift, expected)
    agree(section(hift, "f0_predictor"), {"in_channels": sizes.n_mel, "cond_channels": sizes.n_f0})
