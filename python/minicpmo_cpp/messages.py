"""Messages as users write them -> what the engine reads, every mistake named with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minicpmo_cpp import _core
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.parts import Content, Part, check_keys, to_content, to_text

ROLES = ("system", "user", "assistant")


class Parsed(NamedTuple):
    """Messages for the engine, and what in them decides options that the caller left open."""

    messages: list[tuple[str, list[Part]]]
    has_video: bool = False
    has_video_sound: bool = False


def parse_messages(messages: Any, *, is_whole: bool, allow_remote: bool = False) -> Parsed:
    """Checks and decodes messages.

    Args:
        messages: one str, which a user says, or a list of {"role", "content"}; content is a str or a list of
            what parts.to_content takes.
        is_whole: whether this is a whole conversation, which a system or user message begins.
        allow_remote: whether http(s) URLs of media are fetched.

    Raises:
        TypeError, ValueError, FileNotFoundError: with the place, such as messages[1].content[0].
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence):
        kind = type(messages).__name__
        raise TypeError(f'[messages] expected a str or a list of {{"role", "content"}}, got {kind}')
    if not messages:
        raise ValueError("[messages] expected at least one message, got none")
    read = [_message(message, f"messages[{i}]", allow_remote) for i, message in enumerate(messages)]
    if is_whole and read[0][0] == "assistant":
        raise ValueError("[messages] expected the role system or user, got 'assistant' (messages[0].role)")
    videos = [content for _, contents in read for content in contents if content.is_video]
    parsed = [(role, [part for content in contents for part in content.parts]) for role, contents in read]
    return Parsed(parsed, bool(videos), any(video.has_sound for video in videos))


def system_prompt(ref_audio: Any = None, mode: str = "default", language: str = "zh") -> dict[str, Any]:
    """The official system prompt, as get_sys_prompt of the reference gives it.

    Args:
        ref_audio: a voice to imitate: anything that audio.to_samples takes. The default mode ignores it.
        mode: "omni", "audio_assistant", "audio_roleplay", "voice_cloning"; anything else is the default.
        language: "zh" or any other, which means English.

    Returns:
        {"role": "system", "content": [str or float32 [n], ...]}.
    """
    parts: list[Any] = _core.system_prompt(ref_audio is not None, mode, language)
    return {"role": "system", "content": [to_samples(ref_audio) if p is None else p for p in parts]}


def _message(message: Any, place: str, allow_remote: bool) -> tuple[str, list[Content]]:
    if not isinstance(message, Mapping):
        raise TypeError(f'[messages] expected {{"role", "content"}}, got {type(message).__name__} ({place})')
    check_keys(message, ("role", "content"), place)
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"[messages] expected the key {key!r}, got none ({place})")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(f"[messages] expected the role {', '.join(ROLES)}, got {role!r} ({place}.role)")
    if isinstance(content, str):
        return role, [Content([to_text(content, f"{place}.content")])]
    if not isinstance(content, (list, tuple)):
        kind = type(content).__name__
        raise TypeError(f"[messages] expected a str or a list, got {kind} ({place}.content)")
    return role, [to_content(part, f"{place}.content[{i}]", allow_remote) for i, part in enumerate(content)]
