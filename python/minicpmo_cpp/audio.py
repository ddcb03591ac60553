"""Sound as users have it -> float32 mono 16 kHz.

As librosa.load(path, sr=16000), which the official examples call: channels are averaged, soxr resamples at
its high quality, n samples at another rate become ceil(n * 16000 / rate). A long file is read in blocks, so
that only the result is in memory whole.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp.media_type import FFMPEG_FILES, SOUND_FILES, container
from minicpmo_cpp.source import Source, find, is_location
from minicpmo_cpp.types import Audio, Samples

SAMPLE_RATE = 16000
MAX_SECONDS = 4 * 3600  # 0.9 GB of samples
LOWEST_RATE, HIGHEST_RATE = 1000, 768000

_MAX_CHANNELS = 64  # of an array; more is another thing, such as a spectrogram
_MAX_LEVEL = 32.0  # 30 dB above full scale: more are integers in floats
_BLOCK = 1 << 19  # values
_EXPECTED = "an array, Audio, (samples, rate), a path, a data: URL or the bytes of an audio file"
# What an integer type calls silence, and full scale.
_PCM = {np.dtype("u1"): (128.0, 128.0), np.dtype("i2"): (0.0, 2.0**15), np.dtype("i4"): (0.0, 2.0**31)}

Block: TypeAlias = NDArray[Any]  # [n, channels]


def to_samples(audio: Any, sample_rate: int | None = None, *, allow_remote: bool = False) -> Samples:
    """One sound, decoded, mixed and resampled.

    Args:
        audio: array ([n], [n, channels] or [channels, n]; floats in [-1, 1], or int16, int32 or uint8 PCM),
            Audio, (samples, rate) or (rate, samples), path, bytes of an audio file, data: or file: URL, or
            an http(s) URL.
        sample_rate: of an array; 16000 if None. Everything else has its own.
        allow_remote: whether http(s) URLs are fetched.

    Returns:
        float32 [n], C-contiguous, never the array that was passed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file or the array is no sound, or one of more than four hours.
        TypeError: something else was passed.
    """
    samples, rate = _with_rate(audio)
    if rate is not None and sample_rate is not None:
        raise ValueError(f"[audio] expected one rate, got {sample_rate!r} beside {rate!r} (sample_rate)")
    if is_location(samples):
        if rate is not None or sample_rate is not None:
            raise ValueError("[audio] expected no rate with a file, which has its own (sample_rate)")
        return decode(find(samples, "audio", allow_remote=allow_remote))
    if not isinstance(samples, np.ndarray) and not hasattr(samples, "__array__"):
        raise TypeError(f"[audio] expected {_EXPECTED}, got {type(audio).__name__}")
    array = _frames_first(np.asarray(samples))
    given = rate if rate is not None else sample_rate
    return gather(_blocks(array), SAMPLE_RATE if given is None else given, "array")


def is_sound(value: Any) -> bool:
    """Whether to_samples takes it and it is no file."""
    samples, rate = _with_rate(value)
    if rate is not None:
        return True
    return hasattr(samples, "__array__") and np.ndim(samples) == 1


def decode(source: Source) -> Samples:
    """The sound in an audio file, or the sound of a film."""
    head = source.head()
    found = container(head)
    if found in FFMPEG_FILES:
        from minicpmo_cpp.video import read_audio

        blocks, rate = read_audio(source)
        return gather(blocks, rate, source.name)
    if found not in SOUND_FILES:
        kind = "bytes that are none" if head else "an empty one"
        raise ValueError(f"[audio] expected an audio file, got {kind} ({source.name})")
    with source.open() as file:
        return _read_sound_file(file, source.name)


def _with_rate(audio: Any) -> tuple[Any, Any]:
    """(samples, rate or None) of whatever carries its rate."""
    if isinstance(audio, Audio):
        return audio.samples, audio.sample_rate
    if isinstance(audio, (tuple, list)) and len(audio) == 2:
        for samples, rate in (audio, reversed(audio)):
            if isinstance(rate, numbers.Real) and hasattr(samples, "__array__") and np.ndim(samples) > 0:
                return samples, rate
    return audio, None


def _frames_first(array: NDArray[Any]) -> Block:
    """[n], [n, channels] or [channels, n] -> [n, channels]. A sound is longer than it has channels."""
    if array.ndim == 1 or array.size == 0:
        return array.reshape(-1, 1)
    shape = list(array.shape)
    if array.ndim != 2 or min(shape) > _MAX_CHANNELS or (shape[0] == shape[1] and array.size > 1):
        raise ValueError(f"[audio] expected [n], [n, channels] or [channels, n], got shape {shape}")
    return array if shape[1] <= shape[0] else array.T


def _blocks(array: Block) -> Iterator[Block]:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in _PCM and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"[audio] expected floats, int16, int32 or uint8, got {array.dtype}")
    n_frame = max(1, _BLOCK // max(1, array.shape[1]))
    for begin in range(0, len(array), n_frame):
        yield array[begin : begin + n_frame]


def _read_sound_file(file: BinaryIO, name: str) -> Samples:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        raise ImportError(
            "[audio] reading audio files needs soundfile: pip install 'minicpmo-cpp[cli]'"
        ) from None

    class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            """No: else soundfile seeks after every block, and MP3 decoding begins anew there."""
            return False

    careful = _CarefulFile(file)
    try:
        with ForwardFile(careful) as opened:
            n_frame = max(1, _BLOCK // opened.channels)

            def blocks() -> Iterator[Block]:
                while len(block := opened.read(n_frame, dtype="float32", always_2d=True)):
                    yield block

            samples = gather(blocks(), opened.samplerate, name)
    except (soundfile.SoundFileError, TypeError) as error:
        reason = str(error).partition(": ")[2] or error
        raise ValueError(f"[audio] expected a sound audio file, got: {reason} ({name})") from None
    if careful.error is not None:
        raise ValueError(f"[audio] expected an audio file, got: {careful.error} ({name})")
    return samples


class _CarefulFile:
    """A file as libsndfile calls it back: an exception would be printed there and not raised."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # a damaged file leads to places before its beginning
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, n_byte: int = -1) -> bytes:
        try:
            return self._file.read(n_byte)
        except OSError as error:
            self.error = error
            return b""


