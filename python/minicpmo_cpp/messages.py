"""Messages as users write them -> [(role, [str | uint8 array])], every mistake named with its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from minicpmo_cpp import _core
from minicpmo_cpp._core import UnsupportedModelError
from minicpmo_cpp.media import decode_base64, is_pil_image, to_pixels
from minicpmo_cpp.types import Pixels

Part: TypeAlias = "str | Pixels"
Parsed: TypeAlias = "list[tuple[str, list[Any]]]"  # of Part, as the engine takes it

ROLES = ("system", "user", "assistant")
_MEDIA_TYPES = ("audio", "input_audio", "audio_url", "video", "video_url", "input_video")
_IMAGE_KEYS = {"image_url": ("image_url",), "image": ("image", "data")}


def parse_messages(messages: Any, *, is_whole: bool, allow_remote: bool = False) -> Parsed:
    """Checks and decodes messages.

    Args:
        messages: one str, which a user says, or a list of {"role", "content"}; content is a str or a list of
            str (which is text), PIL image, array, path object, bytes of an image file or {"type": ...} part.
        is_whole: whether this is a whole conversation, which a system or user message begins.
        allow_remote: whether http(s) URLs of images are fetched.

    Raises:
        TypeError, ValueError: with the place, such as messages[1].content[0].
        UnsupportedModelError: for audio and video.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence):
        kind = type(messages).__name__
        raise TypeError(f'[messages] expected a str or a list of {{"role", "content"}}, got {kind}')
    if not messages:
        raise ValueError("[messages] expected at least one message, got none")
    parsed = [_message(message, f"messages[{i}]", allow_remote) for i, message in enumerate(messages)]
    if is_whole and parsed[0][0] == "assistant":
        raise ValueError("[messages] expected the role system or user, got 'assistant' (messages[0].role)")
    return parsed


def system_prompt(ref_audio: Any = None, mode: str = "default", language: str = "zh") -> dict[str, Any]:
    """The official system prompt, as get_sys_prompt of the reference gives it.

    Args:
        ref_audio: a voice to imitate. This build reads text and images, so a mode that would use it raises
            UnsupportedModelError; the default mode ignores it.
        mode: "omni", "audio_assistant", "audio_roleplay", "voice_cloning"; anything else is the default.
        language: "zh" or any other, which means English.

    Returns:
        {"role": "system", "content": [str, ...]}.
    """
    parts = _core.system_prompt(ref_audio is not None, mode, language)
    if None in parts:
        raise UnsupportedModelError(f"[system prompt] expected no ref_audio: {_NO_MEDIA} (mode {mode!r})")
    return {"role": "system", "content": parts}


_NO_MEDIA = "this build reads text and images"


def _message(message: Any, place: str, allow_remote: bool) -> tuple[str, list[Part]]:
    if not isinstance(message, Mapping):
        raise TypeError(f'[messages] expected {{"role", "content"}}, got {type(message).__name__} ({place})')
    _check_keys(message, ("role", "content"), place)
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"[messages] expected the key {key!r}, got none ({place})")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(f"[messages] expected the role {', '.join(ROLES)}, got {role!r} ({place}.role)")
    if isinstance(content, str):
        return role, [_text(content, f"{place}.content")]
    if not isinstance(content, (list, tuple)):
        kind = type(content).__name__
        raise TypeError(f"[messages] expected a str or a list, got {kind} ({place}.content)")
    return role, [_part(part, f"{place}.content[{i}]", allow_remote) for i, part in enumerate(content)]


def _part(part: Any, place: str, allow_remote: bool) -> Part:
    if isinstance(part, str):
        return _text(part, place)
    if isinstance(part, Mapping):
        return _typed_part(part, place, allow_remote)
    if isinstance(part, np.ndarray) and part.ndim == 1:
        raise UnsupportedModelError(f"[messages] expected text or an image, got audio: {_NO_MEDIA} ({place})")
    if is_pil_image(part) or isinstance(part, (os.PathLike, bytes, bytearray)) or hasattr(part, "__array__"):
        return _image(part, place, allow_remote)
    raise TypeError(f"[messages] expected a str, an image or a part, got {type(part).__name__} ({place})")


def _typed_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Part:
    kind = part.get("type")
    if kind == "text":
        _check_keys(part, ("type", "text"), place)
        if not isinstance(part.get("text"), str):
            raise TypeError(f"[messages] expected a str, got {part.get('text')!r:.40} ({place}.text)")
        return _text(part["text"], f"{place}.text")
    if kind in _MEDIA_TYPES:
        raise UnsupportedModelError(f"[messages] expected no {kind}: {_NO_MEDIA} ({place}.type)")
    if not isinstance(kind, str) or kind not in _IMAGE_KEYS:
        raise ValueError(f"[messages] expected type text, image_url or image, got {kind!r} ({place}.type)")
    keys = _IMAGE_KEYS[kind]
    _check_keys(part, ("type", *keys), place)
    given = [key for key in keys if key in part]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ValueError(f"[messages] expected the key {' or '.join(keys)}, got {found} ({place})")
    place, value = f"{place}.{given[0]}", part[given[0]]
    if kind == "image_url":
        value = _url(value, place)
    elif given[0] == "data":
        if not isinstance(value, str):
            raise TypeError(f"[messages] expected base64 in a str, got {type(value).__name__} ({place})")
        value = decode_base64(value, place)
    return _image(value, place, allow_remote)


def _url(value: Any, place: str) -> str:
    """A str, or {"url": str}. OpenAI's "detail" has no counterpart, so only its default passes."""
    if isinstance(value, Mapping):
        _check_keys(value, ("url", "detail"), place)
        if value.get("detail", "auto") != "auto":
            detail = value["detail"]
            raise ValueError(f"[messages] expected detail auto, got {detail!r}: use max_slice_nums ({place})")
        value = value.get("url")
    if not isinstance(value, str):
        raise TypeError(f"[messages] expected a URL or a path, got {type(value).__name__} ({place})")
    return value


def _image(value: Any, place: str, allow_remote: bool) -> Pixels:
    try:
        return to_pixels(value, allow_remote=allow_remote)
    except (ValueError, TypeError, FileNotFoundError) as error:
        kind = next(kind for kind in (ValueError, TypeError, FileNotFoundError) if isinstance(error, kind))
        raise kind(f"{error} at {place}") from None


def _text(text: str, place: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"[messages] expected Unicode text, got half a character ({place}: {error})"
        ) from None
    return text


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"[messages] expected the keys {', '.join(known)}, got {key!r} ({place})")
