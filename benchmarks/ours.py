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
N_ANSWER = 16  # tokens of a turn's answer
N_CONTEXT = 1024  # tokens of the conversations that go on, and of answers that copy
GREEDY: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "ignore_stop": True}
QUESTION = (
    "What is in this picture, what stands in front of it, and which parts of it would you look at twice?"
)
TEXT = """\
A lighthouse keeper writes down the weather every three hours. On the first page of the book stands the year,
on the second the names of the ships that passed, on the third the wind: its strength, where it came from, and
whether it turned during the night. Nobody reads the book in winter. In spring a boat comes from the harbour,
takes the full book away and leaves an empty one, and the man who rows it always asks the same question: was
it a quiet winter? It was, the keeper says, and looks at the sea."""


class Ours:
    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._n_frame = 0  # tokens around the text of a message

    def load(self, *, model: str, n_threads: int, n_ctx: int) -> dict[str, Any]:
        begin = perf_counter()
        self._model = Model.load(model, device="cpu", n_threads=n_threads)
        self._session = self._model.session(n_ctx=n_ctx)
        seconds = perf_counter() - begin
        self._talk = self._model.session(n_ctx=N_CONTEXT)
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

    def turns(self) -> dict[str, Any]:
        """Two turns about a picture that nobody saw before: seconds to their first tokens, tokens read."""
        shape = (SIDE, SIDE, 3)
        pictures = [np.frombuffer(self._random.randbytes(SIDE * SIDE * 3), np.uint8) for _ in range(2)]
        shown, other = ([picture.reshape(shape), QUESTION] for picture in pictures)
        self._talk.reset()
        spans = {"first_turn": self._answer_to([{"role": "user", "content": shown}])}
        spans["second_turn"] = self._answer_to([{"role": "user", "content": QUESTION}])
        spans["second_turn_tokens"] = self._talk.timings.n_prompt
        # The same with all messages every time, as the official interface has it.
        talk: list[dict[str, Any]] = [{"role": "user", "content": other}]
        options = {"max_new_tokens": N_ANSWER, "max_slice_nums": 1, "n_ctx": N_CONTEXT, **GREEDY}
        said = self._model.chat(talk, **options)
        talk += [{"role": "assistant", "content": said.text}, {"role": "user", "content": QUESTION}]
        begin = perf_counter()
        answer = self._model.chat(talk, stream=True, **options)
        next(answer)
        spans["second_chat"] = perf_counter() - begin
        answer.close()
        spans["second_chat_tokens"] = answer.timings.n_prompt
        return spans

    def _answer_to(self, messages: list[dict[str, Any]]) -> float:
        """Seconds from the messages to the first token of the answer, which is then said to its end."""
        begin = perf_counter()
        self._talk.prefill(messages, max_slice_nums=1)
        answer = self._talk.generate(max_new_tokens=N_ANSWER, **GREEDY)
        next(answer)
        seconds = perf_counter() - begin
        answer.result()
        return seconds

    def copy(self, *, n_token: int, n_draft: int) -> dict[str, Any]:
        """An answer that says again what it read, if the model does as it is told."""
        self._talk.reset()
        self._talk.prefill(f"Repeat this text word for word, and nothing else:\n\n{TEXT}")
        answer = self._talk.generate(max_new_tokens=n_token, draft_tokens=n_draft, **GREEDY)
        next(answer)
        begin = perf_counter()
        result = answer.result()
        seconds = perf_counter() - begin
        timings = result.timings
        n_pass = timings.n_decoded - timings.n_confirmed
        return {"s": seconds, "n": timings.n_decoded, "n_pass": n_pass, "ids": result.token_ids}


if __name__ == "__main__":
    serve(Ours())
