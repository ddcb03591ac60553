"""The vision tower's hidden width made whole blocks, where a type has blocks that do not divide it.

At full size it is 4304, which is no multiple of 32: a row of `ffn_down` would have to stay F16, twice the
bytes and a slower product. Hidden features that are always zero (GELU(0) = 0) change nothing, so that up to a
block of them is added: rows of zeros in `ffn_up`, columns of zeros in `ffn_down`.
"""

from __future__ import annotations

import re

from minicpmo_convert.encoding import block_size
from minicpmo_convert.error import ConvertError
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.recipe import Recipe
from minicpmo_convert.tensor import Tensor

WIDTH = "minicpmo.vision.feed_forward_length"
_UP = re.compile(r"v\.blk\.[0-9]+\.ffn_up\.weight")
_BIAS = re.compile(r"v\.blk\.[0-9]+\.ffn_up\.bias")
_DOWN = re.compile(r"v\.blk\.[0-9]+\.ffn_down\.weight")


def whole_width(width: int, recipe: Recipe) -> int:
    """The least width from `width` on that the blocks of the recipe's media divide."""
    return width + -width % block_size(recipe.media)


def widened(tensors: list[Tensor], keys: Metadata, recipe: Recipe) -> list[Tensor]:
    """The tensors with a hidden width that the recipe's blocks divide; `keys` say if anything was added."""
    width = keys.get(WIDTH)
    if width is None:
        return tensors
    if not isinstance(width, int) or not 1 <= width <= 2**24:
        raise ConvertError(f"[vision] expected a width, got {width!r} ({WIDTH})")
    n_more = whole_width(width, recipe) - width
    if n_more == 0:
        return tensors
    keys.u32(WIDTH, width + n_more)
    return [_widened(tensor, width, n_more) for tensor in tensors]


def _widened(tensor: Tensor, width: int, n_more: int) -> Tensor:
    if _UP.fullmatch(tensor.name) and tensor.shape[0] == width:
        return tensor.with_zero_rows(n_more)
    if (_DOWN.fullmatch(tensor.name) or _BIAS.fullmatch(tensor.name)) and tensor.n_col == width:
        return tensor.with_zero_columns(n_more)
    return tensor
