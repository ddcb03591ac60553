"""VoiceStore: the voices a model was given, so that none is encoded or heard twice."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, TypeAlias

from minicpmo_cpp import _core
from minicpmo_cpp._core import UnsupportedModelError
from minicpmo_cpp.audio import is_sound, to_samples
from minicpmo_cpp.source import Source, find, is_location
from minicpmo_cpp.types import Audio, Samples
from minicpmo_cpp.voice import Voice, digest

_MAX_ENCODED = 8  # some hundred kilobytes each
_MAX_IDLE = 2  # decoders that know a voice; of the real model some hundred megabytes each
_MAGIC = b"GGUF"
_HINT = (
    "voice= takes a Voice, a name of Model.voices, or a recording or a saved voice as a path or an array; "
    "minicpmo-cli: --ref-audio or --voice"
)

DecoderKey = tuple[bytes, int]  # of the voice, steps
Wanted: TypeAlias = Voice | Samples | None  # a voice; of models without voices, a recording or nothing


class VoiceStore:
    """Of one model. Any thread may use it."""

    def __init__(self, engine: _core.Model, *, allow_remote: bool = False) -> None:
        self._engine = engine
        self._allow_remote = allow_remote
        self._lock = threading.Lock()
        self._named: dict[str, Voice] = {}
        self._encoded: OrderedDict[bytes, Voice] = OrderedDict()  # by the recording; the last used last
        self._idle: list[tuple[DecoderKey, _core.CodeDecoder]] = []

    @property
    def engine(self) -> _core.Model:
        return self._engine

    @property
    def sample_rate(self) -> int:
        """Of what the model says. Raises UnsupportedModelError where it cannot speak."""
        return _core.sample_rate(self._engine)

    @property
    def are_there(self) -> bool:
        """Whether the model speaks in voices of recordings; else, if at all, as its prompt sounds."""
        return _core.has_voices(self._engine)

    @property
    def names(self) -> list[str]:
        """Of the voices in the model file."""
        try:
            return _core.voices(self._engine)
        except UnsupportedModelError:
            return []

    def named(self, name: str) -> Voice:
        """A voice in the model file."""
        with self._lock:
            if name not in self._named:
                self._named[name] = Voice(_core.voice(self._engine, name))
            return self._named[name]

    def encode(self, audio: Any, sample_rate: int | None = None, name: str = "") -> Voice:
        """The voice of a recording: anything that audio.to_samples takes."""
        return self._encode(to_samples(audio, sample_rate, allow_remote=self._allow_remote), name)

    def wanted(self, voice: Any, reference: Samples | None) -> Wanted:
        """As choose(); of a model without voices the recording, if any, that a prompt is to imitate."""
        _core.sample_rate(self._engine)  # says so if the model does not speak
        return self.choose(voice, reference) if self.are_there else self._recording(voice)

    def choose(self, voice: Any, reference: Samples | None) -> Voice:
        """Whose voice speaks.

        Args:
            voice: what the caller asked for: anything that `voice=` takes, or None.
            reference: the recording in the system message, if there is one.

        Raises:
            UnsupportedModelError: the model does not speak, or has no voices.
            ValueError, FileNotFoundError, ModelFileError: there is no such voice.
        """
        _core.sample_rate(self._engine)  # says so if the model does not speak
        if not self.are_there:
            kind = "one that speaks answers, as its prompt sounds"
            raise UnsupportedModelError(f"[voice] expected a model that speaks in voices, got {kind}")
        if voice is not None:
            return self._find(voice)
        if reference is not None:
            return self._encode(reference, "")
        if names := self.names:
            return self.named(names[0])
        raise ValueError(f"[options] expected a voice, got none, and the model file has none: {_HINT}")

    def take(self, voice: Wanted, n_steps: int) -> _core.CodeDecoder:
        """A decoder of that voice for one answer; the voice is heard unless an idle one knows it."""
        if not isinstance(voice, Voice):
            return _core.BookDecoder(self._engine)
        key = (voice.key, n_steps)
        with self._lock:
            for i, (known, _) in enumerate(self._idle):
                if known == key:
                    return self._idle.pop(i)[1]
        return _core.SpeechDecoder(self._engine, voice._engine, n_steps=n_steps)

    def give_back(self, voice: Wanted, n_steps: int, decoder: _core.CodeDecoder) -> None:
        """The answer has ended."""
        if not isinstance(voice, Voice):
            return
        with self._lock:
            self._idle.append(((voice.key, n_steps), decoder))
            del self._idle[:-_MAX_IDLE]

    def _recording(self, voice: Any) -> Samples | None:
        if voice is None:
            return None
        if not isinstance(voice, Voice):
            return to_samples(voice, allow_remote=self._allow_remote)
        if not len(voice.samples):
            raise ValueError(f"[voice] expected a voice with its recording, got one without ({voice!r})")
        return voice.samples

    def _find(self, voice: Any) -> Voice:
        if isinstance(voice, Voice):
            return voice
        if isinstance(voice, str) and voice in self.names:
            return self.named(voice)
        if isinstance(voice, str) and "://" not in voice and not voice.startswith("data:"):
            if not os.path.exists(voice):
                names = ", ".join(self.names) or "none"
                found = f"{voice!r}, and the model has {names}"
                raise ValueError(f"[options] expected a voice of the model or a file, got {found} (voice)")
        if is_location(voice):
            source = find(voice, "voice", allow_remote=self._allow_remote)
            if source.head(len(_MAGIC)) == _MAGIC:
                return _load(source)
            return self._encode(to_samples(voice, allow_remote=self._allow_remote), "")
        if isinstance(voice, Audio) or is_sound(voice) or hasattr(voice, "__array__"):
            return self._encode(to_samples(voice), "")
        raise TypeError(f"[voice] expected a voice, got {type(voice).__name__}: {_HINT}")

    def _encode(self, samples: Samples, name: str) -> Voice:
        key = digest(samples) + name.encode()
        with self._lock:
            if key in self._encoded:
                self._encoded.move_to_end(key)
                return self._encoded[key]
        voice = Voice(_core.encode_voice(self._engine, samples, name))
        with self._lock:
            self._encoded[key] = voice
            while len(self._encoded) > _MAX_ENCODED:
                self._encoded.popitem(last=False)
        return voice


def _load(source: Source) -> Voice:
    if isinstance(source.data, bytes):
        raise ValueError(f"[voice] expected a saved voice as a path, got {source.name}")
    return Voice.load(source.data)
