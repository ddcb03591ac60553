"""Session: one conversation that keeps what it has read."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from minicpmo_cpp import _core
from minicpmo_cpp._core import GenerateOptions, MiniCPMOError, PromptOptions
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.exclusive import Exclusive
from minicpmo_cpp.messages import Parsed
from minicpmo_cpp.options import generate_options, integer, prompt_options
from minicpmo_cpp.types import ChatResult, Messages, Progress, Timings

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
    ) -> Answer:
        """Answers what was read. The keywords are those of Model.chat.

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
        return self._begin(options)

    def generate_text(self, **options: Any) -> ChatResult:
        """generate() to its end."""
        return self.generate(**options).result()

    def interrupt(self) -> None:
        """Stops what another thread computes: a prefill raises, an answer ends."""
        engine = self._engine
        if engine is not None:
            engine.interrupt()

    def reset(self) -> None:
        """Forgets the conversation."""
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.reset()

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

    def _begin(self, options: GenerateOptions) -> Answer:
        with self._exclusive() as engine:
            self._end_answer(engine)
            engine.begin(options)
            self._n_answer += 1
            answer = Answer(self, self._n_answer, self._model.end_of_speech)
            self._answer = weakref.ref(answer)
            return answer

    def _next(self) -> tuple[int, str] | None:
        with self._exclusive() as engine:
            try:
                item = engine.next()
            except MiniCPMOError:
                self._end_answer(engine)
                raise
            if item is None:
                self._close_answer(engine)
            return item

    def _abandon(self, number: int) -> None:
        """The answer of that number is wanted no more."""
        if self._answer is not None and number == self._n_answer and self._engine is not None:
            with self._exclusive() as engine:
                self._end_answer(engine)

    def _end_answer(self, engine: _core.Session) -> None:
        """Cuts the answer that goes on, if there is one."""
        if self._answer is None:
            return
        engine.interrupt()
        while engine.next() is not None:  # the rest of a character; nothing is computed
            pass
        self._close_answer(engine)

    def _close_answer(self, engine: _core.Session) -> None:
        answer = self._answer() if self._answer is not None else None
        if answer is not None:
            answer._finish(engine.stop_reason, self._read_timings(engine), engine.answer_hidden())
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
