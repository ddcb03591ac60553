"""MiniCPMOProcessor: what the examples of MiniCPM-o 2.6 call before model.generate.

Messages are read by the model itself, so a processor only carries them there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpmo_cpp.audio import SAMPLE_RATE, to_samples
from minicpmo_cpp.messages import system_prompt
from minicpmo_cpp.options import number

if TYPE_CHECKING:
    from typing_extensions import Self

    from minicpmo_cpp.model import Model


class Inputs(dict[str, Any]):
    """Keywords of MiniCPMO.generate: model.generate(**inputs)."""

    def to(self, *place: Any, **options: Any) -> Self:
        """Stays where it is."""
        return self


class SystemPrompt:
    """get_sys_prompt of a class, and of what it makes, which may belong to a model with words of its own."""

    def __get__(self, owner: Any, kind: type | None = None) -> BoundPrompt:
        return BoundPrompt(getattr(owner, "model", None))


class BoundPrompt:
    """get_sys_prompt of a model, or of none in particular."""

    def __init__(self, model: Model | None) -> None:
        self._model = model

    def __call__(
        self,
        ref_audio: Any = None,
        mode: str = "default",
        language: str = "en",
        ref_audio_max_ms: float | None = None,
    ) -> dict[str, Any]:
        """The official message that opens a conversation, for a voice.

        Args:
            ref_audio: array [n] at 16 kHz or a path; anything that audio.to_samples takes.
            mode: "omni", "audio_assistant", "audio_roleplay", "voice_cloning", or the default.
            language: "zh", or any other, which means English.
            ref_audio_max_ms: only so much of ref_audio, in milliseconds.

        Returns:
            {"role": "system", or "user" of a model like 2.6, "content": [str or float32 [n], ...]}.

        Raises:
            FileNotFoundError: no such file.
            ValueError: voice_cloning without ref_audio.
        """
        if ref_audio is not None and ref_audio_max_ms is not None:
            n_sample = int(number("ref_audio_max_ms", ref_audio_max_ms) * SAMPLE_RATE / 1000)
            ref_audio = to_samples(ref_audio)[:n_sample]
        make = system_prompt if self._model is None else self._model.system_prompt
        return make(ref_audio, mode, language)


class MiniCPMOProcessor:
    """Of one model, or of none in particular."""

    get_sys_prompt = SystemPrompt()

    def __init__(self, model: Model | None = None) -> None:
        self.model = model

    @classmethod
    def from_pretrained(cls, path: Any = None, *, trust_remote_code: Any = None) -> Self:
        """Reads nothing: neither argument is used."""
        return cls()

    def apply_chat_template(self, msgs: Any) -> Inputs:
        """Messages for model.generate(**inputs)."""
        return Inputs(msgs=msgs)
