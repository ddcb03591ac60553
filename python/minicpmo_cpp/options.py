"""Keyword arguments -> the engine's options. Ranges are the engine's to check, kinds are checked here."""

from __future__ import annotations

import numbers
import operator
import secrets
from typing import Any

from minicpmo_cpp._core import GenerateOptions, PromptOptions

_INT_MAX = 2**31 - 1


def prompt_options(
    *,
    enable_thinking: bool = False,
    max_slice_nums: int | None = None,
    use_image_id: bool | None = None,
    use_tts_template: bool | None = None,
    omni_mode: bool | None = None,
    stream_input: bool = False,
    parse_special: bool = False,
    add_generation_prompt: bool = True,
) -> PromptOptions:
    options = PromptOptions()
    options.add_generation_prompt = flag("add_generation_prompt", add_generation_prompt)
    options.enable_thinking = flag("enable_thinking", enable_thinking)
    options.use_tts = None if use_tts_template is None else flag("use_tts_template", use_tts_template)
    options.omni = False if omni_mode is None else flag("omni_mode", omni_mode)
    options.stream_input = flag("stream_input", stream_input)
    options.parse_special = flag("parse_special", parse_special)
    options.max_slices = None if max_slice_nums is None else integer("max_slice_nums", max_slice_nums)
    options.use_image_id = None if use_image_id is None else flag("use_image_id", use_image_id)
    return options


def fit_to_video(options: PromptOptions, *, has_sound: bool, omni_mode: bool | None) -> None:
    """What the caller left open, as in the official examples with a video.

    Every frame is one slice and has no number; frames that alternate with sound are joined without newlines.
    """
    if options.max_slices is None:
        options.max_slices = 1
    if options.use_image_id is None:
        options.use_image_id = False
    if omni_mode is None:
        options.omni = has_sound


def generate_options(
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    repetition_penalty: float,
    seed: int | None,
    enable_thinking: bool,
    use_tts_template: bool | None,
    ignore_stop: bool,
    return_hidden: bool,
    draft_tokens: int,
) -> GenerateOptions:
    options = GenerateOptions()
    options.max_new_tokens = integer("max_new_tokens", max_new_tokens)
    options.temperature = number("temperature", temperature)
    options.top_p = number("top_p", top_p)
    options.top_k = integer("top_k", top_k)
    options.min_p = number("min_p", min_p)
    options.repetition_penalty = number("repetition_penalty", repetition_penalty)
    options.seed = secrets.randbits(64) if seed is None else integer("seed", seed, 0, 2**64 - 1)
    options.enable_thinking = flag("enable_thinking", enable_thinking)
    options.use_tts = None if use_tts_template is None else flag("use_tts_template", use_tts_template)
    options.ignore_stop = flag("ignore_stop", ignore_stop)
    options.keep_hidden = flag("return_hidden", return_hidden)
    options.n_draft = integer("draft_tokens", draft_tokens)
    return options


def check_spoken(audio: bool, options: GenerateOptions, **speech: Any) -> None:
    """Refuses what makes no sense together. speech: keywords that are None unless the caller gave them."""
    if not audio:
        for name, value in speech.items():
            if value is not None:
                raise ValueError(f"[options] expected audio=True with {name}, got audio=False")
        return
    if options.use_tts is False:
        raise ValueError("[options] expected no use_tts_template=False with audio=True")
    if options.enable_thinking:
        raise ValueError("[options] expected no enable_thinking with audio=True: thoughts would be said")


def integer(name: str, value: Any, low: int = -_INT_MAX, high: int = _INT_MAX) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"[options] expected an integer, got {value!r} ({name})") from None
    if not low <= count <= high:
        raise ValueError(f"[options] expected {low} to {high}, got {count} ({name})")
    return count


def number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"[options] expected a number, got {value!r} ({name})")
    return float(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ != "bool":  # numpy's too
        raise TypeError(f"[options] expected True or False, got {value!r} ({name})")
    return bool(value)
