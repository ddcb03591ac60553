"""Measures how fast this machine reads memory; bench.py starts it."""

from __future__ import annotations

from typing import Any

from minicpmo_cpp.bench.bandwidth import ReadBandwidth
from protocol import serve


class Bandwidth:
    def load(self, *, n_threads: int) -> dict[str, Any]:
        self._subject = ReadBandwidth(n_threads)
        return {}

    def read(self, *, n_pass: int) -> dict[str, Any]:
        return {"bytes_per_s": self._subject.measure(n_pass)}


if __name__ == "__main__":
    serve(Bandwidth())
