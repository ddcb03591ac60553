"""Layers rewritten at conversion: norms of weights folded in, convolutions as matrices of tap after tap."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from minicpmo_convert.encoding import Blocks
from minicpmo_convert.error import check
from minicpmo_convert.tensor import Source, Tensor

Exact: TypeAlias = NDArray[np.float64]
Make: TypeAlias = Callable[[], Exact]


def computed(name: str, shape: tuple[int, ...], make: Make) -> Tensor:
    """A float32 tensor whose values are made whenever some of its rows are read."""

    def read(first: int, count: int) -> Blocks:
        with np.errstate(over="ignore"):  # infinity is refused where the values are read
            values = make().reshape(math.prod(shape[:-1]), shape[-1])[first : first + count]
            return np.ascontiguousarray(values.astype(np.float32)).view(np.uint8)

    return Tensor(name, shape, "f32", read)


def exact(tensor: Tensor) -> Exact:
    """All values of a tensor, in its shape."""
    return tensor.values(0, tensor.n_row).astype(np.float64).reshape(tensor.shape)


def flattened(weight: Exact) -> Exact:
    """[n_out, n_in, n_tap] -> [n_out, n_tap * n_in]."""
    return weight.swapaxes(1, 2).reshape(len(weight), -1)


def normed_weight(source: Source, name: str, shape: tuple[int, ...]) -> Make:
    """gain * direction / |direction| for each index of the first dimension, in either spelling of torch."""
    new = f"{name}.parametrizations.weight.original0" in source.names()
    gain_name, direction_name = (
        (f"{name}.parametrizations.weight.original0", f"{name}.parametrizations.weight.original1")
        if new
        else (f"{name}.weight_g", f"{name}.weight_v")
    )
    gain = source.take(gain_name, (shape[0], *(1 for _ in shape[1:])))
    direction = source.take(direction_name, shape)

    def make() -> Exact:
        values = exact(direction)
        length = np.sqrt((values**2).sum(axis=tuple(range(1, values.ndim)), keepdims=True))
        check(bool(length.min() > 0), f"[weight norm] expected directions, got one of length 0 ({name})")
        result: Exact = exact(gain) * values / length
        return result

    return make


def transposed_reach(n_tap: int, stride: int) -> tuple[int, int]:
    """Input frames before and after its own that an output row of `fold_transposed` depends on."""
    padding = (n_tap - stride) // 2
    return (n_tap - 1 - padding) // stride, (stride - 1 + padding) // stride


def fold_transposed(weight: Exact, stride: int) -> Exact:
    """A transposed convolution [n_in, n_out, n_tap] with padding (n_tap - stride) / 2 as a plain one.

    Row r * n_out + o of the result gives output frame stride * t + r of channel o from the input frames
    t - left .. t + right of `transposed_reach`.
    """
    n_in, n_out, n_tap = weight.shape
    padding = (n_tap - stride) // 2
    left, right = transposed_reach(n_tap, stride)
    folded = np.zeros((stride, n_out, left + 1 + right, n_in))
    for phase, frame in product(range(stride), range(-left, right + 1)):
        tap = phase + padding - stride * frame
        if 0 <= tap < n_tap:
            folded[phase, :, left + frame] = weight[:, :, tap].T
    return folded.reshape(stride * n_out, -1)


def repeated_reach(n_tap: int, stride: int) -> int:
    """Input frames before its own that an output row of `fold_repeated` depends on."""
    return -(-(n_tap - 1) // stride)


def fold_repeated(weight: Exact, stride: int) -> Exact:
    """Every frame `stride` times, then a causal convolution [n_out, n_in, n_tap], as one plain convolution.

    Rows as in `fold_transposed`; taps that land on copies of one frame are added.
    """
    n_out, n_in, n_tap = weight.shape
    left = repeated_reach(n_tap, stride)
    folded = np.zeros((stride, n_out, left + 1, n_in))
    for phase, tap in product(range(stride), range(n_tap)):
        frame = (phase + tap - (n_tap - 1)) // stride
        folded[phase, :, left + frame] += weight[:, :, tap]
    return folded.reshape(stride * n_out, -1)
