"""Session: one conversation that keeps what it has read."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from minicpmo_cpp import _core
from minicpmo_cpp._core import GenerateOptions, GenerationInterruptedError, MiniCPMOError, PromptOptions
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.exclusive import Exclusive
from minicpmo_cpp.messages import Parsed
from minicpmo_cpp.options import check_spoken, flag, generate_options, integer, prompt_options
from minicpmo_cpp.speaking import Speaking, Spoken
from minicpmo_cpp.types import ChatResult, Messages, Progress, Samples, Timings

if TYPE_CHECKING:
    from minicpmo_cpp.model import Model


class Session:
    """One conversation on a model. One thread at a time; interrupt() and progress from any.

    Example:
        >>> session = model.session(n_ctx=4096)
        >>> session.prefill("What is 2 + 2?")
        >>> for piece in session.generate(max_new_tokens=64):
        ...     print(piece, end="", flush=True)
    """

    def __init__(self, model: Model, *, n_ctx: int = 0, kv_type: str | None = None) -> None:
        self._model = model
        if kv_type is not None and not isinstance(kv_type, str):
            raise TypeError(f"[session] expected the name of a type, got {kv_type!r} (kv_type)")
        n_ctx = integer("n_ctx", n_ctx, 0)
        self._engine: _core.Session | None = _core.Session(model._open(), n_ctx=n_ctx, kv_type=kv_type)
        self._voices = model._open_voices()
        self._reference: Samples | None = None  # the recording in the system message
        self._spoken: Spoken | None = None  # the answer that goes on, if it is said
        self._keeps_hidden = False
        self._lock = Exclusive("session")
        # The answer that goes on: dropping it must end it, so it is not held here.
        self._answer: weakref.ref[Answer] | None = None
        self._n_answer = 0

    def prefill(
        self,
        messages: Messages,
        *,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        omni_mode: bool | None = None,
        parse_special: bool = False,
    ) -> None:
        """Reads messages into the conversation: all of them, or none if it fails.

        Args:
            messages: as in Model.chat. A user message after a user message continues that turn.
            max_slice_nums: most slices of a picture, 1 to 64; if None the model's own number, 1 with a video.
            use_image_id: whether pictures are numbered; if None the model's own way, not with a video.
            omni_mode: joins the parts of a message without newlines; if None, with a video that sounds.
            parse_special: whether special tokens in the text count as such.

        Raises:
            ContextFullError: there is no room for them.
            GenerationInterruptedError: interrupt() was called meanwhile.
        """
        options = prompt_options(
            max_slice_nums=max_slice_nums,
            use_image_id=use_image_id,
            omni_mode=omni_mode,
            parse_special=parse_special,
        )
        parsed = self._model._parse(messages, options, omni_mode, is_whole=False)
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.prefill(parsed.messages, options)
            self._reference = parsed.reference if parsed.has_system else self._reference

    def generate(
        self,
        *,
        max_new_tokens: int = 4096,
        temperature: float = 0.7,
        top_p: float = 0.8,
        top_k: int = 100,
        min_p: float = 0.0,
        repetition_penalty: float = 1.02,
        seed: int | None = None,
        enable_thinking: bool = False,
        use_tts_template: bool | None = None,
        ignore_stop: bool = False,
        return_hidden: bool = False,
        audio: bool = False,
        voice: Any = None,
        n_steps: int | None = None,
        speech_seed: int | None = None,
    ) -> Answer:
        """Answers what was read. The keywords are those of Model.chat.

        With audio=True every ten tokens are said while the next ones are written. The system prompt is the
        caller's: system_prompt(voice, "audio_assistant").

        Returns:
            An iterator of pieces. Closing it, or leaving it before its end, ends the answer there.
        """
        options = generate_options(
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
        )
        check_spoken(flag("audio", audio), options, voice=voice, n_steps=n_steps, speech_seed=speech_seed)
        speaking = self._speaking(options, voice, n_steps, speech_seed, is_whole=False) if audio else None
        return self._begin(options, speaking)

    def generate_text(self, **options: Any) -> ChatResult:
        """generate() to its end."""
        return self.generate(**options).result()

    def interrupt(self) -> None:
        """Stops what another thread computes: a prefill raises, an answer ends."""
        engine, spoken = self._engine, self._spoken
        if engine is not None:
            engine.interrupt()
        if spoken is not None:
            spoken.interrupt()

    def reset(self) -> None:
        """Forgets the conversation."""
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.reset()
            self._reference = None

    def close(self) -> None:
        """Frees the conversation's memory; the session cannot be used any more."""
        with self._exclusive() as engine:
            self._end_answer(engine)
            self._engine = None

    @property
    def n_past(self) -> int:
        """Tokens in the conversation."""
        return self._open().n_past

    @property
    def n_ctx(self) -> int:
        """Most tokens of the conversation."""
        return self._open().n_ctx

    @property
    def timings(self) -> Timings:
        """Of the last turn."""
        return self._read_timings(self._open())

    @property
    def progress(self) -> Progress:
        """Of the running prefill, from any thread."""
        return Progress(*self._open().progress)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            self.close()

    def _prefill_chat(self, parsed: Parsed, options: PromptOptions) -> None:
        with self._exclusive() as engine:
            engine.prefill_chat(parsed.messages, options)

    def _speaking(
        self,
        options: GenerateOptions,
        voice: Any,
        n_steps: int | None,
        speech_seed: int | None,
        *,
        is_whole: bool,
    ) -> Speaking:
        """Checked keywords; a recording becomes a voice here."""
        steps = 0 if n_steps is None else integer("n_steps", n_steps, 1, 100)
        seed = options.seed if speech_seed is None else integer("speech_seed", speech_seed, 0, 2**64 - 1)
        return Speaking(self._voices.choose(voice, self._reference), steps, seed, is_whole)

    def _begin(self, options: GenerateOptions, speaking: Speaking | None) -> Answer:
        with self._exclusive() as engine:
            self._end_answer(engine)
            if speaking is None:
                engine.begin(options)
            else:
                self._spoken = Spoken(self._voices, engine, options, speaking)
            self._keeps_hidden = options.keep_hidden
            self._n_answer += 1
            rate = 0 if self._spoken is None else self._spoken.sample_rate
            answer = Answer(self, self._n_answer, self._model.end_of_speech, rate)
            self._answer = weakref.ref(answer)
            return answer

    def _next(self) -> tuple[int, str, Samples | None] | None:
        with self._exclusive() as engine:
            try:
                if self._spoken is not None:
                    item = self._spoken.next()
                else:
                    written = engine.next()
                    item = None if written is None else (*written, None)
            except GenerationInterruptedError:
                self._end_answer(engine)
                return None
            except MiniCPMOError:
                self._end_answer(engine, engine.stop_reason)
                raise
            if item is None:
                self._close_answer(engine, engine.stop_reason)
            return item

    @property
    def _is_written(self) -> bool:
        """Whether the text of the answer is complete; it may still be said."""
        return bool(self._open().stop_reason)

    def _abandon(self, number: int) -> None:
        """The answer of that number is wanted no more."""
        if self._answer is not None and number == self._n_answer and self._engine is not None:
            with self._exclusive() as engine:
                self._end_answer(engine)

    def _end_answer(self, engine: _core.Session, stop_reason: str = "") -> None:
        """Cuts the answer that goes on, if there is one. stop_reason: why, if it is known."""
        if self._answer is None:
            return
        engine.interrupt()
        while engine.next() is not None:  # the rest of a character; nothing is computed
            pass
        # An answer that was written may still be said.
        self._close_answer(engine, stop_reason or "interrupted")

    def _close_answer(self, engine: _core.Session, stop_reason: str) -> None:
        spoken, self._spoken = self._spoken, None
        speech_timings = None if spoken is None else spoken.close()
        answer = self._answer() if self._answer is not None else None
        if answer is not None:
            hidden = engine.answer_hidden() if self._keeps_hidden else None
            answer._finish(stop_reason, self._read_timings(engine), hidden, speech_timings)
        self._answer = None

    def _read_timings(self, engine: _core.Session) -> Timings:
        return Timings(load_s=self._model.load_s, **engine.timings)

    def _open(self) -> _core.Session:
        engine = self._engine
        if engine is None:
            raise MiniCPMOError("[session] expected an open session, got a closed one")
        return engine

    @contextmanager
    def _exclusive(self) -> Iterator[_core.Session]:
        with self._lock:
            yield self._open()
