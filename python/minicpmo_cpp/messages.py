"""Messages as users write them -> what the engine reads, every mistake named with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from minicpmo_cpp import _core
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.parts import Content, Part, check_keys, is_sound_part, to_content, to_text
from minicpmo_cpp.types import Samples
from minicpmo_cpp.voice import Voice

ROLES = ("system", "user", "assistant")
VOICE_PROMPTS = ("omni", "audio_assistant", "audio_roleplay", "voice_cloning", "default")


class Parsed(NamedTuple):
    """Messages for the engine, and what in them decides options that the caller left open."""

    messages: list[tuple[str, list[Part]]]
    has_video: bool = False
    has_video_sound: bool = False

    @property
    def has_system(self) -> bool:
        return any(role == "system" for role, _ in self.messages)

    @property
    def reference(self) -> Samples | None:
        """The one sound of the system messages, the voice to speak with, if there is one and no more."""
        parts = [part for role, parts in self.messages if role == "system" for part in parts]
        sounds = [part for part in parts if is_sound_part(part)]
        return cast(Samples, sounds[0]) if len(sounds) == 1 else None

    @property
    def language(self) -> str:
        """ "zh" or "en", by what users write; where they write nothing, the reference's default."""
        texts = [p for role, parts in self.messages if role == "user" for p in parts if isinstance(p, str)]
        return language_of("".join(texts))


