"""Keywords of Model.duplex -> the engine's options. Ranges are the engine's to check."""

from __future__ import annotations

import secrets
from typing import Any, TypedDict

from minicpmo_cpp import _core
from minicpmo_cpp.options import flag, integer, number

_HIGH, _LOW = 8000, 6000  # tokens; of the official demo
_HIGH_SHARE, _LOW_SHARE = 0.9, 0.7  # of contexts that are smaller than that


class UnitOptions(TypedDict, total=False):
    """How a unit is written. DuplexSession.set_options changes them in a conversation."""

    temperature: float  # 0 takes the likeliest token, always; 0.7
    top_k: int  # so many of the likeliest stay, 0 for all; 20
    top_p: float  # the likeliest that together have this probability stay; 0.8
    repetition_penalty: float  # 1 means none; 1.05
    repetition_window: int  # so many of the last tokens of the conversation count; 512
    length_penalty: float  # above 1 turns get longer; 1.1
    listen_scale: float  # weight of listening among the probabilities; 1
    scales_end_token: bool  # listen_scale acts as in the official code, on the wrong token; False
    max_tokens_per_unit: int  # 20
    max_characters: int  # said in a unit, fewer than this; 0 for any; 28
    force_listen: int  # so many units at first only listen; 0
    last_token_decides: bool  # as in the official code, what follows <|turn_eos|> undoes it; False


class DuplexOptions(UnitOptions, total=False):
    """Keywords of Model.duplex, `voice` aside."""

    n_ctx: int  # most tokens; 0 for what the model was loaded for
    kv_type: str | None  # "f32", "f16", "bf16" or "q8_0"; None chooses by the weights
    window: str  # "off": the context fills up; "basic", "context": the oldest units are forgotten
    window_high: int | None  # "basic": beyond so many tokens they go,
    window_low: int | None  # until there are so many; 8000 and 6000, or less in smaller contexts
    max_units: int  # "context": beyond so many units they go; 24
    max_previous: int  # "context": what was said in them stays as text of so many tokens; 500
    seed: int | None  # the same seed says the same; None draws one
    audio: bool  # what is written is said; True
    n_steps: int | None  # of the flow, 1 to 100; None is the model's own number
    speech_temperature: float  # of speech codes; 0.8
    hurries_always: bool  # no code waits for a full window; False: only in a turn's first unit; True
    fills_units: bool  # sound shorter than its unit has silence in front while its turn goes on; True
    finishes_turns: bool  # a turn's last unit may sound longer than a second; False


def unit_options(options: DuplexOptions) -> UnitOptions:
    """Those of them that say how a unit is written, completed."""
    defaults: UnitOptions = {
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "repetition_penalty": 1.05,
        "repetition_window": 512,
        "length_penalty": 1.1,
        "listen_scale": 1.0,
        "scales_end_token": False,
        "max_tokens_per_unit": 20,
        "max_characters": 28,
        "force_listen": 0,
        "last_token_decides": False,
    }
    given = {name: value for name, value in options.items() if name in UnitOptions.__annotations__}
    return defaults | given  # type: ignore[return-value]


def sampling_of(options: UnitOptions, seed: int = 0) -> _core.DuplexSampling:
    _check_names(options, UnitOptions)
    sampling = _core.DuplexSampling()
    sampling.temperature = number("temperature", options["temperature"])
    sampling.top_k = integer("top_k", options["top_k"])
    sampling.top_p = number("top_p", options["top_p"])
    sampling.repetition_penalty = number("repetition_penalty", options["repetition_penalty"])
    sampling.repetition_window = integer("repetition_window", options["repetition_window"])
    sampling.length_penalty = number("length_penalty", options["length_penalty"])
    sampling.listen_scale = number("listen_scale", options["listen_scale"])
    sampling.scales_end_token = flag("scales_end_token", options["scales_end_token"])
    sampling.seed = seed
    return sampling


def rules_of(options: UnitOptions) -> _core.UnitRules:
    rules = _core.UnitRules()
    rules.max_tokens = integer("max_tokens_per_unit", options["max_tokens_per_unit"])
    rules.max_characters = integer("max_characters", options["max_characters"])
    rules.force_listen = integer("force_listen", options["force_listen"])
    rules.last_token_decides = flag("last_token_decides", options["last_token_decides"])
    return rules


def open_session(
    model: _core.Model, n_ctx_train: int, writing: UnitOptions, options: DuplexOptions
) -> _core.DuplexSession:
    """writing: unit_options(options)."""
    _check_names(options, DuplexOptions)
    window, kv_type = options.get("window", "off"), options.get("kv_type")
    if not isinstance(window, str) or (kv_type is not None and not isinstance(kv_type, str)):
        raise TypeError(f"[duplex] expected names, got {window!r} and {kv_type!r} (window, kv_type)")
    n_ctx, seed = integer("n_ctx", options.get("n_ctx", 0), 0), options.get("seed")
    n_steps = options.get("n_steps")
    drawn = secrets.randbits(64) if seed is None else integer("seed", seed, 0, 2**64 - 1)
    speech = _core.UnitSpeechRules()
    speech.n_steps = 0 if n_steps is None else integer("n_steps", n_steps, 1, 100)
    speech.temperature = number("speech_temperature", options.get("speech_temperature", 0.8))
    speech.seed = drawn
    speech.hurries_always = flag("hurries_always", options.get("hurries_always", True))
    speech.fills_units = flag("fills_units", options.get("fills_units", True))
    speech.finishes_turns = flag("finishes_turns", options.get("finishes_turns", False))
    high, low = options.get("window_high"), options.get("window_low")
    return _core.DuplexSession(
        model,
        n_ctx=n_ctx,
        kv_type=kv_type,
        window=window,
        window_tokens=window_tokens(high, low, n_ctx or n_ctx_train),
        max_units=integer("max_units", options.get("max_units", 24)),
        max_previous=integer("max_previous", options.get("max_previous", 500)),
        sampling=sampling_of(writing, drawn),
        rules=rules_of(writing),
        has_speech=flag("audio", options.get("audio", True)),
        speech=speech,
    )


def window_tokens(high: Any, low: Any, n_ctx: int) -> tuple[int, int]:
    """Tokens from which on the oldest are forgotten, and until when; the usual ones where they are None."""
    usual_high = min(_HIGH, int(_HIGH_SHARE * n_ctx))
    highest = usual_high if high is None else integer("window_high", high)
    usual_low = min(_LOW, int(_LOW_SHARE * n_ctx), highest)
    return highest, usual_low if low is None else integer("window_low", low)


def _check_names(options: Any, known: Any) -> None:
    for name in options:
        if name not in known.__annotations__:
            raise TypeError(f"[duplex] expected a keyword of duplex(), got {name!r}")
