"""Model: one model file, opened once and shared by all conversations on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minicpmo_cpp import _core
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.audio_stream import AudioStream
from minicpmo_cpp.duplex import DuplexSession
from minicpmo_cpp.duplex_options import DuplexOptions
from minicpmo_cpp.image import to_pixels
from minicpmo_cpp.memory_plan import MemoryPlan, to_plan
from minicpmo_cpp.messages import Parsed, parse_messages, read_aloud, with_voice
from minicpmo_cpp.open_model import OpenModel
from minicpmo_cpp.options import (
    check_spoken,
    fit_to_video,
    flag,
    generate_options,
    integer,
    number,
    prompt_options,
)
from minicpmo_cpp.session import Session
from minicpmo_cpp.tokenizer import to_ids
from minicpmo_cpp.types import ChatOptions, ChatResult, Forward, Messages, Prompt

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Model(OpenModel):
    """An open model file. Immutable, so several threads may use one.

    Example:
        >>> model = Model.load("minicpm-o-4_5-q4_k_m.gguf")
        >>> print(model.chat([{"role": "user", "content": [Path("cat.jpg"), "What is in the image?"]}]).text)
    """

    @property
    def memory_plan(self) -> MemoryPlan:
        """What memory it was loaded for."""
        return to_plan(_core.memory_plan(self._open()))

    def tokenize(self, text: str, parse_special: bool = True) -> list[int]:
        """Text -> ids. parse_special: whether "<|im_end|>" and its like mean themselves or are plain text."""
        return self._open().tokenize(text, parse_special)

    def detokenize(self, ids: Sequence[int] | NDArray[Any], skip_special: bool = False) -> str:
        """Ids -> text; bytes that are no UTF-8 become U+FFFD."""
        return self._open().detokenize(to_ids(ids), skip_special)

    def encode_image(self, image: Any, max_slice_nums: int | None = None) -> NDArray[np.float32]:
        """One picture as the language model sees it.

        Args:
            image: anything that image.to_pixels takes.
            max_slice_nums: most slices, 1 to 64; the model's own number if None.

        Returns:
            float32 [n_slice, n_query, n_embd], the overview first.
        """
        max_slices = None if max_slice_nums is None else integer("max_slice_nums", max_slice_nums)
        return self._open().encode_image(to_pixels(image, allow_remote=self.allow_remote), max_slices)

    def encode_audio(self, audio: Any, chunk_seconds: float | None = 1.0) -> NDArray[np.float32]:
        """One sound as the language model hears it.

        Args:
            audio: anything that audio.to_samples takes.
            chunk_seconds: how far a moment looks ahead at most: to the end of its chunk of so many seconds.
                None lets it hear all of its 30 s piece.

        Returns:
            float32 [n_token, n_embd], ten a second.
        """
        seconds = None if chunk_seconds is None else number("chunk_seconds", chunk_seconds)
        if seconds is not None and not 0 < seconds <= 30:
            raise ValueError(f"[options] expected above 0 and up to 30 s, got {seconds} (chunk_seconds)")
        return _core.encode_audio(self._open(), to_samples(audio, allow_remote=self.allow_remote), seconds)

    def audio_stream(self, mode: str = "half_duplex") -> AudioStream:
        """Sound as it arrives.

        Args:
            mode: "half_duplex" as in talking by turns, "duplex" as in live conversation: chunks overlap.
        """
        return AudioStream(self, mode)

    def build_prompt(
        self,
        messages: Messages,
        *,
        enable_thinking: bool = False,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        use_tts_template: bool | None = None,
        omni_mode: bool | None = None,
        stream_input: bool = False,
        parse_special: bool = False,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """What chat() with the same arguments would read, pictures and sound encoded."""
        options = prompt_options(
            enable_thinking=enable_thinking,
            max_slice_nums=max_slice_nums,
            use_image_id=use_image_id,
            use_tts_template=use_tts_template,
            omni_mode=omni_mode,
            stream_input=stream_input,
            parse_special=parse_special,
            add_generation_prompt=add_generation_prompt,
        )
        parsed = self._parse(messages, options, omni_mode, is_whole=True)
        return Prompt(*self._open().build_prompt(parsed.messages, options))

    def forward(self, ids: ArrayLike | None = None, embeds: ArrayLike | None = None) -> Forward:
        """The language model over a whole sequence, without any state.

        Args:
            ids: integers [n], or
            embeds: floats [n, n_embd], such as build_prompt().embeds.
        """
        ids = None if ids is None else np.asarray(to_ids(ids), dtype=np.int32)
        embeds = None if embeds is None else np.ascontiguousarray(embeds, dtype=np.float32)
        return Forward(*self._open().forward(ids=ids, embeds=embeds))

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = ..., **options: Unpack[ChatOptions]
    ) -> ChatResult: ...

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Answer: ...

    def chat(
        self,
        messages: Messages,
        *,
        max_new_tokens: int = 4096,
        temperature: float = 0.7,
        top_p: float = 0.8,
        top_k: int = 100,
        min_p: float = 0.0,
        repetition_penalty: float = 1.02,
        seed: int | None = None,
        enable_thinking: bool = False,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        use_tts_template: bool | None = None,
        omni_mode: bool | None = None,
        stream_input: bool = False,
        parse_special: bool = False,
        ignore_stop: bool = False,
        return_hidden: bool = False,
        draft_tokens: int = 0,
        n_ctx: int = 0,
        kv_type: str | None = None,
        audio: bool = False,
        voice: Any = None,
        voice_prompt: str | None = "audio_assistant",
        language: str | None = None,
        n_steps: int | None = None,
        speech_seed: int | None = None,
        stream: bool = False,
    ) -> ChatResult | Answer:
        """Answers a whole conversation.

        What it has in common with the one before is not read again: see `keep_conversation` of load(), and
        `n_reused` of the result's timings.

        Args:
            messages: a str, which a user says, or a list of {"role", "content"}; see parts.to_content.
            max_new_tokens: most tokens of the answer.
            temperature: 0 takes the likeliest token, always.
            top_p: the likeliest tokens that together have this probability stay.
            top_k: so many of the likeliest tokens stay; 0 keeps all.
            min_p: tokens below this share of the likeliest one's probability go.
            repetition_penalty: 1 means none; above, tokens of the answer so far become less likely.
            seed: the same seed gives the same answer; None draws one.
            enable_thinking: lets the model think first, inside <think> and </think>.
            max_slice_nums: most slices of a picture, 1 to 64; if None the model's own number, 1 with a video.
            use_image_id: whether pictures are numbered; if None the model's own way, not with a video.
            use_tts_template: begins the answer as one to be spoken; if None, where there is sound.
            omni_mode: joins the parts of a message without newlines; if None, with a video that sounds.
            stream_input: sound is read in chunks of a second, as in streaming.
            parse_special: whether special tokens in the text count as such.
            ignore_stop: goes on after stop tokens.
            return_hidden: the result also has the states of the answer's tokens.
            draft_tokens: most tokens at a time, up to 64, that are guessed from what was read and said before
                and checked in one pass. Faster where an answer copies much; it stays the same, but for
                rounding where two tokens are equally likely.
            n_ctx: most tokens of the conversation; 0 means what the model was loaded for.
            kv_type: "f32", "f16", "bf16" or "q8_0"; None chooses by the weights.
            audio: speaks the answer: the result has audio; streamed pieces of sound have it, too.
            voice: whose voice: a Voice, a name of `voices`, a recording or a saved voice (path or array).
                If None, the recording in the system message, else the first of `voices`.
            voice_prompt: mode of the system_prompt() that is put before messages that have none when the
                answer is spoken; None puts none.
            language: of that prompt, "zh" or "en"; None goes by what the user writes.
            n_steps: of the flow, 1 to 100: fewer are faster and rougher; None is the model's own number.
            speech_seed: of the speech; None takes `seed`.
            stream: returns an iterator of pieces, which joined are the text, once the prompt is read. Spoken
                answers are then said every ten tokens, and else when they are written, as in the reference.

        Raises:
            ContextFullError: prompt and answer need more than n_ctx tokens.
            UnsupportedModelError: audio of a model that does not speak.
        """
        is_stream = flag("stream", stream)
        reading = prompt_options(
            enable_thinking=enable_thinking,
            max_slice_nums=max_slice_nums,
            use_image_id=use_image_id,
            use_tts_template=True if audio is True and use_tts_template is None else use_tts_template,
            omni_mode=omni_mode,
            stream_input=stream_input,
            parse_special=parse_special,
        )
        saying = generate_options(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            enable_thinking=enable_thinking,
            use_tts_template=use_tts_template,
            ignore_stop=ignore_stop,
            return_hidden=return_hidden,
            draft_tokens=draft_tokens,
        )
        check_spoken(flag("audio", audio), saying, voice=voice, n_steps=n_steps, speech_seed=speech_seed)
        parsed = self._parse(messages, reading, omni_mode, is_whole=True)
        session = self._kept.make_room(
            lambda: Session(self, n_ctx=n_ctx, kv_type=kv_type, kept=self._kept),
        )
        try:
            speaking = None
            if audio:
                session._reference = parsed.reference
                speaking = session._speaking(saying, voice, n_steps, speech_seed, is_whole=not is_stream)
                if not parsed.has_system and voice_prompt is not None:
                    parsed = with_voice(parsed, speaking.voice, voice_prompt, language)
            session._prefill_chat(parsed, reading)
            answer = session._begin(saying, speaking)
        except BaseException:
            session._give_back()
            raise
        return answer if is_stream else answer.result()

    @overload
    def speak(
        self, text: str, voice: Any = ..., *, stream: Literal[False] = ..., **options: Any
    ) -> ChatResult: ...

    @overload
    def speak(self, text: str, voice: Any = ..., *, stream: Literal[True], **options: Any) -> Answer: ...

    def speak(
        self,
        text: str,
        voice: Any = None,
        *,
        stream: bool = False,
        temperature: float = 0.1,
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> ChatResult | Answer:
        """Reads a text out, as the official example for zero-shot speech does.

        The model writes the text again and says what it writes: look at the result's text.

        Args:
            text: in Chinese or English.
            voice: as in chat(); if None the first of `voices`.
            stream: as in chat().
            temperature: as in chat(); the default is the official example's.
            max_new_tokens: as in chat(); if None, plenty for the text.
            options: more keywords of chat().
        """
        if not isinstance(text, str):
            raise TypeError(f"[speech] expected a str, got {type(text).__name__} (text)")
        if not text.strip():
            raise ValueError("[speech] expected a text, got an empty one")
        if max_new_tokens is None:
            max_new_tokens = max(512, 2 * len(self.tokenize(text)))
        chosen = self._open_voices().wanted(voice, None)
        messages = read_aloud(text, chosen)
        options |= {"temperature": temperature, "max_new_tokens": max_new_tokens}
        if flag("stream", stream):
            return self.chat(messages, audio=True, voice=chosen, stream=True, **options)
        result: ChatResult = self.chat(messages, audio=True, voice=chosen, **options)
        return result

    def session(self, *, n_ctx: int = 0, kv_type: str | None = None, **window: Any) -> Session:
        """A conversation that keeps what it has read; n_ctx and kv_type as in chat(), more in Session."""
        return self._kept.make_room(lambda: Session(self, n_ctx=n_ctx, kv_type=kv_type, **window))

    def duplex(self, *, voice: Any = None, **options: Unpack[DuplexOptions]) -> DuplexSession:
        """A conversation in full duplex: watching, listening and speaking at the same time.

        Args:
            voice: that speaks, as in chat(); prepare() may name another.
            options: see docs/streaming.md for all of them. Most used: `window` ("off", "basic", "context"),
                `audio` (False writes without speaking), `temperature` (0 takes the likeliest token), `seed`,
                `n_steps` of the flow, `force_listen` (so many units at first only listen), `listen_scale`
                (above 1 it listens more), `max_tokens_per_unit`.

        Raises:
            UnsupportedModelError: the model does not hear, or does not speak and audio is True.
        """
        return self._kept.make_room(lambda: DuplexSession(self, voice, options))

    def _parse(
        self, messages: Messages, options: _core.PromptOptions, omni_mode: bool | None, *, is_whole: bool
    ) -> Parsed:
        parsed = parse_messages(messages, is_whole=is_whole, allow_remote=self.allow_remote)
        if parsed.has_video:
            fit_to_video(options, has_sound=parsed.has_video_sound, omni_mode=omni_mode)
        return parsed
