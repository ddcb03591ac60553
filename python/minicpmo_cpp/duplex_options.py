"""Keywords of Model.duplex -> the engine's session."""

from __future__ import annotations

import secrets
from typing import Any, TypedDict

from minicpmo_cpp import _core
from minicpmo_cpp.options import flag, integer, number

WINDOWS = ("off", "basic", "context")
_HIGH, _LOW = 8000, 6000  # tokens; of the official demo
_HIGH_SHARE, _LOW_SHARE = 0.9, 0.7  # of contexts that are smaller than that


class DuplexOptions(TypedDict, total=False):
    """Keywords of Model.duplex, `voice` aside; their meaning stands there."""

    n_ctx: int
    kv_type: str | None
    window: str
    window_high: int | None
    window_low: int | None
    max_units: int
    max_previous: int
    max_tokens_per_unit: int
    max_characters: int
    force_listen: int
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    repetition_window: int
    length_penalty: float
    listen_scale: float
    scales_end_token: bool
    last_token_decides: bool
    seed: int | None
    audio: bool
    n_steps: int | None
    speech_temperature: float
    hurries_always: bool
    fills_units: bool
    finishes_turns: bool


def open_session(
    model: _core.Model,
    *,
    n_ctx_train: int,
    n_ctx: int = 0,
    kv_type: str | None = None,
    window: str = "off",
    window_high: int | None = None,
    window_low: int | None = None,
    max_units: int = 24,
    max_previous: int = 500,
    max_tokens_per_unit: int = 20,
    max_characters: int = 28,
    force_listen: int = 0,
    temperature: float = 0.7,
    top_k: int = 20,
    top_p: float = 0.8,
    repetition_penalty: float = 1.05,
    repetition_window: int = 512,
    length_penalty: float = 1.1,
    listen_scale: float = 1.0,
    scales_end_token: bool = False,
    last_token_decides: bool = False,
    seed: int | None = None,
    audio: bool = True,
    n_steps: int | None = None,
    speech_temperature: float = 0.8,
    hurries_always: bool = True,
    fills_units: bool = True,
    finishes_turns: bool = False,
) -> _core.DuplexSession:
    if not isinstance(window, str) or (kv_type is not None and not isinstance(kv_type, str)):
        raise TypeError(f"[duplex] expected names, got {window!r} and {kv_type!r} (window, kv_type)")
    n_ctx = integer("n_ctx", n_ctx, 0)
    drawn = secrets.randbits(64) if seed is None else integer("seed", seed, 0, 2**64 - 1)
    sampling = _core.DuplexSampling()
    sampling.temperature = number("temperature", temperature)
    sampling.top_k = integer("top_k", top_k)
    sampling.top_p = number("top_p", top_p)
    sampling.repetition_penalty = number("repetition_penalty", repetition_penalty)
    sampling.repetition_window = integer("repetition_window", repetition_window)
    sampling.length_penalty = number("length_penalty", length_penalty)
    sampling.listen_scale = number("listen_scale", listen_scale)
    sampling.scales_end_token = flag("scales_end_token", scales_end_token)
    sampling.seed = drawn
    rules = _core.UnitRules()
    rules.max_tokens = integer("max_tokens_per_unit", max_tokens_per_unit)
    rules.max_characters = integer("max_characters", max_characters)
    rules.force_listen = integer("force_listen", force_listen)
    rules.last_token_decides = flag("last_token_decides", last_token_decides)
    speech = _core.UnitSpeechRules()
    speech.n_steps = 0 if n_steps is None else integer("n_steps", n_steps, 1, 100)
    speech.temperature = number("speech_temperature", speech_temperature)
    speech.seed = drawn
    speech.hurries_always = flag("hurries_always", hurries_always)
    speech.fills_units = flag("fills_units", fills_units)
    speech.finishes_turns = flag("finishes_turns", finishes_turns)
    return _core.DuplexSession(
        model,
        n_ctx=n_ctx,
        kv_type=kv_type,
        window=window,
        window_tokens=window_tokens(window_high, window_low, n_ctx or n_ctx_train),
        max_units=integer("max_units", max_units),
        max_previous=integer("max_previous", max_previous),
        sampling=sampling,
        rules=rules,
        has_speech=flag("audio", audio),
        speech=speech,
    )


def window_tokens(high: Any, low: Any, n_ctx: int) -> tuple[int, int]:
    """Tokens from which on the oldest are forgotten, and until when; the usual ones where they are None."""
    usual_high = min(_HIGH, int(_HIGH_SHARE * n_ctx))
    highest = usual_high if high is None else integer("window_high", high)
    usual_low = min(_LOW, int(_LOW_SHARE * n_ctx), highest)
    return highest, usual_low if low is None else integer("window_low", low)
