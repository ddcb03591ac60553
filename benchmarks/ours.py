"""Measures minicpmo_cpp through its public interface; bench.py starts it."""

from __future__ import annotations

import random
from dataclasses import fields
from time import perf_counter
from typing import Any

import numpy as np
from audio_work import AudioSizes
from minicpmo_cpp import Model, __version__
from protocol import SEED, SIDE, serve

LOUDNESS = 0.1  # of noise: its standard deviation


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
        return {"s": seconds, "version": __version__, "audio": self._audio_sizes()}

    def _audio_sizes(self) -> dict[str, Any] | None:
        """As audio_work.AudioSizes takes them."""
        config = self._model.config
        if "audio" not in config["modules"]:
            return None
        names = {field.name for field in fields(AudioSizes)} - {"n_embd_llm"}
        sizes = {name: value for name, value in config["audio"].items() if name in names}
        return sizes | {"n_embd_llm": config["llm"]["n_embd"]}

    def vision(self) -> dict[str, Any]:
        """From pixels to the embeddings that the language model reads."""
        pixels = np.random.default_rng(SEED).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        begin = perf_counter()
        embeddings = self._model.encode_image(pixels, max_slice_nums=1)
        seconds = perf_counter() - begin
        if len(embeddings) != 1:
            raise RuntimeError(f"[bench] expected one slice, got {len(embeddings)}")
        return {"s": seconds}

    def hear_chunks(self, *, n_sample: int, n_warm: int, n_chunk: int) -> dict[str, Any]:
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
        return {"s": spans}

    def hear(self, *, n_sample: int, block_s: float) -> dict[str, Any]:
        """One sound at once, from samples to the embeddings that the language model reads."""
        samples = np.random.default_rng(SEED).normal(0.0, LOUDNESS, n_sample).astype(np.float32)
        begin = perf_counter()
        self._model.encode_audio(samples, chunk_seconds=block_s)
        return {"s": perf_counter() - begin}

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
