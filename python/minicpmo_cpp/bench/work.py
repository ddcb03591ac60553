"""What a stage has to do, counted from the matrices of the model file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

FLOATS = ("f32", "f16", "bf16")  # types whose products are floating-point ones


@dataclass(frozen=True)
class Work:
    """Arithmetic, two operations a multiply-add, and what must be read for it."""

    int8: int = 0  # operations with weights of a quantised type
    real: int = 0  # the others: with weights of a float type, or of activations alone
    n_byte: int = 0  # of weights, read once

    def __add__(self, other: Work) -> Work:
        return Work(self.int8 + other.int8, self.real + other.real, self.n_byte + other.n_byte)

    def __mul__(self, times: int) -> Work:
        """The same so often, weights read each time."""
        return Work(times * self.int8, times * self.real, times * self.n_byte)

    @property
    def n_op(self) -> int:
        return self.int8 + self.real


@dataclass(frozen=True)
class Matrix:
    shape: tuple[int, ...]  # columns, rows; a kernel of a convolution may have its axes apart
    type: str
    n_byte: int

    @property
    def n_row(self) -> int:
        return self.shape[-1]


class Matrices:
    """The tensors of two dimensions and more of a model file, by name."""

    def __init__(self, tensors: Iterable[tuple[str, list[int], str, int]]) -> None:
        """tensors: (name, shape with the fastest dimension first, type, bytes)."""
        self._found: dict[str, Matrix] = {}
        self._bytes: dict[str, int] = {}
        for name, shape, kind, n_byte in tensors:
            self._bytes[name] = n_byte
            if len(shape) >= 2:
                self._found[name] = Matrix(tuple(shape), kind.lower(), n_byte)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Matrix:
        if name not in self._found:
            raise ValueError(f"[bench] expected a matrix {name}, got none")
        return self._found[name]

    def names(self, pattern: str) -> list[str]:
        """Of matrices that match as a whole."""
        return [name for name in self._found if re.fullmatch(pattern, name)]

    def product(self, pattern: str, n_row: int = 1) -> Work:
        """So many rows with every matrix of that name."""
        work = Work()
        for name in self._some(pattern):
            matrix = self._found[name]
            n_op = 2 * math.prod(matrix.shape) * n_row
            is_float = matrix.type in FLOATS
            work += Work(0 if is_float else n_op, n_op if is_float else 0, matrix.n_byte)
        return work

    def row_bytes(self, name: str) -> int:
        """Of one row."""
        matrix = self[name]
        return matrix.n_byte // matrix.n_row

    def bytes_of(self, pattern: str) -> int:
        """Of every tensor of that name, vectors among them."""
        return sum(size for name, size in self._bytes.items() if re.fullmatch(pattern, name))

    def _some(self, pattern: str) -> list[str]:
        names = self.names(pattern)
        if not names:
            raise ValueError(f"[bench] expected matrices {pattern}, got none")
        return names


def attention(width: int, n_pair: int) -> Work:
    """Scores and weighted sums of all heads, together so wide; n_pair: of a row and a key that it sees."""
    return Work(real=2 * 2 * width * n_pair)
