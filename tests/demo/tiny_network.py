"""A network of the demo's architecture, smaller still, with weights made by numpy, and what it is shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo import prompts
from demo.lexicon import Language
from demo.pictures.maker import make_sight
from demo.sizes import Sizes
from demo.vocabulary import Vocabulary, learn

Floats = NDArray[np.float32]
VOCABULARY: Vocabulary = learn(["What colour is the circle? red green blue", "圆形是什么颜色？红色"] * 3, 24)
SIZES = Sizes(
    len(VOCABULARY),
    **{"n_embd": 128, "n_layer": 2, "n_head": 4, "n_head_kv": 2, "d_head": 32, "n_ff": 96},
    **{"v_embd": 32, "v_layer": 1, "v_head": 2, "v_ff": 64, "v_grid": 5, "n_query": 9, "scale": 56},
    **{"a_embd": 32, "a_layer": 2, "a_head": 2, "a_position": 160},
)
QUESTION = "What colour is the circle?"
WHOLE = make_sight("held_out", "scene", 0, (60, 44), 1).pictures[0]
SLICED = make_sight("held_out", "scene", 1, (112, 56), 1).pictures[0]
PICTURES = {"whole": (WHOLE,), "sliced": (SLICED,), "pair": (WHOLE, SLICED)}


def sound() -> Floats:
    """2.31 s at 16 kHz, so that the last second is not whole: a siren in noise."""
    t = np.arange(36960) / 16000
    noise = np.random.default_rng(3).normal(0, 0.01, len(t))
    return (0.4 * np.sin(2 * np.pi * (300 * t + 40 * np.sin(9 * t))) + noise).astype(np.float32)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Large enough that every part of the network matters."""
    rng = np.random.default_rng(11)
    made = {}
    for name, shape in shapes.items():
        values = rng.normal(0, 1, shape)
        if len(shape) > 1 and "embed" not in name and name != "resampler.query":
            values *= 1.5 / np.sqrt(np.prod(shape[1:]))
        elif len(shape) == 1:
            values = 0.1 * values + (1.0 if "norm" in name or "ln_" in name else 0.0) * name.endswith(
                "weight"
            )
        made[name] = values.astype(np.float32)
    return made


def picture_text(n_slice: tuple[int, ...]) -> str:
    return prompts.picture_prefix(n_slice, SIZES.n_query) + prompts.asked(QUESTION)


def sound_text(n_token: int, language: Language = "en") -> str:
    return prompts.USER + prompts.HEAR[language] + prompts.heard(n_token) + prompts.asked("", is_spoken=True)
