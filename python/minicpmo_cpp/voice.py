"""Voice: what speech sounds like, taken from a recording once."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.types import Samples

_CODES_PER_SECOND = 25
_RECORDING_RATE = 16000


class Voice:
    """A voice to speak with. Made by Model.encode_voice, or read from a file that save() wrote.

    Example:
        >>> voice = model.encode_voice("me.wav", name="me")
        >>> voice.save("me.gguf")
        >>> model.speak("Good morning.", Voice.load("me.gguf"))
    """

    def __init__(self, engine: _core.Voice) -> None:
        """Wraps a voice of the engine; users call load() or Model.encode_voice()."""
        self._engine = engine
        self.name: str = engine.name
        self._key: bytes | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Voice:
        """Reads a file that save() wrote.

        Raises:
            ModelFileError: the file is missing, damaged or holds no voice.
        """
        return cls(_core.Voice.load(os.fsdecode(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a small GGUF file: the codes, the spectrum, the speaker vector and the recording.

        Raises:
            MiniCPMOError: it cannot be written there.
        """
        self._engine.save(os.fsdecode(path))

    @property
    def codes(self) -> NDArray[np.int32]:
        """Speech codes [n], 25 a second."""
        return self._engine.codes

    @property
    def mel(self) -> NDArray[np.float32]:
        """The decoder's spectrum [2 * n, 80]."""
        return self._engine.mel

    @property
    def speaker(self) -> NDArray[np.float32]:
        """Who speaks, [192]."""
        return self._engine.speaker

    @property
    def samples(self) -> Samples:
        """The recording at 16 kHz, which system prompts show the language model; maybe none."""
        return np.divide(self._engine.pcm, 32768, dtype=np.float32)

    @property
    def duration_s(self) -> float:
        """Of the recording."""
        n_sample = len(self._engine.pcm)
        return n_sample / _RECORDING_RATE if n_sample else len(self.codes) / _CODES_PER_SECOND

    @property
    def key(self) -> bytes:
        """The same for voices that sound the same, whatever they are called."""
        if self._key is None:
            self._key = digest(self.codes, self.mel, self.speaker)
        return self._key

    def __repr__(self) -> str:
        name = repr(self.name) if self.name else "without a name"
        return f"<Voice {name}, {self.duration_s:.1f} s>"


def digest(*arrays: NDArray[np.generic]) -> bytes:
    """Of what the arrays hold."""
    state = hashlib.blake2b(digest_size=16)
    for array in arrays:
        state.update(repr(array.shape).encode())
        state.update(np.ascontiguousarray(array).data)
    return state.digest()