def parse_messages(messages: Any, *, is_whole: bool, allow_remote: bool = False) -> Parsed:
    """Checks and decodes messages.

    Args:
        messages: one str, which a user says, or a list of {"role", "content"}; content is a str or a list of
            what parts.to_content takes.
        is_whole: whether this is a whole conversation, which a system or user message begins.
        allow_remote: whether http(s) URLs of media are fetched.

    Raises:
        TypeError, ValueError, FileNotFoundError: with the place, such as messages[1].content[0].
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Sequence):
        kind = type(messages).__name__
        raise TypeError(f'[messages] expected a str or a list of {{"role", "content"}}, got {kind}')
    if not messages:
        raise ValueError("[messages] expected at least one message, got none")
    read = [_message(message, f"messages[{i}]", allow_remote) for i, message in enumerate(messages)]
    if is_whole and read[0][0] == "assistant":
        raise ValueError("[messages] expected the role system or user, got 'assistant' (messages[0].role)")
    videos = [content for _, contents in read for content in contents if content.is_video]
    parsed = [(role, [part for content in contents for part in content.parts]) for role, contents in read]
    return Parsed(parsed, bool(videos), any(video.has_sound for video in videos))


def system_prompt(ref_audio: Any = None, mode: str = "default", language: str = "zh") -> dict[str, Any]:
    """The official system prompt, as get_sys_prompt of the reference gives it.

    Args:
        ref_audio: a voice to imitate: a Voice, or anything that audio.to_samples takes. The default mode
            ignores it.
        mode: "omni", "audio_assistant", "audio_roleplay", "voice_cloning"; anything else is the default.
        language: "zh" or any other, which means English.

    Returns:
        {"role": "system", "content": [str or float32 [n], ...]}.
    """
    parts: list[Any] = _core.system_prompt(ref_audio is not None, mode, language)
    return {"role": "system", "content": [to_recording(ref_audio) if p is None else p for p in parts]}


# Of models that speak as their prompt sounds, by mode and language: what is said without a recording, before
# one, and behind it.
_IMITATE = ("模仿输入音频中的声音特征。", "Clone the voice in the provided audio prompt.")
_STYLE = ("作为助手，你将使用这种声音风格说话。", "As an assistant, you will speak using this voice style.")
_NO_SAMPLE = ("Use the <reserved_53> voice.",) * 2  # plain text: no such token exists
_OMNI = (
    "你是一个AI助手。你能接受视频，音频和文本输入并输出语音和文本。",
    "You are a helpful assistant. You can accept video, audio and text input and output voice and text. ",
)
_DEFAULT = "You are a helpful assistant. You can accept audio and text input and output voice and text."
_ROLE = (
    "假装你是上述音频中的人物，与我进行对话。",
    "Try to role-play the character based on the audio prompt above.",
)


def sounding_prompt(sample: Samples | None, mode: str, language: str) -> dict[str, Any]:
    """The official first message for a model that speaks as its prompt sounds: 2.6's get_sys_prompt.

    Args:
        sample: a recording to imitate, float32 [n] at 16 kHz.
        mode: as in system_prompt().
        language: "zh" or "en".

    Returns:
        {"role": "user", "content": [str or float32 [n], ...]}: a user says it, there.

    Raises:
        ValueError: mode voice_cloning without a recording.
    """
    at = 0 if language == "zh" else 1
    content: list[Any]
    if mode not in ("omni", "audio_assistant", "audio_roleplay", "voice_cloning"):
        content = [_DEFAULT]
    elif sample is None and mode == "voice_cloning":
        raise ValueError("[options] expected a recording to clone, got none (voice_prompt voice_cloning)")
    elif mode == "omni":
        content = [_OMNI[at]] if sample is None else [_OMNI[at] + _IMITATE[at], sample, _STYLE[at]]
    else:
        behind = {"audio_assistant": [_STYLE[at]], "audio_roleplay": [_ROLE[at]]}.get(mode, [])
        content = [_NO_SAMPLE[at], *behind] if sample is None else [_IMITATE[at], sample, *behind]
    return {"role": "user", "content": content}


def with_voice(parsed: Parsed, voice: Voice | Samples | None, mode: str, language: str | None) -> Parsed:
    """The official first message for a voice, or for a recording to imitate, and then the messages."""
    if mode not in VOICE_PROMPTS:
        raise ValueError(f"[options] expected {', '.join(VOICE_PROMPTS)}, got {mode!r} (voice_prompt)")
    if language not in ("zh", "en", None):
        raise ValueError(f"[options] expected zh or en, got {language!r} (language)")
    if voice is None:
        return parsed
    if isinstance(voice, Voice):
        recording = voice if len(voice.samples) else None
        prompt = system_prompt(recording, mode, language or parsed.language)
    else:
        prompt = sounding_prompt(voice, mode, language or parsed.language)
    return parsed._replace(messages=[(prompt["role"], prompt["content"]), *parsed.messages])


def read_aloud(text: str, voice: Voice | Samples | None) -> list[dict[str, Any]]:
    """The official messages that make the model say a text.

    With a voice they are Chinese for every language, and the official example gives the first of them to the
    assistant, a role that chat() refuses there. Without one they are the example's for cloning a recording.
    """
    if not isinstance(voice, Voice):
        language = language_of(text)
        asked = "请朗读以下内容。" if language == "zh" else "Please read the text below."
        first = [] if voice is None else [sounding_prompt(voice, "voice_cloning", language)]
        return [*first, {"role": "user", "content": [asked, text]}]
    before, after = (
        "模仿音频样本的音色并生成新的内容。",
        "请用这种声音风格来为用户提供帮助。 直接作答，不要有冗余内容",
    )
    return [
        {"role": "system", "content": [before, to_recording(voice), after]},
        {"role": "user", "content": ["请朗读以下内容。" + " " + text]},
    ]


def language_of(text: str) -> str:
    """ "zh" if there are Chinese characters or no letters at all, else "en"."""
    is_chinese = any("\u3400" <= letter <= "\u9fff" for letter in text)
    return "zh" if is_chinese or not any(letter.isalpha() for letter in text) else "en"


def to_recording(voice: Any) -> Samples:
    """What was recorded of a voice, or a recording itself: anything that audio.to_samples takes."""
    if not isinstance(voice, Voice):
        return to_samples(voice)
    if not len(samples := voice.samples):
        raise ValueError(f"[voice] expected a voice with its recording, got one without ({voice!r})")
    return samples


def _message(message: Any, place: str, allow_remote: bool) -> tuple[str, list[Content]]:
    if not isinstance(message, Mapping):
        raise TypeError(f'[messages] expected {{"role", "content"}}, got {type(message).__name__} ({place})')
    check_keys(message, ("role", "content"), place)
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"[messages] expected the key {key!r}, got none ({place})")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(f"[messages] expected the role {', '.join(ROLES)}, got {role!r} ({place}.role)")
    if isinstance(content, str):
        return role, [Content([to_text(content, f"{place}.content")])]
    if not isinstance(content, (list, tuple)):
        kind = type(content).__name__
        raise TypeError(f"[messages] expected a str or a list, got {kind} ({place}.content)")
    return role, [to_content(part, f"{place}.content[{i}]", allow_remote) for i, part in enumerate(content)]
