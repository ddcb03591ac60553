"""Conversations against the official code: streamed turns, and full duplex unit by unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.duplex_options import DuplexOptions
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.golden import Golden, Row, relative_l2, share_different

_LIMIT = 5e-4  # of states and logits; ids, flags, lengths and texts are equal
_CLOSE = 1e-3  # logits of the two likeliest tokens that are nearer than this could swap by rounding

_PREFIX = "<|im_start|>system\nStreaming Omni Conversation.\n<|audio_start|>"
_SUFFIX = "<|audio_end|><|im_end|>"
_WINDOW: DuplexOptions = {"window_high": 420, "window_low": 260, "max_units": 4, "max_previous": 24}
_OPTIONS: dict[str, DuplexOptions] = {
    "duplex_audio": {},
    "duplex_omni": {},
    "duplex_hd": {},
    "duplex_forced": {"force_listen": 2},
    "duplex_basic": {"window": "basic", **_WINDOW},
    "duplex_context": {"window": "context", **_WINDOW},
}
# Pictures of a unit and the most slices of each, in turn.
_FRAMES = {
    "duplex_omni": [[("97x61", 1)], [("28x28", 1)]],
    "duplex_hd": [[("640x480", 2), ("97x61", 1)]],
    "duplex_basic": [[("97x61", 1)]],
    "duplex_context": [[("97x61", 1)]],
}


def compare_sessions(golden: Golden, model: Model) -> Iterator[Row]:
    """sessions.json and sessions.npz. The limits hold for f32."""
    yield from _compare_turns(golden, model)
    for name, options in _OPTIONS.items():
        yield from _compare_duplex(golden, model, name, options)


def _compare_turns(golden: Golden, model: Model) -> Iterator[Row]:
    facts, sounds, pictures = golden.facts("sessions")["simplex_omni"], golden.sounds(), golden.pictures()
    reference, question = sounds["1.0s"], sounds["5.0s"]
    system = ["Clone the voice in the provided audio prompt.", reference, "Be helpful."]
    units = [("97x61", 0, 16560), ("28x28", 16560, 32560), ("97x61", 32560, 48560)]
    with model.session() as session:
        session.prefill([{"role": "system", "content": system}], omni_mode=True, stream_audio=True)
        lengths = []
        for size, begin, end in units:
            for content in (pictures[size], question[begin:end]):
                is_last = end == units[-1][2] and content is not pictures[size]
                message = {"role": "user", "content": [content]}
                session.prefill(
                    [message],
                    omni_mode=True,
                    max_slice_nums=1,
                    use_image_id=False,
                    stream_audio=True,
                    is_last_chunk=is_last,
                )
            lengths.append(session.n_past)
        text = _greedy_text(session, 10 * len(facts["text_chunks"]))
        lengths.append(session.n_past)

    def row(item: str, found: list[Any], expected: list[Any]) -> Row:
        return Row(golden.name, "f32", "simplex", item, share_different(found, expected), 0)

    yield row("cache lengths", lengths, [*facts["kv_len"], facts["kv_len_end"]])
    yield row("text", list(text), list("".join(chunk for chunk, _ in facts["text_chunks"])))


def _greedy_text(session: Any, n: int) -> str:
    options = _core.GenerateOptions()
    options.max_new_tokens = n + 1
    options.temperature = 0.0
    options.repetition_penalty, options.repetition_window = 1.02, 128
    options.use_tts = options.is_speakable = options.ends_with_speech = True
    # The official code draws one token more, which it reads and shows with the ten that follow.
    return "".join(list(session._begin(options, None))[:n])


def _compare_duplex(golden: Golden, model: Model, name: str, options: DuplexOptions) -> Iterator[Row]:
    data, pictures, engine = golden.arrays("sessions"), golden.pictures(), model._open()
    reference, sound = golden.sounds()["1.0s"], data["duplex_audio"]
    rules: DuplexOptions = {"max_characters": 0, "last_token_decides": True, "audio": False}
    session = model.duplex(**(rules | {"temperature": 0.0} | options))
    session.prepare(prefix=_PREFIX, suffix=_SUFFIX, reference=reference)
    for i, expected in enumerate(golden.facts("sessions")[name]):
        frames = _FRAMES.get(name, [[]])
        given = [(pictures[size], n) for size, n in frames[i % len(frames)]]
        n = session.unit_samples
        unit = session._open().trace_unit(engine, sound[i * n : (i + 1) * n], given)

        def equal(what: str, found: Any, wanted: Any, unit: int = i) -> Row:
            item = f"{name}, unit {unit}"
            return Row(golden.name, "f32", f"duplex {what}", item, float(found != wanted), 0)

        def near(what: str, found: NDArray[Any], key: str, unit: int = i) -> Iterator[Row]:
            if key in data:
                error = relative_l2(found, data[key].reshape(found.shape))
                yield Row(golden.name, "f32", f"duplex {what}", f"{name}, unit {unit}", error, _LIMIT)

        layout = [list(item) if isinstance(item, tuple) else item for item in unit["prefill"]]
        yield equal("layout", layout, expected["prefill"])
        yield equal("ids", unit["ids"], expected["ids"])
        flags = (unit["is_listen"], unit["end_of_turn"])
        yield equal("flags", flags, (expected["is_listen"], expected["end_of_turn"]))
        yield equal("text", unit["text"], expected["text"])
        yield equal("cache length", unit["n_past"], expected["cache_len"])
        yield from near("logits", unit["logits"], f"{name}_logits_{i}")
        if f"{name}_tts_ids_{i}" in data:
            yield equal("spoken ids", unit["spoken"], data[f"{name}_tts_ids_{i}"].tolist())
            yield from near("states", unit["hidden"], f"{name}_tts_hidden_{i}")
            yield from near("condition", unit["condition"], f"{name}_tts_condition_{i}")


def close_decisions(golden: Golden) -> list[tuple[str, float]]:
    """Decisions of the official code whose two likeliest tokens are nearer than 1e-3: (unit, difference)."""
    found = []
    for key, logits in golden.arrays("sessions").items():
        if "_logits_" in key:
            second, first = np.sort(logits.ravel())[-2:]
            if first - second < _CLOSE:
                found.append((key.replace("_logits_", ", unit "), float(first - second)))
    return found
