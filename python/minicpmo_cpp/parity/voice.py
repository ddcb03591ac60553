"""What turns a recording into a voice against the official code: spectra, codes, the speaker's vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, largest_difference, relative_l2, share_different

_MEL_LIMIT = 2e-5  # absolute; the logarithm of a float32 spectrum
# The golden spectrum, of a float32 transform, is itself up to 1.02e-5 from one computed in float64.
_SPEECH_MEL_LIMIT = 2e-5  # absolute
_FBANK_LIMIT = 1e-3
_STATES_LIMIT = 2e-4
_ANGLE_LIMIT = 1e-5  # 1 - cosine


def compare_voice(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """All of speech_tokenizer.npz and speaker.npz, and the mel of token2wav.npz. Limits hold for f32."""
    is_exact = type_name == "f32"

    def row(module: str, item: str, error: float, limit: float) -> Row:
        return Row(golden.name, type_name, module, item, error, limit if is_exact else None)

    parts = _core.VoiceParts(model._open())
    tokens = golden.arrays("speech_tokenizer")
    mel = parts.log_mel(tokens["audio"])
    yield row("speech mel", "16 kHz, largest", largest_difference(mel.T, tokens["mel"]), _MEL_LIMIT)
    codes, states = parts.tokens(mel)
    yield row("speech tokenizer", "states", relative_l2(states, tokens["encoder_out"][0]), _STATES_LIMIT)
    yield row("speech codes", "differ", share_different(list(codes), list(tokens["codes"][0])), 0.0)

    speaker = golden.arrays("speaker")
    fbank = parts.fbank(speaker["audio"])
    yield row("fbank", "largest", largest_difference(fbank, speaker["fbank"]), _FBANK_LIMIT)
    angle = _one_minus_cosine(parts.speaker(fbank), speaker["embedding"][0])
    yield row("speaker", "1 - cosine", angle, _ANGLE_LIMIT)

    spoken = golden.arrays("token2wav")
    mel = parts.mel(spoken["mel24k_audio"])
    yield row(
        "speech mel", "24 kHz, largest", largest_difference(mel.T, spoken["mel24k"][0]), _SPEECH_MEL_LIMIT
    )


def _one_minus_cosine(found: NDArray[Any], expected: NDArray[Any]) -> float:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
