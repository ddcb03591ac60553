"""What lies where in a picture, for a head that names it patch by patch in training and is not exported."""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import NDArray

from demo.example import Pixels
from demo.lexicon import COLOURS, SHAPES
from demo.sizes import PATCH

# Numbers in the first and second channel of a picture of labels; 0 is the ground. The third channel is 0.
WHAT: tuple[str, ...] = ("", *SHAPES, "bar", *string.ascii_uppercase, *string.digits)
COLOUR: tuple[str, ...] = ("", *COLOURS)
_LEAST = 30  # pixels of a patch's 196 that make it more than ground


def label(what: str, colour: str) -> tuple[int, int, int]:
    return WHAT.index(what), COLOUR.index(colour), 0


def to_labels(slice_: Pixels) -> NDArray[np.int64]:
    """Labels of a slice -> the most frequent of each patch: [n_row * n_col, (what, colour)]."""
    rows, cols = slice_.shape[0] // PATCH, slice_.shape[1] // PATCH
    codes = slice_[..., 0].astype(np.int64) * len(COLOUR) + slice_[..., 1]
    patches = codes.reshape(rows, PATCH, cols, PATCH).transpose(0, 2, 1, 3).reshape(rows * cols, -1)
    n = len(WHAT) * len(COLOUR)
    counts = np.zeros((len(patches), n), np.int64)
    np.add.at(counts, (np.arange(len(patches))[:, None], patches), 1)
    counts[:, 0] = _LEAST - 1
    best = counts.argmax(axis=1)
    return np.stack([best // len(COLOUR), best % len(COLOUR)], axis=1)