def gather(blocks: Iterable[Block], sample_rate: Any, name: str) -> Samples:
    """Blocks [n, channels] of one sound -> its samples."""
    rate = _checked_rate(sample_rate, name)
    resample = None if rate == SAMPLE_RATE else _resampler(rate)
    gathered = bytearray()  # grows in place
    n_frame = 0
    for block in blocks:
        mono = _mono(block, n_frame, name)
        n_frame += len(mono)
        if n_frame > MAX_SECONDS * rate:
            raise ValueError(f"[audio] expected at most {MAX_SECONDS} s, got more ({name})")
        gathered += (mono if resample is None else resample(mono, False)).data
    if n_frame == 0:
        raise ValueError(f"[audio] expected at least one sample, got none ({name})")
    if resample is not None:
        gathered += resample(np.zeros(0, np.float32), True).data
        n_sample = -(-n_frame * SAMPLE_RATE // rate)
        n_missing = n_sample - len(gathered) // 4
        gathered += bytes(4 * max(0, n_missing))
        return np.frombuffer(gathered, np.float32, n_sample)
    return np.frombuffer(gathered, np.float32)


def _checked_rate(rate: Any, name: str) -> int:
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real):
        raise TypeError(f"[audio] expected a rate in Hz, got {rate!r} ({name})")
    hertz = float(rate)
    if not (LOWEST_RATE <= hertz <= HIGHEST_RATE and hertz.is_integer()):  # NaN compares false
        raise ValueError(
            f"[audio] expected a rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate} ({name})"
        )
    return int(hertz)


def _resampler(rate: int) -> Callable[[Samples, bool], Samples]:
    """(samples, whether they are the last) -> samples at 16 kHz."""
    try:
        import soxr
    except ImportError:
        raise ImportError(
            f"[audio] resampling from {rate} Hz needs soxr: pip install 'minicpmo-cpp[cli]'"
        ) from None
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def resample(samples: Samples, is_last: bool) -> Samples:
        return np.ascontiguousarray(stream.resample_chunk(samples, last=is_last), dtype=np.float32)

    return resample


def _mono(block: Block, n_before: int, name: str) -> Samples:
    """[n, channels] of any type -> float32 [n], checked."""
    if block.dtype in _PCM:
        silence, scale = _PCM[block.dtype]
        block = (block.astype(np.float32) - np.float32(silence)) / np.float32(scale)
    else:
        _check_levels(block, n_before, name)
    block = block.astype(np.float32, copy=False)
    return np.ascontiguousarray(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1))


def _check_levels(block: Block, n_before: int, name: str) -> None:
    if not block.size or float(np.abs(block).max()) <= _MAX_LEVEL:  # NaN compares false
        return
    is_odd = ~(np.abs(block) <= _MAX_LEVEL)
    frame, channel = (int(i) for i in np.argwhere(is_odd)[0])
    value, where = block[frame, channel], f"{name}, sample {n_before + frame}"
    if np.isfinite(value):
        hint = "; integers in floats? Pass them as int16, or divided by 32768"
        raise ValueError(f"[audio] expected samples of -1 to 1, got {value:g}{hint} ({where})")
    raise ValueError(f"[audio] expected finite samples, got {value} ({where})")
