"""The language model of speech against the official code."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, relative_l2

_LIMIT = 2e-4


def compare_tts(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """tts_lm.npz, and the conditions of the duplex sessions. Limits hold for f32."""

    def row(module: str, item: str, found: NDArray[np.float32], expected: NDArray[np.float32]) -> Row:
        error = relative_l2(found, expected)
        return Row(golden.name, type_name, module, item, error, _LIMIT if type_name == "f32" else None)

    engine = model._open()
    data = golden.arrays("tts_lm")
    ids, hidden = data["text_ids"].astype(np.int32), data["llm_hidden"]
    yield row("tts condition", "tts_lm", _core.tts_condition(engine, ids, hidden), data["condition"])
    logits = _core.tts_forward(engine, ids, hidden, data["codes"].tolist())
    yield row("tts logits", "tts_lm", logits, data["logits"])

    sessions = golden.arrays("sessions")
    config = json.loads((golden.checkpoint / "config.json").read_text(encoding="utf-8"))
    bos = config["tts_config"]["audio_bos_token_id"]
    for key in sorted(key for key in sessions if "_tts_ids_" in key):
        ids, hidden = sessions[key].astype(np.int32), sessions[key.replace("_ids_", "_hidden_")]
        found = _core.tts_condition(engine, ids, hidden, [bos])
        name = key.replace("_tts_ids_", ", unit ")
        yield row("tts condition", name, found, sessions[key.replace("_ids_", "_condition_")])
