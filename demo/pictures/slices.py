"""A picture as the vision tower takes it: the official choice of a grid, overview and slices, and patches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.example import Pixels
from demo.sizes import PATCH


def cut(
    pixels: Pixels, scale: int, max_slices: int, filter_: Image.Resampling = Image.Resampling.BICUBIC
) -> list[Pixels]:
    """The overview, and slices row by row behind it. Labels are cut with the filter NEAREST."""
    image = Image.fromarray(pixels)
    grid = _grid(image.width, image.height, scale, max_slices)
    if grid is None:
        return [_resized(image, *_best(image.width, image.height, scale, True), filter_)]
    cols, rows = grid
    width, height = (_whole(side, n) / n for side, n in ((image.width, cols), (image.height, rows)))
    w, h = _best(width, height, scale, True)
    refined = _resized(image, w * cols, h * rows, filter_)
    tiles = [refined[r * h : r * h + h, c * w : c * w + w] for r in range(rows) for c in range(cols)]
    return [_resized(image, *_best(image.width, image.height, scale, False), filter_), *tiles]


def to_patches(slice_: Pixels) -> NDArray[np.float32]:
    """[n_row * n_col, 3 * 14 * 14], channels first, from -1 to 1."""
    rows, cols = slice_.shape[0] // PATCH, slice_.shape[1] // PATCH
    values = (slice_.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    patches = values.reshape(rows, PATCH, cols, PATCH, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(patches.reshape(rows * cols, 3 * PATCH * PATCH))


def _whole(length: float, unit: int) -> int:
    return max(round(length / unit) * unit, unit)


def _best(width: float, height: float, scale: int, grows: bool) -> tuple[int, int]:
    if width * height > scale * scale or grows:
        ratio = width / height
        height = int(scale / math.sqrt(ratio))
        width = int(height * ratio)
    return _whole(width, PATCH), _whole(height, PATCH)


def _grid(width: int, height: int, scale: int, most: int) -> tuple[int, int] | None:
    wanted = min(math.ceil(width * height / (scale * scale)), most)
    if wanted <= 1:
        return None
    counts = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= most]
    grids = [(m, n // m) for n in counts for m in range(1, n + 1) if n % m == 0]
    ratio = math.log(width / height)
    return min(grids, key=lambda grid: abs(ratio - math.log(grid[0] / grid[1])))


def _resized(image: Image.Image, width: int, height: int, filter_: Image.Resampling) -> Pixels:
    if image.size == (width, height):
        return np.asarray(image)
    return np.asarray(image.resize((width, height), filter_))
