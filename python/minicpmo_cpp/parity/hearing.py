"""Mel spectra, the audio encoder and its stream against the official code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, largest_difference, relative_l2

_MEL_LIMIT = 2e-5  # absolute; the logarithm of a float32 spectrum
_LIMIT = 2e-4
_CONTEXT = 2  # mel frames that the golden stream marks as redundant, although they are not


def compare_hearing(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """Everything of audio.npz. Limits hold for f32."""
    is_exact = type_name == "f32"

    def row(module: str, item: str, error: float, limit: float) -> Row:
        return Row(golden.name, type_name, module, item, error, limit if is_exact or limit == 0 else None)

    expected = golden.arrays("audio")
    sounds = golden.sounds()
    engine = model._open()
    for name in sorted(
        key.removeprefix("mel_") for key in expected if key.startswith("mel_") and "len" not in key
    ):
        mel = _core.log_mel(engine, sounds[name])
        yield row("mel", f"{name}, largest", largest_difference(mel.T, expected[f"mel_{name}"]), _MEL_LIMIT)
        for suffix, seconds in (("1", 1.0), ("-1", None)):
            rows = model.encode_audio(sounds[name], seconds)
            error = relative_l2(rows, expected[f"embed_{name}_chunk{suffix}"])
            yield row("audio", f"{name}, chunk {suffix}", error, _LIMIT)
        prompt = model.build_prompt([{"role": "user", "content": [sounds[name]]}])
        wanted = model.tokenize(str(expected[f"n_tokens_{name}"]).strip("[]'"))
        yield row("audio placeholder", name, float(not _contains(prompt.ids.tolist(), wanted)), 0.0)
    yield from _compare_stream(golden, model, row)


def _compare_stream(
    golden: Golden, model: Model, row: Callable[[str, str, float, float], Row]
) -> Iterator[Row]:
    expected = golden.arrays("audio")
    samples = golden.sounds()["5.0s"]
    stream = _core.ChunkEncoder(model._open(), redundancy=0)
    n_chunk = sum(key.startswith("stream_samples_") for key in expected)
    for i in range(n_chunk):
        begin, end = expected[f"stream_samples_{i}"]
        chunk = stream.push(np.ascontiguousarray(samples[begin:end]))
        if chunk is None:
            yield row("stream mel", f"chunk {i}", float("inf"), _MEL_LIMIT)
            continue
        error = largest_difference(chunk[0].T, expected[f"stream_mel_{i}"])
        yield row("stream mel", f"chunk {i}, largest", error, _MEL_LIMIT)
        rows = stream.encode(chunk[0], _CONTEXT if i else 0, _CONTEXT)
        yield row("stream", f"chunk {i}", relative_l2(rows, expected[f"stream_embed_{i}"]), _LIMIT)


def _contains(ids: list[int], part: list[int]) -> bool:
    return any(ids[i : i + len(part)] == part for i in range(len(ids) - len(part) + 1))
