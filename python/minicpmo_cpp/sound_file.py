"""SoundFile: speech to a WAV or FLAC file while it is made: what was written can be played at any time."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp.types import Samples

ENDINGS = (".wav", ".flac")


def to_pcm(samples: Samples) -> NDArray[np.int16]:
    """Floats in [-1, 1] -> 16 bits, little-endian; what is beyond is clipped."""
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
    return pcm


def check_path(path: Path) -> None:
    """Whether a sound can be written there, before it is made.

    Raises:
        ValueError: the ending is neither .wav nor .flac.
        OSError: no file can be written there.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"[output] expected a file {' or '.join(ENDINGS)}, got {path}")
    if path.suffix.lower() == ".flac":
        _soundfile()
    folder = path.parent
    if not folder.is_dir():
        raise OSError(f"[output] expected a folder, got none ({folder})")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise OSError(f"[output] expected a file that can be written, got one that cannot ({path})")


class SoundFile:
    """One mono file of 16 bits."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Replaces the file that is there."""
        self._path = path
        self._file: Any
        try:
            self._raw = path.open("wb")
        except OSError as error:
            raise _refusal(error, path) from None
        if path.suffix.lower() == ".flac":
            self._file = _soundfile().SoundFile(
                self._raw, "w", samplerate=sample_rate, channels=1, format="FLAC", subtype="PCM_16"
            )
        else:
            self._file = wave.open(self._raw, "wb")
            self._file.setparams((1, 2, sample_rate, 0, "NONE", ""))
            self._file.writeframes(b"")

    def write(self, samples: Samples) -> None:
        """At once; the WAV header says how much there is."""
        pcm = to_pcm(samples)
        try:
            if isinstance(self._file, wave.Wave_write):
                self._file.writeframes(pcm.tobytes())
            else:
                self._file.write(pcm)
            self._raw.flush()
        except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
            raise _refusal(error, self._path) from None

    def close(self) -> None:
        self._file.close()
        self._raw.close()


def _refusal(error: Exception, path: Path) -> OSError:
    reason = getattr(error, "strerror", None) or error
    return OSError(f"[output] expected a file that can be written, got: {reason} ({path})")


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        raise ImportError("[output] writing FLAC needs soundfile: pip install 'minicpmo-cpp[cli]'") from None
    return soundfile
