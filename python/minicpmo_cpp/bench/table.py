"""The document of a BenchRun as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from minicpmo_cpp.terminal import without_controls

_NOTHING = "-"


def to_table(document: dict[str, Any]) -> Table:
    """One row for each stage: time, rate, what it took, and its share of the limit."""
    model, machine = document["model"], document["machine"]
    title = f"{model['name']} ({model['type']}), {machine['n_threads']} threads, {machine['processor']}"
    table = Table(title=Text(without_controls(title)), title_justify="left")
    table.add_column("stage")
    for name in ("median", "least..most", "rate", "computes", "reads", "limit", "share of it"):
        table.add_column(name, justify="right")
    for name, facts in document["stages"].items():
        table.add_row(name, *_cells(facts))
    return table


def lines(document: dict[str, Any]) -> Iterator[str]:
    """What stands below: the limits, and what is absent."""
    limits = document["limits"]
    yield f"memory is read at {limits['read_bytes_per_s']['best'] / 1e9:.1f} GB/s"
    for name, kind in (("float32_op_per_s", "float32"), ("int8_op_per_s", "int8")):
        rate, how = limits[name]["best"] / 1e9, limits[name]["instructions"]
        yield f"{kind} products in registers: {rate:.0f} G operations/s ({how})"
    for name, reason in document["absent"].items():
        yield f"no {name}: {reason}"


def _cells(facts: dict[str, Any]) -> Iterator[str]:
    samples = facts["samples_s"]
    yield _seconds(facts["median_s"])
    yield f"{_seconds(min(samples))}..{_seconds(max(samples))}"
    yield _NOTHING if facts["unit"] is None else f"{facts['rate']:.1f} {facts['unit']}"
    n_op = sum(part["int8_op"] + part["float_op"] for part in facts["work"])
    yield _amount(n_op)
    n_byte = sum(part["bytes"] for part in facts["work"])
    yield f"{_amount(n_byte)}B" if n_byte else _NOTHING
    if facts["share"] is None:
        yield from (_NOTHING, _NOTHING)
        return
    yield f"{_seconds(facts['limit_s'])} ({facts['limited_by']})"
    yield f"{facts['share']:.0%}"


def _amount(value: int) -> str:
    if not value:
        return _NOTHING
    return f"{value / 1e9:.2f} G" if value >= 1e9 else f"{value / 1e6:.2f} M"


def _seconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
