"""What the official code computed, and the measures of how far we are from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """One comparison. An error is a relative L2 distance, or a share of items that differ."""

    model: str  # the golden set
    type: str
    module: str
    item: str
    error: float
    limit: float | None  # at f32; other types have none

    @property
    def is_within(self) -> bool:
        return self.limit is None or self.error <= self.limit


class Golden:
    """What the official code computed from one checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.checkpoint = folder / "checkpoint"
        self.causal_vocoder = folder / "checkpoint" / "assets" / "token2wav_causal"
        self._folder = folder / "golden"

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self._folder / f"{name}.npz") as archive:
            return dict(archive)

    def facts(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        return facts

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """By size, such as "640x480"."""
        prefix = "image_"
        arrays = self.arrays("inputs").items()
        return {name.removeprefix(prefix): pixels for name, pixels in arrays if name.startswith(prefix)}

    def sounds(self) -> dict[str, NDArray[np.float32]]:
        """By length, such as "1.0s": mono samples at 16 kHz."""
        prefix = "audio_"
        arrays = self.arrays("inputs").items()
        return {name.removeprefix(prefix): sound for name, sound in arrays if name.startswith(prefix)}


def relative_l2(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    return float(difference / max(float(np.linalg.norm(expected.astype(np.float64))), 1e-30))


def share_different(found: list[Any], expected: list[Any]) -> float:
    n = max(len(found), len(expected), 1)
    return 1 - sum(bool(a == b) for a, b in zip(found, expected, strict=False)) / n


def largest_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found.astype(np.float64) - expected).max()) if found.size else 0.0


def to_table(rows: list[Row]) -> str:
    """One line per module: its worst item."""
    worst: dict[tuple[str, str, str], Row] = {}
    count: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.model, row.type, row.module)
        count[key] = count.get(key, 0) + 1
        if key not in worst or row.error > worst[key].error:
            worst[key] = row
    lines = [
        f"{'model':<8}{'type':<8}{'module':<20}{'items':>6}{'worst error':>14}{'limit':>9}      worst item"
    ]
    for key, row in worst.items():
        limit = "-" if row.limit is None else f"{row.limit:g}"
        verdict = "" if row.limit is None else "ok" if row.is_within else "FAIL"
        item = row.item if row.error > 0 else ""
        start = f"{row.model:<8}{row.type:<8}{row.module:<20}{count[key]:>6}"
        lines.append(f"{start}{row.error:>14.2e}{limit:>9} {verdict:<4} {item}".rstrip())
    return "\n".join(lines)
