"""What the official chat() does around Model.chat: messages in other forms, whose voice, a file of sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minicpmo_cpp.audio import SAMPLE_RATE, is_sound, to_samples
from minicpmo_cpp.image import is_pil_image
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


def packed(messages: Any, temporal_ids: Any) -> Any:
    """The pictures of a conversation, in order, as groups of frames with their times.

    Args:
        messages: as conversation() gives them.
        temporal_ids: [[time, ...], ...] in tenths of a second, -1 for none; all groups together have as many
            as there are pictures. A group of one without a time stays what it is.

    Raises:
        ValueError: other numbers of times and pictures, or frames of a group with something between them.
        TypeError: no such lists.
    """
    if not isinstance(temporal_ids, (list, tuple)) or not all(
        isinstance(group, (list, tuple)) for group in temporal_ids
    ):
        raise TypeError("[official] expected lists of times, got others (temporal_ids)")
    groups = [[int(time) for time in group] for group in temporal_ids if len(group) > 0]
    places = [(i, j) for i, parts in enumerate(map(_parts, messages)) for j in _pictures(parts)]
    n_time = sum(len(group) for group in groups)
    if n_time != len(places):
        raise ValueError(
            f"[official] expected a time for each of {len(places)} pictures, got {n_time} (temporal_ids)"
        )
    contents = [list(_parts(message)) for message in messages]
    for group in groups:
        (i, first), *others = places[: len(group)]
        places = places[len(group) :]
        if group == [-1]:
            continue
        if others != [(i, first + k) for k in range(1, len(group))]:
            raise ValueError("[official] expected the frames of a group side by side (temporal_ids)")
        frames = contents[i][first : first + len(group)]
        contents[i][first] = {"type": "frames", "frames": frames, "temporal_ids": group}
        contents[i][first + 1 : first + len(group)] = [None] * (len(group) - 1)
    return [
        {**message, "content": [part for part in parts if part is not None]}
        for message, parts in zip(messages, contents, strict=True)
    ]


def _parts(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, (list, tuple)) else (content,)


def _pictures(parts: Any) -> list[int]:
    return [i for i, part in enumerate(parts) if is_pil_image(part) or np.ndim(part) in (2, 3)]


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
