"""How positions turn queries and keys: the base of the frequencies, and LongRoPE's two sets of factors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.folding import Exact, computed
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

_ORIGINAL = "original_max_position_embeddings"
_FACTORS = {"short_factor": "rope_factors_short.weight", "long_factor": "rope_factors_long.weight"}


def write_keys(keys: Metadata, config: Facts, arch: str, d_head: int, n_ctx: int, base: float) -> None:
    """Of all scalings, that of LongRoPE; others are refused."""
    for key in ("rope_scaling", "rope_parameters"):
        if config.has(key):
            base = config.section(key).number("rope_theta", base, low=1.0)
    keys.f32(f"{arch}.rope.freq_base", config.number("rope_theta", base, low=1.0))
    scaling = _long_scaling(config)
    if scaling is None:
        return
    keys.u32(f"{arch}.rope.dimension_count", d_head)
    keys.text(f"{arch}.rope.scaling.type", "longrope")
    place = next((each for each in (scaling, config) if each.has(_ORIGINAL)), None)
    original = place.integer(_ORIGINAL, low=2) if place else n_ctx
    # How much longer contexts are than those of the first training: of what is stated, the more exact.
    factor = n_ctx / original if place else scaling.number("factor", 1.0, high=1e6)
    keys.u32(f"{arch}.rope.scaling.original_context_length", original)
    keys.f32(f"{arch}.rope.scaling.attn_factor", _attention_factor(scaling, original, factor))


def factors(config: Facts, d_head: int) -> list[Tensor]:
    """What frequencies are divided by, [d_head / 2] each; none without LongRoPE."""
    scaling = _long_scaling(config)
    if scaling is None:
        return []
    tensors = []
    for key, name in _FACTORS.items():
        values = scaling.numbers(key, d_head // 2)
        check(min(values) > 0, f"[config] expected factors above 0, got {min(values)} (config.json: {key})")
        tensors.append(computed(name, (d_head // 2,), _constant(values)))
    return tensors


def _long_scaling(config: Facts) -> Facts | None:
    for key in ("rope_scaling", "rope_parameters"):
        if not config.has(key):
            continue
        scaling = config.section(key)
        kind = scaling.text("rope_type", scaling.text("type", "default"))
        if kind == "longrope":
            return scaling
        scaling.require("rope_type", kind, "default")
    return None


def _attention_factor(scaling: Facts, original: int, factor: float) -> float:
    """Of queries and keys both, as transformers has it."""
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return scaling.number("attention_factor", usual, low=1e-3, high=1e3)


def _constant(values: list[float]) -> Callable[[], Exact]:
    return lambda: np.array(values, np.float64)
