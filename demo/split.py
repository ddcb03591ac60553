"""Which random numbers, words and voices are for training, and which are held out: by construction.

A seed is (split, maker, index): no two splits share a stream of random numbers. Words are held out by a
digest of their letters, whoever draws them.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("train", "held_out")
_NUMBER = {"train": 1, "held_out": 2}


def rng_for(split: Split, maker: str, index: int) -> np.random.Generator:
    """The random numbers of one example; the same on every machine."""
    if split not in _NUMBER:
        raise ValueError(f"[split] expected one of {SPLITS}, got {split!r}")
    if index < 0:
        raise ValueError(f"[split] expected an index from 0 on, got {index}")
    return np.random.default_rng([_NUMBER[split], _digest(maker), index])


def split_of_word(word: str) -> Split:
    """One word in eight is never seen in training."""
    return "held_out" if _digest("word " + word) % 8 == 0 else "train"


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
