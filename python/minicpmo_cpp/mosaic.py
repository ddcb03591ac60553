"""Several frames of a video laid out as one picture, with lines between them."""

from __future__ import annotations

import numpy as np

from minicpmo_cpp.types import Pixels

_LINE = 6  # pixels between stacked frames


def mosaic(cells: list[Pixels]) -> Pixels:
    """Frames of one size as one picture: four as a square, two or three the squarer way, others as a row."""
    height, width, _ = cells[0].shape
    n = len(cells)
    n_row, n_column = {4: (2, 2), 3: (1, 3), 2: (2, 1)}.get(n, (1, n))
    if n in (2, 3):

        def distance(layout: tuple[int, int]) -> float:
            return abs(_extent(layout[1], width) / _extent(layout[0], height) - 1.0)

        n_row, n_column = min((n_row, n_column), (n_column, n_row), key=distance)
    canvas = np.zeros((_extent(n_row, height), _extent(n_column, width), 3), np.uint8)
    for i, cell in enumerate(cells):
        row, column = divmod(i, n_column)
        top, left = row * (height + _LINE), column * (width + _LINE)
        canvas[top : top + height, left : left + width] = cell
    return canvas


def _extent(n: int, size: int) -> int:
    return n * size + (n - 1) * _LINE
