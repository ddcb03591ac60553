"""DuplexSession: a conversation in both directions at once, a second at a time."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import _core
from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.duplex_options import (
    DuplexOptions,
    UnitOptions,
    open_session,
    rules_of,
    sampling_of,
    unit_options,
)
from minicpmo_cpp.exclusive import Exclusive
from minicpmo_cpp.image import to_pixels
from minicpmo_cpp.options import flag, integer
from minicpmo_cpp.types import Samples

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minicpmo_cpp.model import Model

SYSTEM_PROMPT = "Streaming Omni Conversation."


@dataclass(frozen=True)
class UnitTimings:
    """Where the time of one unit went, in seconds."""

    vision_s: float = 0.0
    audio_s: float = 0.0
    prefill_s: float = 0.0  # the language model reads what was seen and heard
    decode_s: float = 0.0  # it decides and writes
    codes_s: float = 0.0  # speech codes
    flow_s: float = 0.0  # spectra of them
    vocoder_s: float = 0.0  # samples of those
    total_s: float = 0.0  # of step(); of pushed input, from its last sample on


@dataclass(frozen=True, eq=False)
class DuplexChunk:
    """What became of one unit: one second."""

    unit: int  # of the conversation, from 0
    is_listen: bool
    text: str  # what was said; empty while the model listens
    audio: Samples | None  # float32 [n] at sample_rate; None where nothing is said
    sample_rate: int
    end_of_turn: bool
    is_interrupted: bool  # what was to be said was cut
    listen_probability: float  # of the decision, before it was drawn
    speak_probability: float
    token_ids: list[int]  # the decision first, what closed the unit last
    n_past: int  # tokens in the context after the unit
    n_dropped_units: int  # that the window then forgot
    timings: UnitTimings
    # Of pushed input alone:
    latency_s: float = 0.0  # from the last sample of the unit to its sound
    is_late: bool = False  # that was longer than the unit
    n_dropped_frames: int = 0  # of the unit's frames, to keep up
    n_queued: int = 0  # units that waited behind this one


class DuplexSnapshot:
    """A place in a conversation, see DuplexSession.snapshot."""

    def __init__(self, engine: _core.DuplexSnapshot) -> None:
        self._engine = engine


class DuplexSession:
    """A conversation in full duplex. One thread at a time; interrupt() from any, pushing from one more.

    Example:
        >>> session = model.duplex(voice="me.wav", window="basic")
        >>> session.prepare("You are a helpful assistant.")
        >>> for second, frame in zip(seconds, frames):  # 16000 samples and a picture each
        ...     chunk = session.step(second, [frame])
        ...     print("listens" if chunk.is_listen else chunk.text)

    Reference: MiniCPMODuplex of the official code.
    """

    def __init__(self, model: Model, voice: Any, options: DuplexOptions) -> None:
        """Users call Model.duplex()."""
        self._model = model
        self._options = unit_options(options)
        engine = open_session(model._open(), model.config["llm"]["n_ctx_train"], self._options, options)
        self._engine: _core.DuplexSession | None = engine
        self._voice = voice
        self._stream: _core.DuplexStream | None = None
        self._lock = Exclusive("duplex session")
        self._opening = threading.Lock()

    def prepare(
        self,
        system_prompt: str | None = None,
        *,
        prefix: str | None = None,
        suffix: str | None = None,
        voice: Any = None,
        reference: Any = None,
    ) -> None:
        """Begins a conversation; the one before is over.

        Args:
            system_prompt: what it is about; SYSTEM_PROMPT if None. The tags are put around it.
            prefix: instead, the whole text before the reference recording, tags included.
            suffix: the whole text behind it.
            voice: that speaks, as in Model.chat(voice=); if None, that of the session, else the first of the
                model's voices. Not needed where nothing is said.
            reference: the recording that tells the language model how it sounds: anything that encode_audio
                takes; if None, that of the voice, if it has one; False for none.

        Raises:
            ContextFullError: there is no room for the prompt.
        """
        if system_prompt is not None and prefix is not None:
            raise ValueError("[duplex] expected system_prompt or prefix, got both")
        for name, value in (("system_prompt", system_prompt), ("prefix", prefix), ("suffix", suffix)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"[duplex] expected a str, got {type(value).__name__} ({name})")
        heard = None
        if reference is not None and reference is not False:
            heard = to_samples(reference, allow_remote=self._model.allow_remote)
        with self._exclusive() as engine:
            self._end_stream()
            chosen = None
            if self._speaks:
                chosen = self._model._open_voices().choose(self._voice if voice is None else voice, heard)
                if reference is None and len(chosen.samples):
                    heard = chosen.samples
            has_sound = heard is not None
            if prefix is None:
                text = SYSTEM_PROMPT if system_prompt is None else system_prompt
                prefix = f"<|im_start|>system\n{text}" + ("\n<|audio_start|>" if has_sound else "")
            if suffix is None:
                suffix = "<|audio_end|><|im_end|>" if has_sound else "<|im_end|>"
            engine.prepare(prefix, suffix, heard, None if chosen is None else chosen._engine)

    def step(
        self,
        audio: Any = None,
        frames: Sequence[Any] = (),
        text: str | None = None,
        *,
        max_slice_nums: int | Sequence[int] = 1,
        force_listen: bool = False,
    ) -> DuplexChunk:
        """One unit: what was seen and heard in a second, and what the model makes of it.

        Args:
            audio: unit_samples samples at 16 kHz, mono: floats, or anything that encode_audio takes; or None.
            frames: pictures, in the order in which they are seen.
            text: that the user writes.
            max_slice_nums: most slices of each frame, 1 to 64: one number, or one a frame.
            force_listen: says nothing; a turn that goes on ends.

        Raises:
            ContextFullError: there is no room for the unit; a window makes room.
            ValueError: the sound has another length, or nothing was given.
        """
        frames = list(frames) if isinstance(frames, (list, tuple)) else [frames]
        if isinstance(max_slice_nums, (list, tuple)):
            slices = [integer("max_slice_nums", n) for n in max_slice_nums]
        else:
            slices = [integer("max_slice_nums", max_slice_nums)] * len(frames)
        if len(slices) != len(frames):
            raise ValueError(
                f"[duplex] expected a max_slice_nums for each of {len(frames)} frames, got {len(slices)}"
            )
        if text is not None and not isinstance(text, str):
            raise TypeError(f"[duplex] expected a str, got {type(text).__name__} (text)")
        force_listen = flag("force_listen", force_listen)
        pictures = [(self._pixels(frame), n) for frame, n in zip(frames, slices, strict=True)]
        heard = None if audio is None else self._samples(audio)
        with self._exclusive() as engine:
            self._check_quiet()
            return self._chunk(engine.step(heard, pictures, text or "", force_listen))

    def push_audio(self, samples: Any, timeout: float | None = None) -> None:
        """Hears some more: the session then runs by itself, and chunks() has what becomes of each second.

        Sound is never lost: where too much of it waits, this waits too.

        Args:
            samples: any number of them, at 16 kHz, mono: floats, or anything that encode_audio takes.
            timeout: most seconds to wait for room.

        Raises:
            TimeoutError: there was no room; nothing was taken.
            MiniCPMOError: what the engine could not do with what was pushed before.
        """
        heard = self._samples(samples)
        if not self._open_stream().push_audio(heard, timeout):
            raise TimeoutError(f"[duplex] expected room for {len(heard)} samples, got none in {timeout} s")

    def push_frame(self, image: Any, max_slice_nums: int = 1) -> None:
        """Sees a picture in the second that arrives now. Where the engine falls behind, frames go."""
        pixels = self._pixels(image)
        self._open_stream().push_frame(pixels, integer("max_slice_nums", max_slice_nums, 1, 64))

    def finish(self) -> None:
        """No more is pushed: silence fills the last second up, and chunks() ends behind it."""
        self._open_stream().finish()

    def chunks(self) -> Iterator[DuplexChunk]:
        """What becomes of pushed input, unit by unit, each waited for; ends when finish() was called.

        Raises:
            MiniCPMOError: what the engine could not do, once the units before it were given; the conversation
                is then to be prepared anew.
        """
        stream = self._open_stream()
        try:
            while (facts := stream.next()) is not None:
                yield self._chunk(facts)
        except MiniCPMOError:
            self._end_stream(stream)
            raise
        self._end_stream(stream)

    async def __aiter__(self) -> AsyncIterator[DuplexChunk]:
        chunks = self.chunks()
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk

    def set_options(self, **options: Unpack[UnitOptions]) -> None:
        """Changes how the units to come are written: any of the keywords in UnitOptions, see Model.duplex."""
        with self._exclusive() as engine:
            self._check_quiet()
            changed = self._options | options
            engine.set_sampling(sampling_of(changed))
            engine.set_rules(rules_of(changed))
            self._options = changed

    def interrupt(self) -> None:
        """Cuts speech: the unit that is written now, or else the next one, ends the turn and listens.

        What was written and not said yet is not said; what is seen and heard goes on. Any thread.
        """
        engine = self._engine
        if engine is not None:
            engine.interrupt()

    def snapshot(self) -> DuplexSnapshot:
        """A place to come back to with restore(). Cheap, but for a turn that is being said."""
        with self._exclusive() as engine:
            self._check_quiet()
            return DuplexSnapshot(engine.snapshot())

    def restore(self, snapshot: DuplexSnapshot) -> None:
        """Goes back; what follows is what would have followed then. Any number of times.

        Raises:
            ValueError: the window has forgotten part of it, or it is another session's.
        """
        if not isinstance(snapshot, DuplexSnapshot):
            raise TypeError(f"[duplex] expected a DuplexSnapshot, got {type(snapshot).__name__}")
        with self._exclusive() as engine:
            self._check_quiet()
            engine.restore(snapshot._engine)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole conversation to a file."""
        with self._exclusive() as engine:
            self._check_quiet()
            engine.save(os.fsdecode(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Goes on with a saved conversation: of the same model file, and a session with the same options.

        Raises:
            ModelFileError: the file is none, damaged, or of another model; there is then no conversation.
        """
        with self._exclusive() as engine:
            self._end_stream()
            engine.load(os.fsdecode(path))

    def close(self) -> None:
        """Frees the conversation's memory; the session cannot be used any more."""
        self.interrupt()
        with self._exclusive():
            self._end_stream()
            self._engine = None

    @property
    def unit_samples(self) -> int:
        """Samples at 16 kHz that a unit hears."""
        return self._open().unit_samples

    @property
    def sample_rate(self) -> int:
        """Of what is said, in Hz; 0 where nothing is."""
        return self._open().sample_rate

    @property
    def unit(self) -> int:
        """Units so far."""
        return self._open().n_units

    @property
    def is_speaking(self) -> bool:
        """Whether the model's turn goes on."""
        return self._open().is_speaking

    @property
    def n_past(self) -> int:
        """Tokens in the context."""
        return self._open().n_past

    @property
    def n_ctx(self) -> int:
        """Most tokens in the context."""
        return self._open().n_ctx

    def __enter__(self) -> DuplexSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            self.close()

    @property
    def _speaks(self) -> bool:
        return self._open().sample_rate > 0

    def _samples(self, audio: Any) -> Samples:
        if isinstance(audio, np.ndarray) and audio.ndim == 1 and audio.dtype == np.float32:
            return np.ascontiguousarray(audio)
        return to_samples(audio, allow_remote=self._model.allow_remote)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        return to_pixels(image, allow_remote=self._model.allow_remote)

    def _chunk(self, facts: dict[str, Any]) -> DuplexChunk:
        timings = UnitTimings(**facts.pop("timings"))
        return DuplexChunk(sample_rate=self.sample_rate, timings=timings, **facts)

    def _open(self) -> _core.DuplexSession:
        if self._engine is None:
            raise MiniCPMOError("[duplex] expected an open session, got a closed one")
        return self._engine

    def _open_stream(self) -> _core.DuplexStream:
        with self._opening:  # who pushes and who takes may come at the same time
            if self._stream is None:
                with self._exclusive() as engine:
                    self._stream = _core.DuplexStream(engine)
            return self._stream

    def _end_stream(self, stream: _core.DuplexStream | None = None) -> None:
        """The stream that runs, or this one if it is it: what is not done is dropped."""
        if stream is None or stream is self._stream:
            self._stream = None

    def _check_quiet(self) -> None:
        if self._stream is not None:
            raise MiniCPMOError(
                "[duplex] expected no pushed input that is not done, got some: finish() it first"
            )

    @contextmanager
    def _exclusive(self) -> Iterator[_core.DuplexSession]:
        with self._lock:
            yield self._open()
