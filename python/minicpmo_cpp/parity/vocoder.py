"""The vocoders, whole and as streams, against the official code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, relative_l2

_F0_LIMIT = 1e-4
_LIMIT = 1e-3  # the reference adds thousands of radians up in float32
_NO_NOISE = np.zeros(0, np.float32)  # as in the golden data


def compare_vocoder(golden: Golden, model: Model, type_name: str) -> Iterator[Row]:
    """The vocoders of token2wav.npz and causal_vocoder.npz. Limits hold for f32."""

    def row(module: str, item: str, found: NDArray[np.float32], expected: NDArray[Any]) -> Row:
        limit = _F0_LIMIT if item.startswith("f0") else _LIMIT
        error = relative_l2(found, expected[(0,) * (expected.ndim - 1)])
        return Row(golden.name, type_name, module, item, error, limit if type_name == "f32" else None)

    data = golden.arrays("token2wav")
    original = _core.Vocoder(model._open(), is_causal=False)
    mel = _frames(data["vocoder_mel"])
    f0, source = original.excite(mel, _NO_NOISE)
    yield row("vocoder", "f0", f0, data["f0"])
    yield row("vocoder", "source", source, data["source"])
    yield row("vocoder", "wave", original.generate(mel, _NO_NOISE), data["wav"])
    n_chunk = sum(key.startswith("stream_mel_") for key in data)
    for i in range(n_chunk):
        wave = original.next(_frames(0.2 * data[f"stream_mel_{i}"] - 3), i + 1 == n_chunk, _NO_NOISE)
        yield row("vocoder stream", f"chunk {i}", wave, data[f"stream_wav_{i}"])

    data = golden.arrays("causal_vocoder")
    causal = _core.Vocoder(model._open(), is_causal=True)
    mel = _frames(data["mel"])
    yield row("causal vocoder", "f0", causal.excite(mel, _NO_NOISE)[0], data["f0"])
    yield row("causal vocoder", "wave", causal.generate(mel, _NO_NOISE), data["wav"])
    delay, frame = int(data["delay_frames"]), causal.frame_length
    begin = n_heard = 0
    for i in range(sum(key.startswith("wav_") for key in data)):
        # The last chunk gives all that is left, the others stay behind by the delay.
        n_heard += data[f"wav_{i}"].shape[1] // frame
        end = min(n_heard + delay, len(mel))
        wave = causal.next(np.ascontiguousarray(mel[begin:end]), n_heard == len(mel), _NO_NOISE)
        silence = delay * frame if i == 0 else 0  # which the golden stream leaves out
        yield row("causal vocoder stream", f"chunk {i}", wave[silence:], data[f"wav_{i}"])
        begin = end


def _frames(mel: NDArray[Any]) -> NDArray[np.float32]:
    """[1, n_mel, n_frame] -> [n_frame, n_mel]"""
    return np.ascontiguousarray(mel[0].T, dtype=np.float32)
