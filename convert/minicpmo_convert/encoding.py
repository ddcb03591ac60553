"""Float32 rows <-> blocks of a ggml type: plain types by numpy, the others by the runtime's ggml."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from minicpmo_convert.error import ConvertError

Values: TypeAlias = NDArray[np.float32]
Blocks: TypeAlias = NDArray[np.uint8]

F16_MAX = 65504.0
F32_MAX = float(np.finfo(np.float32).max)
PLAIN: dict[str, np.dtype[Any]] = {
    "f64": np.dtype("<f8"),
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype("<u2"),  # the upper half of a float32
}


def ggml_type(name: str) -> GGMLQuantizationType:
    return GGMLQuantizationType[name.upper()]


def block_size(name: str) -> int:
    return GGML_QUANT_SIZES[ggml_type(name)][0]


def row_bytes(name: str, n_col: int) -> int:
    n_value, n_byte = GGML_QUANT_SIZES[ggml_type(name)]
    return n_col // n_value * n_byte


def decode(blocks: Blocks, name: str, n_col: int) -> Values:
    """uint8 [n_row, row_bytes] -> float32 [n_row, n_col]."""
    if name == "bf16":
        return (blocks.view(PLAIN[name]).astype(np.uint32) << 16).view(np.float32)
    if name in PLAIN:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused as such
            return blocks.view(PLAIN[name]).astype(np.float32)
    values: Values = _ggml().dequantize(blocks, name, n_col)
    return values


def encode(values: Values, name: str, importance: Values | None = None) -> Blocks:
    """float32 [n_row, n_col] -> uint8 [n_row, row_bytes]; the values must be finite and within the type.

    `importance`, float32 [n_col], says whose errors weigh more; types without blocks have no use for it.
    """
    if name == "bf16":
        bits = values.view(np.uint32)
        nearest_even = bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))
        return (nearest_even >> 16).astype(PLAIN[name]).view(np.uint8)
    if name in PLAIN:
        return values.astype(PLAIN[name]).view(np.uint8)
    blocks: Blocks = _ggml().quantize(values, name, importance=importance)
    return blocks


def _ggml() -> Any:
    """The runtime's compiled module, imported when a block type first needs it: plain types do without."""
    try:
        from minicpmo_cpp import _core
    except ImportError as error:
        raise ConvertError(f"[quantize] expected the compiled module minicpmo_cpp, got {error}") from None
    return _core
