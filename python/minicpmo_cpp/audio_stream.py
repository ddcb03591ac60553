"""AudioStream: sound as it arrives, as the language model hears it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.exclusive import Exclusive

if TYPE_CHECKING:
    from minicpmo_cpp.model import Model


class AudioStream:
    """Sound in pieces of any length -> embeddings, chunk by chunk. One thread at a time.

    Example:
        >>> with model.audio_stream() as stream:
        ...     rows = [stream.push(piece) for piece in microphone]
        ...     rows.append(stream.finish())
    """

    def __init__(self, model: Model, mode: str = "half_duplex") -> None:
        if not isinstance(mode, str):
            raise TypeError(f"[audio stream] expected half_duplex or duplex, got {mode!r} (mode)")
        self._engine: _core.AudioStream | None = _core.AudioStream(model._open(), mode)
        self._exclusive = Exclusive("audio stream")

    def push(self, samples: Any) -> NDArray[np.float32]:
        """More sound.

        Args:
            samples: array [n], mono at 16 kHz: floats in [-1, 1], or int16, int32 or uint8 PCM.

        Returns:
            float32 [n_token, n_embd]: what is complete now, maybe nothing.
        """
        if not hasattr(samples, "__array__") or np.ndim(samples) != 1:
            kind = (
                f"shape {list(np.shape(samples))}"
                if hasattr(samples, "__array__")
                else type(samples).__name__
            )
            raise TypeError(f"[audio] expected an array [n], got {kind} (samples)")
        heard = to_samples(samples)
        with self._exclusive:
            return self._open().push(heard)

    def finish(self) -> NDArray[np.float32]:
        """The rest, float32 [n_token, n_embd]; the stream is as new afterwards."""
        with self._exclusive:
            return self._open().finish()

    def reset(self) -> None:
        """Forgets what was heard."""
        with self._exclusive:
            self._open().reset()

    def close(self) -> None:
        """Frees the stream's memory; it cannot be used any more."""
        with self._exclusive:
            self._engine = None

    @property
    def n_samples(self) -> int:
        """Samples heard."""
        return self._open().n_samples

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> _core.AudioStream:
        engine = self._engine
        if engine is None:
            raise MiniCPMOError("[audio stream] expected an open stream, got a closed one")
        return engine
