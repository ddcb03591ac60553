"""The module's quantizer against the gguf package's."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from minicpmo_convert.recipe import RECIPES
from minicpmo_cpp import _core

TYPES = list(RECIPES)


@pytest.mark.parametrize("name", ["f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_blocks_equal_those_of_the_gguf_package(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(37, 512)).astype(np.float32)
    expected = gguf.quantize(values, gguf.GGMLQuantizationType[name.upper()]).view(np.uint8)
    np.testing.assert_array_equal(_core.quantize(values, name), expected)


@pytest.mark.parametrize(
    "name", ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0", "q4_0", "iq4_nl", "iq4_xs", "f32"]
)
def test_dequantized_values_equal_those_of_the_gguf_package(name: str) -> None:
    values = np.random.default_rng(1).normal(size=(37, 512)).astype(np.float32)
    blocks = _core.quantize(values, name, n_threads=3)
    np.testing.assert_array_equal(blocks, _core.quantize(values, name, n_threads=1))
    expected = gguf.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()])
    np.testing.assert_array_equal(_core.dequantize(blocks, name, 512), expected)
    n_value, n_byte = _core.type_info(name)
    assert blocks.shape == (37, 512 // n_value * n_byte)


def test_the_quantizer_refuses_what_it_cannot_hold() -> None:
    values = np.ones((4, 64), np.float32)
    for bad in (np.nan, np.inf, -np.inf, 1e6):
        values[2, 3] = bad
        with pytest.raises(Exception, match="row 2, column 3"):
            _core.quantize(values, "q8_0")
    values[2, 3] = 1
    for name in ("q4_k", "iq2_xs", "q8_1", "i32", "q9"):
        with pytest.raises(Exception, match=r"\[quantize\] expected"):
            _core.quantize(values, name)
    for wrong in (values[0], values.astype(np.float64), values[:, ::2]):
        with pytest.raises(Exception, match=r"expected|incompatible"):
            _core.quantize(wrong, "f32")
    for n_col in (63, 32, 0, -64, 2**62):
        with pytest.raises(Exception, match=r"\[dequantize\] expected"):
            _core.dequantize(_core.quantize(values, "q8_0"), "q8_0", n_col)
    assert _core.quantize(values[:0], "q8_0").shape == (0, 68)
