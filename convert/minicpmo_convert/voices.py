"""Reference voices inside a model file: the runtime encodes recordings, the file gains what it found.

Voice <i> is `minicpmo.voice.<i>.*` and the tensors `voice.<i>.*`; `minicpmo.voice.count` says how many.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_convert.encoding import Blocks
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.gguf_file import ALIGNMENT, GgufFile
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.writer import Output, replacing, write

MAX_VOICES = 1000  # the runtime's limit
MAX_NAME_BYTES = 64
_COUNT = "minicpmo.voice.count"
_MODULES = ("tts", "t2w", "s3", "spk")  # what encoding a recording and using it take
_PART = re.compile(r"(?:minicpmo\.)?voice\.([0-9]{1,9})\.")


@dataclass(frozen=True)
class Recording:
    name: str
    samples: NDArray[np.float32]  # 16 kHz, mono


def parse(texts: Iterable[str]) -> dict[str, Path]:
    """NAME=FILE of the command line."""
    voices: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        check(bool(equals and file), f"[voice] expected NAME=FILE, got {text!r} (--voice)")
        check(name not in voices, f"[voice] expected each name once, got {name!r} twice (--voice)")
        voices[name] = Path(file)
    return voices


def read_recordings(voices: Mapping[str, Path]) -> list[Recording]:
    """Name -> audio file, decoded now, so that a file that cannot be read is known before long work."""
    for name in voices:
        _check_name(name)
    return [Recording(name, _read_samples(path)) for name, path in voices.items()]


def write_with(
    target: Path, keys: Metadata, outputs: Sequence[Output], recordings: Sequence[Recording]
) -> None:
    """As writer.write, with voices; the runtime needs the model as a file before it can make them."""
    if not recordings:
        return write(target, keys, outputs)
    _check_modules(keys, target)
    with replacing(target) as part:
        write(part, keys, outputs)
        _add(part, part, recordings)


def add_voices(source: Path, target: Path, voices: Mapping[str, Path]) -> int:
    """Writes `source` again with these voices; returns the size of the file written, in bytes.

    Types stay. A voice of the same name is replaced, the others stay. The target may be the source.
    """
    check(source.is_file(), f"[voice] expected a GGUF file, got {source}")
    recordings = read_recordings(voices)
    keys = GgufFile(source).keys
    _check_modules(keys, source)
    n_part = keys.get("split.count") or 1  # the runtime would read the other parts too
    check(n_part == 1, f"[voice] expected a whole file, got a part of {n_part} ({source.name})")
    _add(source, target, recordings)
    return target.stat().st_size


def _check_name(name: str) -> None:
    try:
        n_byte = len(name.encode())
    except UnicodeEncodeError:
        raise ConvertError(f"[voice] expected a name that is text, got {name!r}") from None
    good = 1 <= n_byte <= MAX_NAME_BYTES
    check(good, f"[voice] expected a name of 1 to {MAX_NAME_BYTES} bytes, got {n_byte} ({name!r})")
    odd = [letter for letter in name if unicodedata.category(letter) in ("Cc", "Zl", "Zp")]
    check(not odd, f"[voice] expected a name without control characters, got {name!r}")


def _read_samples(path: Path) -> NDArray[np.float32]:
    open_core()
    from minicpmo_cpp.audio import to_samples

    try:
        samples: NDArray[np.float32] = to_samples(path)
    except (OSError, ValueError, ImportError) as error:
        raise ConvertError(str(error)) from None
    return samples


def _check_modules(keys: Metadata, path: Path) -> None:
    modules = keys.get("minicpmo.modules")
    missing = [module for module in _MODULES if not isinstance(modules, list) or module not in modules]
    check(
        not missing,
        f"[voice] expected a model that speaks, with speech tokenizer and speaker encoder, got one without "
        f"{', '.join(missing)} ({path.name})",
    )


def _add(source: Path, target: Path, recordings: Sequence[Recording]) -> None:
    made = encode(source, recordings)  # the runtime checks the file beyond what is checked here
    put(source, target, recordings, made)


def put(source: Path, target: Path, recordings: Sequence[Recording], made: Sequence[Any]) -> None:
    """Writes the file `source` again with the voices that were made of the recordings."""
    file = GgufFile(source)
    names = _read_names(file)
    places = []
    for recording in recordings:
        if recording.name not in names:
            names.append(recording.name)
        places.append(names.index(recording.name))
    n_name = len(names)
    check(n_name <= MAX_VOICES, f"[voice] expected at most {MAX_VOICES} voices, got {n_name} ({source.name})")

    keys = Metadata()
    for key, entry in file.keys.items():
        if key != ALIGNMENT and _place_of(key) not in places:  # the writer uses the default alignment
            keys.put(key, entry)
    keys.u32(_COUNT, n_name)
    tensors = [tensor for tensor in file.tensors if _place_of(tensor.name) not in places]
    for place, recording, voice in zip(places, recordings, made, strict=True):
        keys.text(f"minicpmo.voice.{place}.name", recording.name)
        tensors += _tensors(place, voice)
    write(target, keys, [Output(tensor, tensor.type) for tensor in tensors])


def encode(path: Path, recordings: Sequence[Recording]) -> list[Any]:
    """Voices of the runtime, by the model at `path`: a file, or a folder of files."""
    core = open_core()
    try:
        model = core.Model.load(str(path), device="cpu")
    except (core.MiniCPMOError, ValueError) as error:
        raise ConvertError(str(error)) from None
    return [_encode_one(model, recording) for recording in recordings]


def _encode_one(model: Any, recording: Recording) -> Any:
    core = open_core()
    try:
        return core.encode_voice(model, recording.samples, recording.name)
    except (core.MiniCPMOError, ValueError) as error:
        raise ConvertError(f"{error} ({recording.name!r})") from None


def _read_names(file: GgufFile) -> list[str]:
    count = file.keys.get(_COUNT) or 0
    good = isinstance(count, int) and 0 <= count <= MAX_VOICES
    check(good, f"[voice] expected at most {MAX_VOICES} voices, got {count!r} ({file.path.name})")
    return [str(file.keys.get(f"minicpmo.voice.{i}.name") or "") for i in range(count)]


def _place_of(name: str) -> int | None:
    """The number of the voice that a key or a tensor belongs to."""
    found = _PART.match(name)
    return int(found[1]) if found else None


def _tensors(place: int, voice: Any) -> list[Tensor]:
    return [
        array_tensor(f"voice.{place}.prompt_tokens", "i32", voice.codes.astype("<i4")),
        array_tensor(f"voice.{place}.prompt_mel", "f32", voice.mel.astype("<f4")),
        array_tensor(f"voice.{place}.spk", "f32", voice.speaker.astype("<f4")),
        array_tensor(f"voice.{place}.pcm16k", "i16", voice.pcm.astype("<i2")),
    ]


def array_tensor(name: str, kind: str, values: NDArray[Any]) -> Tensor:
    rows: Blocks = np.ascontiguousarray(values).reshape(-1, values.shape[-1]).view(np.uint8)
    return Tensor(name, values.shape, kind, lambda first, count: rows[first : first + count])


def open_core() -> Any:
    try:
        from minicpmo_cpp import _core
    except ImportError as error:
        raise ConvertError(f"[voice] expected the compiled module minicpmo_cpp, got {error}") from None
    return _core
