"""Which figures bench.py takes of what need not be computed: turns that go on, answers that copy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

N_COPY = 128  # tokens of an answer that copies

Ask = Callable[..., dict[str, Any]]
Add = Callable[[str, float], None]

_TURNS = ("first turn", "second turn", "second turn tokens", "second chat", "second chat tokens")
_COPIES = ("decode copying", "decode copying drafted", "copying tokens a pass", "copying tokens in common")
FIGURES = (*_TURNS, *_COPIES)


def measure(ask: Ask, add: Add, *, has_vision: bool, n_draft: int) -> None:
    """One round: every figure once, after a warm-up."""
    if has_vision:
        ask("turns")
        for figure, value in ask("turns").items():
            add(figure.replace("_", " "), value)
    if n_draft == 0:
        return
    ask("copy", n_token=N_COPY, n_draft=n_draft)
    plain, drafted = (ask("copy", n_token=N_COPY, n_draft=n) for n in (0, n_draft))
    add("decode copying", plain["n"] / plain["s"])
    add("decode copying drafted", drafted["n"] / drafted["s"])
    add("copying tokens a pass", drafted["n"] / drafted["n_pass"])
    pairs = zip(plain["ids"], drafted["ids"], strict=True)
    add("copying tokens in common", len(list(takewhile(lambda pair: pair[0] == pair[1], pairs))))
