"""Measures how a model sees, hears, reads and writes, through its public interface."""

from __future__ import annotations

import random
from time import perf_counter
from typing import Any

import numpy as np

from minicpmo_cpp.model import Model

SEED = 1
LOUDNESS = 0.1  # of noise: its standard deviation


class Understanding:
    """Each method measures one thing once, in seconds."""

    def __init__(self, model: Model, n_ctx: int) -> None:
        self._model = model
        self._session = model.session(n_ctx=n_ctx)
        self._random = random.Random(SEED)
        self._session.prefill("1")
        self._n_frame = self._session.n_past - 1  # tokens around the text of a message

    def vision(self, side: int, n_slice: int = 1) -> float:
        """From pixels of a square to the embeddings that the language model reads, n_slice times as many."""
        pixels = _picture(side)
        begin = perf_counter()
        embeddings = self._model.encode_image(pixels, max_slice_nums=max(1, n_slice - 1))
        seconds = perf_counter() - begin
        if len(embeddings) != n_slice:
            raise RuntimeError(f"[bench] expected {n_slice} slices, got {len(embeddings)}")
        return seconds

    def hear_chunks(self, n_sample: int, n_warm: int, n_chunk: int) -> list[float]:
        """Chunks of sound as they arrive in a live conversation, each to the embeddings it completes."""
        chunks = np.random.default_rng(SEED).normal(0.0, LOUDNESS, (n_chunk, n_sample)).astype(np.float32)
        spans = []
        with self._model.audio_stream(mode="duplex") as stream:
            for chunk in chunks[:n_warm]:
                stream.push(chunk)
            stream.reset()
            for chunk in chunks:
                begin = perf_counter()
                embeddings = stream.push(chunk)
                spans.append(perf_counter() - begin)
                if len(embeddings) == 0:
                    raise RuntimeError("[bench] expected embeddings of every chunk, got none")
        return spans

    def hear(self, n_sample: int, block_s: float) -> float:
        """One sound at once, from samples to the embeddings that the language model reads."""
        samples = np.random.default_rng(SEED).normal(0.0, LOUDNESS, n_sample).astype(np.float32)
        begin = perf_counter()
        self._model.encode_audio(samples, chunk_seconds=block_s)
        return perf_counter() - begin

    def prefill(self, n_token: int) -> float:
        """A message of so many tokens, framing included, into an empty session, up to the first logits."""
        text = self._digits(n_token - self._n_frame)
        self._session.reset()
        begin = perf_counter()
        self._session.prefill(text)
        seconds = perf_counter() - begin
        got = self._session.timings.n_prompt
        if got != n_token:
            raise RuntimeError(f"[bench] expected a prompt of {n_token} tokens, got {got}")
        return seconds

    def decode(self, n_token: int) -> float:
        """Tokens after what was read last, one by one, with greedy sampling."""
        answer = self._greedy(n_token + 2)
        next(answer)  # follows from the prompt's logits: nothing is computed for it
        next(answer)  # warms up
        begin = perf_counter()
        for _ in range(n_token):
            next(answer)
        seconds = perf_counter() - begin
        answer.close()
        return seconds

    def first_token(self, side: int, n_token: int) -> float:
        """From a square picture of one slice and so many tokens of text to the first of the answer."""
        message = {"role": "user", "content": [_picture(side), self._digits(n_token)]}
        self._session.reset()
        begin = perf_counter()
        self._session.prefill([message], max_slice_nums=1)
        answer = self._greedy(1)
        next(answer)
        seconds = perf_counter() - begin
        answer.close()
        return seconds

    @property
    def n_prompt(self) -> int:
        """Tokens of the prompt that was read last."""
        return self._session.timings.n_prompt

    def close(self) -> None:
        self._session.close()

    def _digits(self, n: int) -> str:
        """Text of so many tokens: the tokenizer gives every digit a token of its own."""
        return "".join(self._random.choices("0123456789", k=n))

    def _greedy(self, n_token: int) -> Any:
        return self._session.generate(
            max_new_tokens=n_token, temperature=0.0, repetition_penalty=1.0, ignore_stop=True
        )


def _picture(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(SEED).integers(0, 256, (side, side, 3), dtype=np.uint8)
