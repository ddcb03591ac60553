"""Session: one conversation that keeps what it has read."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from minicpmo_cpp import _core
from minicpmo_cpp._core import GenerateOptions, GenerationInterruptedError, MiniCPMOError, PromptOptions
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.duplex_options import window_tokens
from minicpmo_cpp.exclusive import Exclusive
from minicpmo_cpp.kept_session import KeptSession
from minicpmo_cpp.messages import Parsed
from minicpmo_cpp.options import check_spoken, flag, generate_options, integer, number, prompt_options
from minicpmo_cpp.speaking import Speaking, Spoken
from minicpmo_cpp.types import ChatResult, Messages, Progress, Samples, Timings

if TYPE_CHECKING:
    from minicpmo_cpp.model import Model


class SessionSnapshot:
    """A place in a conversation, see Session.snapshot."""

    def __init__(self, engine: _core.SessionSnapshot, reference: Samples | None) -> None:
        self._engine = engine
        self._reference = reference


class Session:
    """One conversation on a model. One thread at a time; interrupt() and progress from any.

    Example:
        >>> session = model.session(n_ctx=4096)
        >>> session.prefill("What is 2 + 2?")
        >>> for piece in session.generate(max_new_tokens=64):
        ...     print(piece, end="", flush=True)
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int = 0,
        kv_type: str | None = None,
        window: str = "off",
        window_high: int | None = None,
        window_low: int | None = None,
        kept: KeptSession | None = None,
    ) -> None:
        """Users call Model.session().

        Args:
            window: "off", or "rounds": beyond window_high tokens the oldest rounds, each what a user said and
                what was answered, are forgotten until there are window_low.
            window_high: 8000 if None, or nine tenths of a smaller context.
            window_low: 6000 if None, or seven tenths of a smaller context.
            kept: where the engine's session comes from, if there is one, and goes when the answer ends; this
                one is then closed. As Model.chat() wants it.
        """
        self._model = model
        if window not in ("off", "rounds"):
            raise ValueError(f"[session] expected the window off or rounds, got {window!r}")
        if kv_type is not None and not isinstance(kv_type, str):
            raise TypeError(f"[session] expected the name of a type, got {kv_type!r} (kv_type)")
        n_ctx = integer("n_ctx", n_ctx, 0)
        most = n_ctx or model.config["llm"]["n_ctx_train"]
        tokens = window_tokens(window_high, window_low, most) if window == "rounds" else None
        self._kept, self._key = kept, (n_ctx, kv_type)
        self._engine: _core.Session | None = None if kept is None else kept.take(self._key)
        if self._engine is None:
            self._engine = _core.Session(model._open(), n_ctx=n_ctx, kv_type=kv_type, window=tokens)
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
        stream_audio: bool = False,
        is_last_chunk: bool = False,
    ) -> None:
        """Reads messages into the conversation: all of them, or none if it fails.

        Args:
            messages: as in Model.chat. A user message after a user message continues that turn, but not the
                first message of a model which is told by a user how to answer, see Model.system_prompt.
            max_slice_nums: most slices of a picture, 1 to 64; if None the model's own number, 1 with a video.
            use_image_id: whether pictures are numbered; if None the model's own way, not with a video.
            omni_mode: joins the parts of a message without newlines; if None, with a video that sounds.
            parse_special: whether special tokens in the text count as such.
            stream_audio: sounds of user messages go on from call to call, pieces of any length: what
                completes a second is read.
            is_last_chunk: what is left of them is read, too, and the next sound begins anew. Where a model
                hears each second by itself it goes on behind a short one.

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
        if is_last_chunk and not stream_audio:
            raise ValueError("[session] expected stream_audio=True with is_last_chunk, got False")
        with self._exclusive() as engine:
            self._end_answer(engine)
            if flag("stream_audio", stream_audio):
                engine.prefill_stream(parsed.messages, options, flag("is_last_chunk", is_last_chunk))
            else:
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
        repetition_window: int = 0,
        length_penalty: float = 1.0,
        seed: int | None = None,
        enable_thinking: bool = False,
        use_tts_template: bool | None = None,
        ignore_stop: bool = False,
        return_hidden: bool = False,
        draft_tokens: int = 0,
        audio: bool = False,
        voice: Any = None,
        n_steps: int | None = None,
        speech_seed: int | None = None,
    ) -> Answer:
        """Answers what was read. The keywords are those of Model.chat.

        With audio=True every ten tokens are said while the next ones are written. The first message is the
        caller's: Model.system_prompt(voice, "audio_assistant"). Of a repetition_window only so many of the
        last tokens count, of 0 all; with a length_penalty above 1 answers get longer.

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
            draft_tokens=draft_tokens,
        )
        options.repetition_window = integer("repetition_window", repetition_window)
        options.length_penalty = number("length_penalty", length_penalty)
        check_spoken(flag("audio", audio), options, voice=voice, n_steps=n_steps, speech_seed=speech_seed)
        speaking = self._speaking(options, voice, n_steps, speech_seed, is_whole=False) if audio else None
        if voice is not None and not self._voices.are_there:
            raise ValueError(
                "[options] expected the voice in the first message where a model speaks as its prompt sounds"
            )
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

    def snapshot(self) -> SessionSnapshot:
        """A place to come back to with restore(), such as before an answer to who was not done. Cheap."""
        with self._exclusive() as engine:
            return SessionSnapshot(engine.snapshot(), self._reference)

    def restore(self, snapshot: SessionSnapshot) -> None:
        """Goes back; an answer that goes on ends. Any number of times.

        Raises:
            ValueError: the window has forgotten part of it, or it is another session's.
        """
        if not isinstance(snapshot, SessionSnapshot):
            raise TypeError(f"[session] expected a SessionSnapshot, got {type(snapshot).__name__}")
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.restore(snapshot._engine)
            self._reference = snapshot._reference

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the conversation to a file, between turns: an answer that goes on ends."""
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.save(os.fsdecode(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Goes on with a saved conversation of the same model file.

        The recording in its system message is not in the file: name the voice of spoken answers.

        Raises:
            ModelFileError: the file is none, damaged, or of another model; the session is then empty.
        """
        with self._exclusive() as engine:
            self._end_answer(engine)
            self._reference = None
            engine.load(os.fsdecode(path))

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

    def _give_back(self) -> None:
        """Closes this one if its engine's session goes on elsewhere."""
        if self._kept is not None and (engine := self._engine) is not None:
            self._engine = None
            self._kept.give(self._key, engine)

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
        chosen = self._voices.wanted(voice, self._reference)
        if steps and not self._voices.are_there:
            raise ValueError("[options] expected no n_steps where a model speaks as its prompt sounds")
        return Speaking(chosen, steps, seed, is_whole)

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
        self._give_back()

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
