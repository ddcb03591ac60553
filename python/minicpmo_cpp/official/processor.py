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


class Inputs(dict[str, Any]):
    """Keywords of MiniCPMO.generate: model.generate(**inputs)."""

    def to(self, *place: Any, **options: Any) -> Self:
        """Stays where it is."""
        return self


class MiniCPMOProcessor:
    """Of no model in particular."""

    @classmethod
    def from_pretrained(cls, path: Any = None, *, trust_remote_code: Any = None) -> Self:
        """Reads nothing: neither argument is used."""
        return cls()

    @staticmethod
    def get_sys_prompt(
        ref_audio: Any = None,
        mode: str = "default",
        language: str = "en",
        ref_audio_max_ms: float | None = None,
    ) -> dict[str, Any]:
        """The official system message for a voice.

        Args:
            ref_audio: array [n] at 16 kHz or a path; anything that audio.to_samples takes.
            mode: "omni", "audio_assistant", "audio_roleplay", "voice_cloning", or the default.
            language: "zh", or any other, which means English.
            ref_audio_max_ms: only so much of ref_audio, in milliseconds.

        Returns:
            {"role": "system", "content": [str or float32 [n], ...]}.

        Raises:
            FileNotFoundError: no such file.
            ValueError: voice_cloning without ref_audio.
        """
        if ref_audio is not None and ref_audio_max_ms is not None:
            n_sample = int(number("ref_audio_max_ms", ref_audio_max_ms) * SAMPLE_RATE / 1000)
            ref_audio = to_samples(ref_audio)[:n_sample]
        return system_prompt(ref_audio, mode, language)

    def apply_chat_template(self, msgs: Any) -> Inputs:
        """Messages for model.generate(**inputs)."""
        return Inputs(msgs=msgs)
