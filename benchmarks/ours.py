"""Measures minicpmo_cpp through its public interface; bench.py starts it."""

from __future__ import annotations

import random
from time import perf_counter
from typing import Any

import numpy as np
from minicpmo_cpp import Model, __version__
from protocol import SEED, SIDE, serve


class Ours:
    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._n_frame = 0  # tokens around the text of a message

    def load(self, *, model: str, n_threads: int, n_ctx: int) -> dict[str, Any]:
        begin = perf_counter()
        self._model = Model.load(model, device="cpu", n_threads=n_threads)
        self._session = self._model.session(n_ctx=n_ctx)
        seconds = perf_counter() - begin
        self._session.prefill("1")
        self._n_frame = self._session.n_past - 1
        return {"s": seconds, "version": __version__}

    def vision(self) -> dict[str, Any]:
        """From pixels to the embeddings that the language model reads."""
        pixels = np.random.default_rng(SEED).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        begin = perf_counter()
        embeddings = self._model.encode_image(pixels, max_slice_nums=1)
        seconds = perf_counter() - begin
        if len(embeddings) != 1:
            raise RuntimeError(f"[bench] expected one slice, got {len(embeddings)}")
        return {"s": seconds}

    def prefill(self, *, n_token: int) -> dict[str, Any]:
        """A message of so many tokens, framing included, into an empty session, up to the first logits."""
        # The tokenizer gives every digit a token of its own.
        text = "".join(self._random.choices("0123456789", k=n_token - self._n_frame))
        self._session.reset()
        begin = perf_counter()
        self._session.prefill(text)
        seconds = perf_counter() - begin
        got = self._session.timings.n_prompt
        if got != n_token:
            raise RuntimeError(f"[bench] expected a prompt of {n_token} tokens, got {got}")
        return {"s": seconds}

    def decode(self, *, n_token: int) -> dict[str, Any]:
        """Tokens after what was read last, one by one, with greedy sampling."""
        answer = self._session.generate(
            max_new_tokens=n_token + 2, temperature=0.0, repetition_penalty=1.0, ignore_stop=True
        )
        next(answer)  # follows from the prompt's logits: nothing is computed for it
        next(answer)  # warms up
        begin = perf_counter()
        for _ in range(n_token):
            next(answer)
        seconds = perf_counter() - begin
        answer.close()
        return {"s": seconds}


if __name__ == "__main__":
    serve(Ours())
