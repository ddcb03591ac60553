"""The stages of a model, each with what it takes and how to measure it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np

from minicpmo_cpp.bench.model_work import ModelWork
from minicpmo_cpp.bench.speaking import Speaking
from minicpmo_cpp.bench.understanding import Understanding
from minicpmo_cpp.bench.work import Work
from minicpmo_cpp.model import Model

SIDE = 448  # pixels of the picture: one slice
PROMPTS = (128, 512)  # tokens
N_DECODE = 32
N_QUESTION = 32  # tokens of text beside the picture
N_SPARE = 128  # of room beside the longest prompt
PIECE_S, BLOCK_S = 30.0, 1.0  # of sound that is heard at once; how far ahead a moment of it sees
N_WARM_CHUNK, N_CHUNK = 3, 20
N_CONDITION, N_WARM_CODE, N_CODE = 10, 25, 100
STEPS = (10, 5)
VOICE_S = 3.0
N_WARM_WINDOW, N_WINDOW = 2, 3  # from the third window on the flow's memory is full

NAMES = (
    *("load", "vision", *(f"prefill-{n}" for n in PROMPTS), "decode", "first-token"),
    *("audio-chunk", "audio-30s", "codes", *(f"token2wav-{n}" for n in STEPS)),
)


@dataclass
class Stage:
    name: str
    run: Callable[[], float]  # measures once, in seconds
    parts: Callable[[], tuple[Work, ...]]  # what it takes, one after another; known after the first run
    amount: float = 1.0  # of what is made in these seconds
    unit: str = ""  # of that a second; empty where a rate says nothing
    note: str = ""  # why it has no limit
    samples: list[float] = field(default_factory=list)


def _known(*parts: Work) -> Callable[[], tuple[Work, ...]]:
    return lambda: parts


class Stages:
    """What a model can do, opened once."""

    def __init__(self, model: Model, reopen: Callable[[], Model]) -> None:
        self._model, self._reopen = model, reopen
        self._work = ModelWork(model)
        longest = max(PROMPTS) + N_SPARE
        self._n_ctx = min(longest, model.config["llm"]["n_ctx_train"])
        self._understanding = Understanding(model, self._n_ctx)
        self._speaking = Speaking(model) if self._work.speech is not None else None

    def chosen(self, names: Sequence[str]) -> Iterator[Stage]:
        """In the order of NAMES, without those that are absent()."""
        found = {stage.name: stage for stage in self._all()}
        return (found[name] for name in NAMES if name in names and name in found)

    def absent(self) -> dict[str, str]:
        """Stages that this model does not have, and why."""
        found = {stage.name for stage in self._all()}
        return {name: self._reason(name) for name in NAMES if name not in found}

    def close(self) -> None:
        self._understanding.close()

    def _reason(self, name: str) -> str:
        if name.startswith("prefill"):
            return f"the model's context has {self._n_ctx} tokens"
        if name.startswith("audio"):
            return "the model does not hear"
        if name in ("vision", "first-token"):
            return "the model does not see"
        return "the model does not speak, or not with codes of a flow"

    def _all(self) -> Iterator[Stage]:
        yield Stage("load", self._load, _known(), note="it reads headers; weights come when they are used")
        yield from self._seeing()
        for n in PROMPTS:
            if n + N_DECODE + 2 <= self._n_ctx:
                yield self._prefill(n)
        yield Stage("decode", self._decode, _known(self._work.decoder.of_token()), unit="tok/s")
        yield from self._hearing()
        yield from self._talking()

    def _load(self) -> float:
        begin = perf_counter()
        opened = self._reopen()
        seconds = perf_counter() - begin
        opened.close()
        return seconds

    def _prefill(self, n: int) -> Stage:
        return Stage(
            f"prefill-{n}",
            lambda: self._understanding.prefill(n),
            _known(self._work.decoder.of_prefill(n)),
            amount=n,
            unit="tok/s",
        )

    def _decode(self) -> float:
        self._understanding.prefill(min(PROMPTS[0], self._n_ctx // 2))
        return self._understanding.decode(N_DECODE) / N_DECODE

    def _seeing(self) -> Iterator[Stage]:
        vision, subject = self._work.vision, self._understanding
        if vision is None:
            return
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        n_patch = sum(
            rows * cols for rows, cols in self._model._open().prepare_image(pixels, 1)["target_sizes"]
        )
        slice_work = vision.of_slice(n_patch)
        yield Stage("vision", lambda: subject.vision(SIDE), _known(slice_work), unit="slices/s")
        yield Stage(
            "first-token",
            lambda: subject.first_token(SIDE, N_QUESTION),
            lambda: (slice_work, self._work.decoder.of_prefill(subject.n_prompt)),
        )

    def _hearing(self) -> Iterator[Stage]:
        audio, subject = self._work.audio, self._understanding
        if audio is None:
            return
        n_sample = round(audio.chunk_s * audio.sample_rate)
        yield Stage(
            "audio-chunk",
            lambda: median(subject.hear_chunks(n_sample, N_WARM_CHUNK, N_CHUNK)),
            _known(audio.of_chunk(N_CHUNK // 2)),
            amount=audio.chunk_s,
            unit="s of sound/s",
        )
        yield Stage(
            "audio-30s",
            lambda: subject.hear(round(PIECE_S * audio.sample_rate), BLOCK_S),
            _known(audio.of_piece(PIECE_S, BLOCK_S)),
            amount=PIECE_S,
            unit="s of sound/s",
        )

    def _talking(self) -> Iterator[Stage]:
        work, subject = self._work.speech, self._speaking
        if work is None or subject is None:
            return
        yield Stage(
            "codes",
            lambda: subject.codes(N_CONDITION, N_WARM_CODE, N_CODE) / N_CODE,
            _known(work.of_code()),
            unit="codes/s",
        )
        n_voice, vocoder = round(VOICE_S * work.code_rate), work.of_window_vocoder(N_WARM_WINDOW)
        for n_step in STEPS:
            yield Stage(
                f"token2wav-{n_step}",
                partial(self._window, subject, n_voice, n_step),
                _known(work.of_window_flow(N_WARM_WINDOW, n_voice, n_step), vocoder),
                amount=work.chunk_codes / work.code_rate,
                unit="s of sound/s",
            )

    @staticmethod
    def _window(subject: Speaking, n_voice: int, n_step: int) -> float:
        if not subject.has_voice(n_step):
            subject.hear_voice(n_voice, n_step)
        return subject.windows(n_step, N_WARM_WINDOW, N_WINDOW).whole_s
