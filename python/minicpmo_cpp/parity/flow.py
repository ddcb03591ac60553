"""The flow, speech codes to mel, against the official code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, relative_l2

_LIMIT = 2e-4
_MEL_LIMIT = 1e-3  # ten steps, each of which adds its rounding
_N_STEP = 10
_WINDOW, _STEP = 28, 25  # codes
_LOOKAHEAD = [4218] * 3  # what follows the prompt in the golden data: the rule of minicpmo-utils 1.0.2


def compare_flow(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """The first half of token2wav.npz. Limits hold for f32."""
    is_exact = type_name == "f32"

    def row(module: str, item: str, error: float, limit: float) -> Row:
        return Row(golden.name, type_name, module, item, error, limit if is_exact else None)

    expected = golden.arrays("token2wav")
    prompt, codes = expected["prompt_tokens"][0].tolist(), expected["tokens"][0].tolist()
    mel, speaker = expected["prompt_mel"][0], expected["speaker"][0]
    noise = np.ascontiguousarray(expected["noise"][0].T)
    flow = _core.FlowProbe(model._open())

    states, mu = flow.encode(prompt + codes)
    yield row("flow encoder", "states", relative_l2(states, expected["encoder_out"][0]), _LIMIT)
    yield row("flow encoder", "mu", relative_l2(mu, expected["mu"][0]), _LIMIT)
    time = float(expected["dit_t"][0])
    velocity = flow.velocity(noise[: len(mu)], expected["mu"][0], speaker, mel, time)
    yield row("dit", f"t = {time:g}", relative_l2(velocity[:, 0].T, expected["dit_out"][0]), _LIMIT)

    found = flow.generate(codes, prompt, mel, speaker, noise, _N_STEP)
    yield row("flow", "whole", relative_l2(found.T, expected["offline_mel"][0]), _MEL_LIMIT)
    flow.start(prompt, mel, speaker, _LOOKAHEAD, noise, _N_STEP)
    n_chunk = sum(key.startswith("stream_mel_") for key in expected)
    for i in range(n_chunk):
        is_last = i == n_chunk - 1
        window = codes[i * _STEP :] if is_last else codes[i * _STEP : i * _STEP + _WINDOW]
        found = flow.next(window, is_last, noise)
        error = relative_l2(found.T, expected[f"stream_mel_{i}"][0])
        yield row("flow stream", f"chunk {i}", error, _MEL_LIMIT)
