"""What the official chat() does around Model.chat: messages in other forms, whose voice, a file of sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minicpmo_cpp.audio import SAMPLE_RATE, is_sound, to_samples
from minicpmo_cpp.parts import to_content
from minicpmo_cpp.sound_file import SoundFile
from minicpmo_cpp.types import ChatResult, Samples

_SOUND_PARTS = ("audio", "audio_url", "input_audio")
_SHORTEST, _LONGEST = SAMPLE_RATE // 2, 16 * SAMPLE_RATE  # of a recording that a voice is made of


def conversation(msgs: Any, image: Any = None) -> Any:
    """Messages as Model.chat takes them, of what the official chat() takes.

    Args:
        msgs: messages, or the same as JSON.
        image: a picture to put before the text of the first message.

    Raises:
        ValueError: the JSON is none, or there are several conversations.
        TypeError: no messages.
    """
    if isinstance(msgs, str):
        try:
            msgs = json.loads(msgs)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"[official] expected messages as JSON, got a str that is none: {error}"
            ) from None
    if not isinstance(msgs, (list, tuple)):
        raise TypeError(
            f'[official] expected a list of {{"role", "content"}}, got {type(msgs).__name__} (msgs)'
        )
    if msgs and isinstance(msgs[0], (list, tuple)):
        raise ValueError("[official] expected one conversation, got a list of them: call chat() for each")
    if not msgs or not isinstance(msgs[0], Mapping):
        return msgs  # Model.chat says what is wrong
    first = dict(msgs[0])
    if first.get("role") == "assistant":
        first["role"] = "system"
    if image is not None:
        if not isinstance(first.get("content"), str):
            raise ValueError("[official] expected a first message whose content is a str with image")
        first["content"] = [image, first["content"]]
    return [first, *msgs[1:]]


def first_sound(messages: Any, *, allow_remote: bool) -> Samples | None:
    """The first sound of all messages, which is whose voice the official chat() takes; videos aside.

    No more than 16 s of it; None if it is too short for a voice, or if there is none.
    """
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, (list, tuple)) else ():
            samples = _sound(part, allow_remote)
            if samples is not None:
                return samples[:_LONGEST] if len(samples) >= _SHORTEST else None
    return None


def write_sound(path: Path, result: ChatResult) -> None:
    """Replaces the file that is there."""
    assert result.audio is not None
    file = SoundFile(path, result.sample_rate)
    try:
        file.write(result.audio)
    finally:
        file.close()


def _sound(part: Any, allow_remote: bool) -> Samples | None:
    if isinstance(part, Mapping):
        if part.get("type") not in _SOUND_PARTS:
            return None
        decoded = to_content(part, "msgs", allow_remote).parts[0]
        return None if isinstance(decoded, str) else to_samples(decoded)
    return to_samples(part) if is_sound(part) else None
