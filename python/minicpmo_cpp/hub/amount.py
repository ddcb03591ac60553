"""Amounts of bytes, for people."""

from __future__ import annotations


def in_bytes(number: int) -> str:
    """4.7 GB."""
    for unit, letter in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {letter}"
    return f"{number} B"
