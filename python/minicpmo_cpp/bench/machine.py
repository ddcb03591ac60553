"""What machine this is, and whether it has time to measure."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

MOST_LOAD = 0.5  # average of processes that want a processor: above it, others compute beside us


def describe_machine(n_threads: int) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "processor": models[0] if models else platform.processor(),
        "n_cpu": os.cpu_count(),
        "n_threads": n_threads,
        "memory_bytes": pages,
        "system": platform.platform(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def busy_line(machine: dict[str, Any]) -> str | None:
    """What to say of a machine that does other things at the same time; None of an idle one."""
    load = machine["load_average"]
    if load is None or load <= MOST_LOAD:
        return None
    return f"this machine is not idle (load {load:.1f}): figures will be off"


def n_usable() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
