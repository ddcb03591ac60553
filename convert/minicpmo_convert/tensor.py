"""A tensor on disk, read by rows: what the checkpoint and the GGUF reader give and what the writer takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from minicpmo_convert.encoding import F32_MAX, Blocks, Values, decode, row_bytes
from minicpmo_convert.error import check

CHUNK_VALUES = 1 << 24  # values in memory at a time: 64 MiB as float32


@dataclass(frozen=True)
class Tensor:
    """`shape` is slowest dimension first (the reverse of ggml's ne); a row is the last dimension."""

    name: str
    shape: tuple[int, ...]
    type: str  # ggml type name of the stored blocks
    read: Callable[[int, int], Blocks]  # (first row, count) -> uint8 [count, row_bytes]

    @property
    def n_col(self) -> int:
        return self.shape[-1]

    @property
    def n_row(self) -> int:
        return math.prod(self.shape[:-1])

    def values(self, first: int, count: int, limit: float = F32_MAX) -> Values:
        """Float32 [count, n_col] within the limit; NaN and infinity, signs of a damaged file, are refused."""
        values = decode(self.read(first, count), self.type, self.n_col)
        low, high = float(values.min()), float(values.max())  # both NaN if one value is
        check(
            -limit <= low and high <= limit,
            f"[tensor] expected values within {limit:g}, got {low:g} to {high:g} ({self.name})",
        )
        return values

    def chunks(self) -> Iterator[tuple[int, int]]:
        """(first row, count) pieces of at most CHUNK_VALUES values, or of one row."""
        step = max(1, CHUNK_VALUES // self.n_col)
        for first in range(0, self.n_row, step):
            yield first, min(step, self.n_row - first)

    def max_abs(self) -> float:
        pieces = (self.values(*chunk) for chunk in self.chunks())
        return max(max(-float(values.min()), float(values.max())) for values in pieces)

    def renamed(self, name: str) -> Tensor:
        return replace(self, name=name)

    def part(self, index: int, count: int) -> Tensor:
        """The index-th of `count` equal parts along the first dimension."""
        rows = self.n_row // count if len(self.shape) > 1 else 1
        shape = (self.shape[0] // count, *self.shape[1:])
        if len(self.shape) > 1:
            return replace(self, shape=shape, read=lambda first, n: self.read(index * rows + first, n))
        width = row_bytes(self.type, shape[0])
        return replace(
            self,
            shape=shape,
            read=lambda first, n: self.read(first, n)[:, index * width : (index + 1) * width],
        )

    def rows(self, begin: int, count: int) -> Tensor:
        """Rows [begin, begin + count) of a matrix."""
        return replace(self, shape=(count, self.n_col), read=lambda first, n: self.read(begin + first, n))

    def with_zero_rows(self, n: int) -> Tensor:
        """A matrix with n rows of zeros at its end. Bytes of zero are zeros in every type."""

        def read(first: int, count: int) -> Blocks:
            n_stored = max(0, min(count, self.n_row - first))
            zeros = np.zeros((count - n_stored, row_bytes(self.type, self.n_col)), np.uint8)
            stored = [self.read(first, n_stored)] if n_stored else []
            return np.concatenate([*stored, zeros])

        return replace(self, shape=(self.shape[0] + n, *self.shape[1:]), read=read)

    def with_zero_columns(self, n: int) -> Tensor:
        """Every row with n zeros at its end. Only for a plain type."""
        margin = ((0, 0), (0, row_bytes(self.type, n)))
        return replace(
            self,
            shape=(*self.shape[:-1], self.n_col + n),
            read=lambda first, count: np.pad(self.read(first, count), margin),
        )

    def transposed(self) -> Tensor:
        """Only for a plain type and two dimensions; reads the whole tensor for each piece."""
        rows, cols = self.shape
        item = np.dtype(f"u{row_bytes(self.type, 1)}")

        def read(first: int, count: int) -> Blocks:
            whole: NDArray[np.unsignedinteger] = self.read(0, rows).view(item)
            return np.ascontiguousarray(whole.T[first : first + count]).view(np.uint8)

        return replace(self, shape=(cols, rows), read=read)

    def taps_first(self) -> Tensor:
        """Only for a plain type: [n_out, n_in, n_tap] as a matrix of rows that hold tap after tap."""
        n_out, n_in, n_tap = self.shape
        item = np.dtype(f"u{row_bytes(self.type, 1)}")

        def read(first: int, count: int) -> Blocks:
            taps_last: NDArray[np.unsignedinteger] = self.read(first * n_in, count * n_in).view(item)
            swapped = taps_last.reshape(count, n_in, n_tap).swapaxes(1, 2)
            return swapped.reshape(count, n_tap * n_in).view(np.uint8)

        return replace(self, shape=(n_out, n_tap * n_in), read=read)

    def taps_last(self, n_tap: int) -> Tensor:
        """The other way round of taps_first."""
        n_out, n_col = self.shape
        n_in = n_col // n_tap
        item = np.dtype(f"u{row_bytes(self.type, 1)}")

        def read(first: int, count: int) -> Blocks:  # rows of taps: n_in of them are one of the matrix
            begin, end = first // n_in, -(-(first + count) // n_in)
            matrix: NDArray[np.unsignedinteger] = self.read(begin, end - begin).view(item)
            rows = matrix.reshape(end - begin, n_tap, n_in).swapaxes(1, 2).reshape(-1, n_tap)
            offset = first - begin * n_in
            return np.ascontiguousarray(rows[offset : offset + count]).view(np.uint8)

        return replace(self, shape=(n_out, n_in, n_tap), read=read)

    def as_column(self) -> Tensor:
        """A vector as a matrix of rows of one value. Only for a plain type."""
        width = row_bytes(self.type, 1)

        def read(first: int, count: int) -> Blocks:
            return self.read(0, 1).reshape(-1, width)[first : first + count]

        return replace(self, shape=(self.n_col, 1), read=read)

    def halves_to_neighbours(self, n_head: int) -> Tensor:
        """Rows of a matrix of queries or keys, so that those that RoPE turns together lie side by side."""
        d_half = self.n_row // n_head // 2
        order = np.arange(self.n_row).reshape(n_head, 2, d_half).swapaxes(1, 2).reshape(-1)

        def read(first: int, count: int) -> Blocks:
            return np.concatenate([self.read(int(row), 1) for row in order[first : first + count]])

        return replace(self, read=read)


class Source(Protocol):
    """Where tensors come from: a checkpoint folder or a file of torch.save."""

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor: ...
