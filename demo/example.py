"""What a maker makes: media, and questions about them with their answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [h, w, 3]


@dataclass(frozen=True)
class Question:
    task: str  # what is asked: held-out accuracy is told for each
    text: str
    answer: str


@dataclass(frozen=True)
class Sight:
    """One picture or several, and what is asked about them."""

    pictures: tuple[Pixels, ...]
    labels: tuple[Pixels, ...]  # what lies where in each, as in pictures/label.py
    questions: tuple[Question, ...]
