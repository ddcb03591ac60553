"""A memory plan on standard output."""

from __future__ import annotations

import json
from dataclasses import asdict

from minicpmo_cpp.memory_plan import MemoryPlan
from minicpmo_cpp.terminal import write


def show_plan(plan: MemoryPlan, *, as_json: bool) -> None:
    """Writes the table and what it means, or all numbers as one JSON object."""
    if as_json:
        facts = asdict(plan) | {"total": asdict(plan.total)}
        write(json.dumps({name: value for name, value in facts.items() if name != "table"}) + "\n")
        return
    verdict = "it fits"
    if not plan.can_allocate:
        verdict = "it does not fit"
    elif not plan.fits:
        verdict = "weights do not fit beside it: they would be read from the disk again and again"
    write(f"{plan}\n{verdict}\n")
