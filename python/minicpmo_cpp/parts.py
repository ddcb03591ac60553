"""Parts of a message as users write them -> text, pictures and sounds; every mistake named with its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minicpmo_cpp import audio, image, media_type
from minicpmo_cpp.options import flag, integer, number
from minicpmo_cpp.packed_video import read_packed
from minicpmo_cpp.source import Source, decode_base64, find
from minicpmo_cpp.types import Packed, Pixels, Samples
from minicpmo_cpp.video import read_units

Part: TypeAlias = "str | Pixels | Samples | Packed"

# What OpenAI's "format" may say. The bytes decide; raw samples have no header to say their rate.
_FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "aac", "m4a", "mp4", "webm", "aiff")
_VIDEO_OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "use_audio": flag,
    "stack_frames": integer,
    "fps": number,
    "pack": integer,
}


class Content(NamedTuple):
    """What one part becomes. A video is pictures and sounds."""

    parts: list[Part]
    is_video: bool = False

    @property
    def has_sound(self) -> bool:
        return any(is_sound_part(part) for part in self.parts)


def is_sound_part(part: Part) -> bool:
    return isinstance(part, np.ndarray) and part.ndim == 1


def to_content(part: Any, place: str, allow_remote: bool) -> Content:
    """One item of a message's content.

    Args:
        part: str (which is text), PIL image, array ([n] is sound at 16 kHz, others are pictures), Audio,
            (samples, rate), path object or bytes of a file of any kind, or {"type": ...}.
        place: where it is, for messages.
        allow_remote: whether http(s) URLs are fetched.
    """
    if isinstance(part, str):
        return Content([to_text(part, place)])
    if isinstance(part, Mapping):
        return _typed(part, place, allow_remote)
    is_file = isinstance(part, (os.PathLike, bytes, bytearray, memoryview))
    if not (is_file or image.is_pil_image(part) or audio.is_sound(part) or hasattr(part, "__array__")):
        kind = type(part).__name__
        raise TypeError(f"[messages] expected a str, a picture, a sound or a part, got {kind} ({place})")
    with _at(place):
        if is_file:
            return _by_content(find(part, "media"))
        if audio.is_sound(part):
            return Content([audio.to_samples(part)])
        return Content([image.to_pixels(part)])


def read_video(
    video: Any, *, use_audio: bool = True, stack_frames: int = 1, fps: float = 1.0, allow_remote: bool = False
) -> list[Pixels | Samples]:
    """The frames and the sound of a video, in the order in which the model reads them.

    Args:
        video: path, URL or bytes of a video file.
        use_audio: whether the sound is read.
        stack_frames: frames per unit; those after the first make one picture.
        fps: units per second; the model was made for one.
        allow_remote: whether http(s) URLs are fetched.
    """
    source = find(video, "video", allow_remote=allow_remote)
    return read_units(source, use_audio=use_audio, stack_frames=stack_frames, fps=fps)


def to_text(text: str, place: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"[messages] expected Unicode text, got half a character ({place}: {error})"
        ) from None
    return text


def check_keys(given: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"[messages] expected the keys {', '.join(known)}, got {key!r} ({place})")


def _by_content(source: Source) -> Content:
    """A file that is what its bytes say."""
    source = replace(source, kind=media_type.kind(source.head(), source.ending))
    if source.kind == "video":
        return Content([*read_units(source)], is_video=True)
    return Content([image.decode(source) if source.kind == "image" else audio.decode(source)])


def _typed(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    kind = part.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        known = ", ".join(_READERS)
        raise ValueError(f"[messages] expected the type {known}, got {kind!r} ({place}.type)")
    return read(part, place, allow_remote)


def _text_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "text"), place)
    if not isinstance(part.get("text"), str):
        raise TypeError(f"[messages] expected a str, got {part.get('text')!r:.40} ({place}.text)")
    return Content([to_text(part["text"], f"{place}.text")])


def _image_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "image", "data"), place)
    place, value = _value(part, ("image", "data"), place)
    if "data" in part:
        value = decode_base64(value, "messages", place)
    return _picture(value, place, allow_remote)


def _image_url_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "image_url"), place)
    place, value = _value(part, ("image_url",), place)
    url, options = _url(value, ("detail",), place)
    if options.get("detail", "auto") != "auto":  # no counterpart, so only OpenAI's default passes
        detail = options["detail"]
        raise ValueError(f"[messages] expected detail auto, got {detail!r}: use max_slice_nums ({place})")
    return _picture(url, place, allow_remote)


def _picture(value: Any, place: str, allow_remote: bool) -> Content:
    with _at(place):
        return Content([image.to_pixels(value, allow_remote=allow_remote)])


def _frames_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    """Frames with their times in tenths of a second, which become one picture."""
    check_keys(part, ("type", "frames", "temporal_ids"), place)
    frames, times = part.get("frames"), part.get("temporal_ids")
    for key, value in (("frames", frames), ("temporal_ids", times)):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"[messages] expected a list, got {type(value).__name__} ({place}.{key})")
    assert isinstance(frames, (list, tuple))
    assert isinstance(times, (list, tuple))
    if len(frames) != len(times) or not frames:
        found = f"{len(frames)} and {len(times)}"
        raise ValueError(f"[messages] expected a time for each of at least one frame, got {found} ({place})")
    numbers = [integer(f"{place}.temporal_ids[{i}]", time, -1) for i, time in enumerate(times)]
    pictures = []
    for i, frame in enumerate(frames):
        with _at(f"{place}.frames[{i}]"):
            pictures.append(image.to_pixels(frame, allow_remote=allow_remote))
    return Content([Packed(pictures, numbers)], is_video=True)


def _audio_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    """Base64 in "data" is an encoded file or, with "sample_rate", raw float32 as the official server has."""
    check_keys(part, ("type", "audio", "data", "sample_rate"), place)
    place, value = _value(part, ("audio", "data"), place)
    rate = part.get("sample_rate")
    if "data" in part:
        value = decode_base64(value, "messages", place)
        if rate is not None:
            if len(value) % 4 != 0:
                found = f"{len(value)} bytes"
                raise ValueError(f"[messages] expected whole float32 samples, got {found} ({place})")
            value = np.frombuffer(value, "<f4")
    with _at(place):
        return Content([audio.to_samples(value, rate, allow_remote=allow_remote)])


def _audio_url_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "audio_url"), place)
    place, value = _value(part, ("audio_url",), place)
    url, _ = _url(value, (), place)
    with _at(place):
        return Content([audio.to_samples(url, allow_remote=allow_remote)])


def _input_audio_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "input_audio"), place)
    place, value = _value(part, ("input_audio",), place)
    if not isinstance(value, Mapping):
        raise TypeError(f'[messages] expected {{"data", "format"}}, got {type(value).__name__} ({place})')
    check_keys(value, ("data", "format"), place)
    if value.get("format", "wav") not in _FORMATS:
        known, hint = ", ".join(_FORMATS), 'raw samples go with type "audio" and their sample_rate'
        raise ValueError(f"[messages] expected {known}, got {value['format']!r}: {hint} ({place}.format)")
    place, data = _value(value, ("data",), place)
    with _at(place):
        return Content([audio.to_samples(decode_base64(data, "messages", place))])


def _video_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "video", "data", *_VIDEO_OPTIONS), place)
    options = {name: part[name] for name in _VIDEO_OPTIONS if name in part}
    place, value = _value(part, ("video", "data"), place)
    if "data" in part:
        value = decode_base64(value, "messages", place)
    if not isinstance(value, (list, tuple)):
        return _video(value, options, place, allow_remote)
    if options:
        name = next(iter(options))
        raise ValueError(f"[messages] expected no {name} with frames that were read already ({place})")
    units = [to_content(unit, f"{place}[{i}]", allow_remote).parts for i, unit in enumerate(value)]
    if not units:
        raise ValueError(f"[messages] expected at least one frame, got none ({place})")
    for i, unit in enumerate(units):
        if isinstance(unit[0], str):
            raise TypeError(f"[messages] expected a picture or a sound, got text ({place}[{i}])")
    return Content([part for unit in units for part in unit], is_video=True)


def _video_url_part(part: Mapping[str, Any], place: str, allow_remote: bool) -> Content:
    check_keys(part, ("type", "video_url", *_VIDEO_OPTIONS), place)
    outside = {name: part[name] for name in _VIDEO_OPTIONS if name in part}
    place, value = _value(part, ("video_url",), place)
    url, options = _url(value, tuple(_VIDEO_OPTIONS), place)
    for name in outside:
        if name in options:
            raise ValueError(f"[messages] expected {name} once, got it twice ({place})")
    return _video(url, outside | options, place, allow_remote)


def _video(value: Any, options: dict[str, Any], place: str, allow_remote: bool) -> Content:
    with _at(place):
        if not isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)):
            raise TypeError(f"[video] expected a path, a URL, bytes or frames, got {type(value).__name__}")
        checked = {name: _VIDEO_OPTIONS[name](name, option) for name, option in options.items()}
        if "pack" in checked:
            if not checked.keys() <= {"pack", "fps"}:
                raise ValueError(
                    "[video] expected of options with pack only fps: packed frames have no sound"
                )
            source = find(value, "video", allow_remote=allow_remote)
            return Content([*read_packed(source, **checked)], is_video=True)
        return Content([*read_video(value, allow_remote=allow_remote, **checked)], is_video=True)


def _value(part: Mapping[str, Any], keys: tuple[str, ...], place: str) -> tuple[str, Any]:
    """(place, value) of the one key that must be there."""
    given = [key for key in keys if key in part]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ValueError(f"[messages] expected the key {' or '.join(keys)}, got {found} ({place})")
    return f"{place}.{given[0]}", part[given[0]]


def _url(value: Any, keys: tuple[str, ...], place: str) -> tuple[str, dict[str, Any]]:
    """A str, or {"url": str} with options."""
    options: dict[str, Any] = {}
    if isinstance(value, Mapping):
        check_keys(value, ("url", *keys), place)
        options = {key: value[key] for key in keys if key in value}
        value = value.get("url")
    if not isinstance(value, str):
        raise TypeError(f"[messages] expected a URL or a path, got {type(value).__name__} ({place})")
    return value, options


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError) as error:
        kind = next(kind for kind in (ValueError, TypeError, FileNotFoundError) if isinstance(error, kind))
        raise kind(f"{error} at {place}") from None


_READERS: dict[str, Callable[[Mapping[str, Any], str, bool], Content]] = {
    "text": _text_part,
    "image_url": _image_url_part,
    "image": _image_part,
    "frames": _frames_part,
    "audio_url": _audio_url_part,
    "audio": _audio_part,
    "input_audio": _input_audio_part,
    "video_url": _video_url_part,
    "video": _video_part,
}
