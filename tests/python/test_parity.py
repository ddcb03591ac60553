"""The engine against the official code's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from minicpmo_cpp import Model
from minicpmo_cpp.parity.flow import compare_flow
from minicpmo_cpp.parity.golden import Golden, Row, relative_l2, share_different, to_table
from minicpmo_cpp.parity.hearing import compare_hearing
from minicpmo_cpp.parity.sessions import close_decisions, compare_sessions
from minicpmo_cpp.parity.tts import compare_tts
from minicpmo_cpp.parity.understanding import CONVERSATIONS, compare_model
from minicpmo_cpp.parity.vocoder import compare_vocoder
from minicpmo_cpp.parity.voice import compare_voice

MODULES = {
    "image": 31,
    "vision": 4,
    "resampler": 4,
    "prompt text": len(CONVERSATIONS),
    "prompt ids": len(CONVERSATIONS),
    "embeds": 3,
    "logits": len(CONVERSATIONS),
    "hidden": len(CONVERSATIONS),
    "greedy ids": len(CONVERSATIONS),
    "mel": 4,
    "audio": 8,
    "audio placeholder": 4,
    "stream mel": 4,
    "stream": 4,
    "tts logits": 1,
    "flow encoder": 2,
    "dit": 1,
    "flow": 1,
    "flow stream": 3,
    "vocoder": 3,
    "vocoder stream": 3,
    "causal vocoder": 2,
    "causal vocoder stream": 3,
    "speech mel": 2,
    "speech tokenizer": 1,
    "speech codes": 1,
    "fbank": 1,
    "speaker": 1,
}


@pytest.fixture(scope="module")
def rows(golden_set: Golden, golden_model: Model) -> list[Row]:
    comparisons = (compare_model, compare_hearing, compare_tts, compare_flow, compare_vocoder, compare_voice)
    return [row for compare in comparisons for row in compare(golden_set, golden_model, "f32")]


def test_every_spoken_condition_equals_the_official_code(rows: list[Row]) -> None:
    """Of one utterance, and of every unit of the duplex sessions that speaks."""
    mine = [row for row in rows if row.module == "tts condition"]
    assert len(mine) > 30
    assert not [row for row in mine if not row.is_within]


@pytest.mark.parametrize("module", MODULES)
def test_f32_equals_the_official_code(rows: list[Row], module: str) -> None:
    mine = [row for row in rows if row.module == module]
    assert len(mine) == MODULES[module]
    assert all(row.limit is not None for row in mine)
    assert not [row for row in mine if not row.is_within]


def test_conversations_equal_the_official_code(golden_set: Golden, golden_model: Model) -> None:
    rows = list(compare_sessions(golden_set, golden_model))
    units = [row for row in rows if row.module == "duplex ids"]
    assert len(units) == 43
    assert {row.module for row in rows} >= {"simplex", "duplex logits", "duplex states", "duplex condition"}
    assert not [row for row in rows if not row.is_within]
    assert close_decisions(golden_set) == []  # else equal ids would be luck


def test_the_measures_see_differences() -> None:
    ones = np.ones((2, 3), np.float32)
    assert relative_l2(ones, ones) == 0
    assert relative_l2(ones * 1.01, ones) == pytest.approx(0.01, rel=1e-4)
    assert relative_l2(ones[:1], ones) == float("inf")
    assert not Row("m", "f32", "x", "y", float("nan"), 1.0).is_within
    assert share_different([1, 2, 3], [1, 2, 4]) == pytest.approx(1 / 3)
    assert share_different([], [1]) == 1
    assert "FAIL" in to_table([Row("m", "f32", "x", "y", 0.5, 0.1)])


def test_the_command_prints_a_table_and_json(golden: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "minicpmo_cpp.parity", "--golden", str(golden), "--models", "tiny-b"]
    result = subprocess.run(
        [*command, "--types", "q8_0", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    own = [row for row in found if row["module"] == "logits to own f32"]
    assert len(own) == len(CONVERSATIONS)
    assert all(0 < row["error"] < 0.1 for row in own)
    refused = subprocess.run(
        [*command, "--models", "tiny-z"], env=environment, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "tiny-z" in refused.stderr
