"""Mouth: what a model can do about speech beside answering."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minicpmo_cpp import _core
from minicpmo_cpp._core import MiniCPMOError, UnsupportedModelError
from minicpmo_cpp.messages import sounding_prompt, system_prompt, to_recording
from minicpmo_cpp.options import flag, integer
from minicpmo_cpp.tokenizer import to_ids
from minicpmo_cpp.voice import Voice
from minicpmo_cpp.voice_store import VoiceStore

_N_HARMONIC = 9  # channels of the excitation
_NOISE_SECONDS = 10  # of the table that is read round and round


class Mouth:
    """The part of Model that knows voices and the networks of speech."""

    def __init__(self, engine: _core.Model, *, allow_remote: bool) -> None:
        self._engine: _core.Model | None = engine
        self._voices: VoiceStore | None = VoiceStore(engine, allow_remote=allow_remote)

    def encode_voice(self, audio: Any, sample_rate: int | None = None, name: str = "") -> Voice:
        """The voice of a recording.

        Args:
            audio: anything that audio.to_samples takes; half a second to 16.9 s, best 5 to 10 s of one
                speaker without noise.
            sample_rate: of an array; 16000 if None.
            name: for people.

        Raises:
            UnsupportedModelError: the model file has no encoders for that.
            ValueError: the recording is too short or too long.
        """
        if not isinstance(name, str):
            raise TypeError(f"[voice] expected a str, got {name!r} (name)")
        return self._open_voices().encode(audio, sample_rate, name)

    @property
    def voices(self) -> list[str]:
        """Names of the voices in the file; the first is the one it speaks with unless told otherwise."""
        return self._open_voices().names

    def voice(self, name: str) -> Voice:
        """A voice of the file. Raises ValueError naming those there are."""
        return self._open_voices().named(name)

    def system_prompt(
        self, ref_audio: Any = None, mode: str = "default", language: str = "zh"
    ) -> dict[str, Any]:
        """The official first message of a conversation with this model, whoever says it there.

        Args:
            ref_audio: a voice to imitate, as system_prompt() of the package takes it, as mode and language.

        Returns:
            {"role": "system" or "user", "content": [str or float32 [n], ...]}.

        Raises:
            ValueError: voice_cloning without ref_audio.
        """
        if not self._open().describe()["user_instructs"]:
            return system_prompt(ref_audio, mode, language)
        sample = None if ref_audio is None else to_recording(ref_audio)
        return sounding_prompt(sample, mode, "zh" if language == "zh" else "en")

    def tts_forward(self, text_ids: Any, hidden: ArrayLike, codes: Any) -> NDArray[np.float32]:
        """The speech model over a whole utterance: words, their states and the codes -> logits of each code.

        Args:
            text_ids: integers [n].
            hidden: floats [n, n_embd]: states after the language model's final norm, as ChatResult.hidden.
            codes: integers [m], 25 a second.

        Returns:
            float32 [m + 1, n_code].
        """
        ids = np.asarray(to_ids(text_ids), dtype=np.int32)
        states = np.ascontiguousarray(hidden, dtype=np.float32)
        return _core.tts_forward(self._open(), ids, states, to_ids(codes))

    def speech_to_mel(
        self, codes: Any, voice: Any = None, noise: ArrayLike | None = None, n_steps: int = 10
    ) -> NDArray[np.float32]:
        """Speech codes [n] -> spectrum [2 * n, 80] in a voice.

        Args:
            codes: integers, 25 a second.
            voice: as in Model.chat.
            noise: floats [n_frame, 80], normal: a frame for each of the voice and the codes; drawn if None.
            n_steps: of the flow.
        """
        chosen = self._open_voices().choose(voice, None)
        ids, prompt, mel = to_ids(codes), chosen.codes.tolist(), chosen.mel
        if noise is None:
            n_frame = len(mel) // len(prompt) * (len(prompt) + len(ids))
            noise = np.random.default_rng(0).standard_normal((n_frame, mel.shape[1]), dtype=np.float32)
        table = np.ascontiguousarray(noise, dtype=np.float32)
        steps = integer("n_steps", n_steps, 1, 100)
        return _core.FlowProbe(self._open()).generate(ids, prompt, mel, chosen.speaker, table, steps)

    def mel_to_wave(self, mel: ArrayLike, excitation_noise: bool = True) -> NDArray[np.float32]:
        """Spectrum [n, 80] -> samples; excitation_noise: the breath and hiss in a voice."""
        frames = np.ascontiguousarray(mel, dtype=np.float32)
        vocoder, is_causal = self._vocoder()
        noise = np.zeros(0, np.float32)
        if flag("excitation_noise", excitation_noise):
            n, rng = _NOISE_SECONDS * self._open_voices().sample_rate * _N_HARMONIC, np.random.default_rng(0)
            noise = (rng.random if is_causal else rng.standard_normal)(n, np.float32)
        return vocoder.generate(frames, noise)

    def _vocoder(self) -> tuple[_core.Vocoder, bool]:
        """The file's, and whether it is the causal one, which a model speaks with if it has both."""
        _core.sample_rate(self._open())  # says so if the model does not speak
        try:
            return _core.Vocoder(self._open(), True), True
        except UnsupportedModelError:
            return _core.Vocoder(self._open(), False), False

    def _open(self) -> _core.Model:
        engine = self._engine
        if engine is None:
            raise MiniCPMOError("[model] expected an open model, got a closed one")
        return engine

    def _open_voices(self) -> VoiceStore:
        self._open()
        assert self._voices is not None
        return self._voices
