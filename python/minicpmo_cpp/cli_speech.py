"""What the options of minicpmo-cli about speech mean together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from minicpmo_cpp.audio import SAMPLE_RATE
from minicpmo_cpp.messages import language_of, read_aloud, sounding_prompt, system_prompt
from minicpmo_cpp.model import Model
from minicpmo_cpp.speech_output import SpeechOutput
from minicpmo_cpp.tasks import MIMICK_PROMPT, MIMICK_SYSTEM
from minicpmo_cpp.types import Samples
from minicpmo_cpp.voice import Voice
from minicpmo_cpp.voice_store import Wanted

# --mode -> mode of system_prompt
MODES = {
    "assistant": "audio_assistant",
    "roleplay": "audio_roleplay",
    "clone": "voice_cloning",
    "mimick": None,
}
LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class SpeechArguments:
    """As they were given."""

    output: str | None = None
    plays: bool = False
    ref_audio: str | None = None
    voice: str | None = None
    mode: str | None = None
    language: str | None = None
    speak: str | None = None
    n_steps: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether answers are to be said."""
        return self.output is not None or self.plays

    @property
    def is_calm(self) -> bool:
        """Whether the official examples sample with a temperature of 0.1: what is said is given."""
        return self.speak is not None or self.mode == "mimick"

    def check(self, *, has_question: bool, has_audio: bool, has_system: bool, has_thoughts: bool) -> None:
        """Raises BadParameter for what makes no sense together.

        Args:
            has_question: --prompt or --task was given.
            has_audio: --audio was given.
            has_system: --system was given.
            has_thoughts: --think was given.
        """
        needs = {
            "--ref-audio": self.ref_audio,
            "--voice": self.voice,
            "--mode": self.mode,
            "--speak": self.speak,
            "--lang": self.language,
            "--speech-steps": self.n_steps,
        }
        for name, value in needs.items():
            if value is not None and not self.is_wanted:
                raise _bad(f"expected --output or --play with {name}, got neither", name)
        if self.ref_audio is not None and self.voice is not None:
            raise _bad("expected --voice or --ref-audio, got both", "--voice")
        if self.mode is not None and self.mode not in MODES:
            raise _bad(f"expected {', '.join(MODES)}, got {self.mode}", "--mode")
        if self.language is not None and self.language not in LANGUAGES:
            raise _bad(f"expected {', '.join(LANGUAGES)}, got {self.language}", "--lang")
        if self.is_wanted and has_thoughts:
            raise _bad("expected no --think with speech: thoughts would be said", "--think")
        if self.speak is not None and (has_question or has_audio or has_system or self.mode is not None):
            raise _bad("expected no prompt, sound or mode with --speak, got one", "--speak")
        if self.speak is not None and not self.speak.strip():
            raise _bad("expected a text, got an empty one", "--speak")
        if self.mode == "mimick" and (has_question or has_system or not has_audio):
            raise _bad("expected --audio and no prompt with --mode mimick", "--mode")


class SpeakingModel:
    """How a model's answers are said: in whose voice, and as whom."""

    def __init__(
        self, model: Model, arguments: SpeechArguments, *, sound: Samples | None, is_chat: bool
    ) -> None:
        """sound: of --audio, the first, which --mode mimick takes the voice from."""
        self._model = model
        self._arguments = arguments
        store = model._open_voices()
        self.output = SpeechOutput(
            store.sample_rate, arguments.output, plays=arguments.plays, is_numbered=is_chat
        )
        given: Any = arguments.voice
        if arguments.ref_audio is not None:
            given = model.encode_voice(arguments.ref_audio) if store.are_there else arguments.ref_audio
        elif given is None and arguments.mode == "mimick":
            given = sound
        self.voice: Wanted = store.wanted(given, None)

    @property
    def voice_name(self) -> str:
        """Empty where the voice is a recording or what the model chooses."""
        return self.voice.name if isinstance(self.voice, Voice) else ""

    def choose_voice(self, name: str) -> str:
        """Of the model, a saved one or a recording; returns a line that says what it is."""
        voice = self._model._open_voices().wanted(name, None)
        assert voice is not None
        self.voice = voice
        seconds = voice.duration_s if isinstance(voice, Voice) else len(voice) / SAMPLE_RATE
        return f"{seconds:.1f} s of a voice"

    def system(self, text: str | None, question: str) -> list[dict[str, Any]]:
        """The system message, or what stands for it where a model speaks as its prompt sounds.

        A text alone is the whole of it; with --mode it says more about the voice's character. `question`
        decides the language unless --lang does.
        """
        arguments = self._arguments
        if arguments.mode == "mimick":
            return [{"role": "system", "content": MIMICK_SYSTEM}]
        if text is not None and arguments.mode is None:
            return [{"role": "system", "content": text}]
        mode = MODES[arguments.mode or "assistant"]
        assert mode is not None
        language = arguments.language or language_of(question)
        if isinstance(self.voice, Voice):
            prompt = system_prompt(self.voice if len(self.voice.samples) else None, mode, language)
        else:
            prompt = sounding_prompt(self.voice, mode, language)
        if text is not None:
            content = prompt["content"]
            last = [content[-1] + text] if isinstance(content[-1], str) else [content[-1], text]
            prompt["content"] = [*content[:-1], *last]
        return [prompt]

    def messages(self, system: str | None, content: list[Any], question: str) -> list[dict[str, Any]]:
        """A whole conversation of one question."""
        arguments = self._arguments
        if arguments.speak is not None:
            return read_aloud(arguments.speak, self.voice)
        if arguments.mode == "mimick":
            content = [MIMICK_PROMPT, *content]
        return [*self.system(system, question), {"role": "user", "content": content}]

    @property
    def saying(self) -> dict[str, Any]:
        """Keywords of Session.generate."""
        voice = self.voice if isinstance(self.voice, Voice) else None  # else it is in the first message
        return {"audio": True, "voice": voice, "n_steps": self._arguments.n_steps}


def _bad(message: str, name: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=name)
