"""Measures what a conversation need not compute again, through the public interface."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from minicpmo_cpp.bench.understanding import SEED
from minicpmo_cpp.model import Model

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


class Saving:
    """Each method measures one thing once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._session = model.session(n_ctx=N_CONTEXT)
        self._random = np.random.default_rng(SEED)

    def turns(self, side: int) -> dict[str, float]:
        """Two turns about square pictures that nobody saw before: seconds to their first tokens, tokens read.

        Once with a session, and once with all messages given every time, as the official interface has it.
        """
        shown, other = (
            [self._random.integers(0, 256, (side, side, 3), dtype=np.uint8), QUESTION] for _ in "12"
        )
        self._session.reset()
        spans = {"first_turn": self._answer_to([{"role": "user", "content": shown}])}
        spans["second_turn"] = self._answer_to([{"role": "user", "content": QUESTION}])
        spans["second_turn_tokens"] = self._session.timings.n_prompt
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

    def copy(self, n_token: int, n_draft: int) -> dict[str, Any]:
        """An answer that says again what it read, if the model does as it is told.

        Returns its seconds, tokens (`n`), passes over the weights (`n_pass`) and `ids`.
        """
        self._session.reset()
        self._session.prefill(f"Repeat this text word for word, and nothing else:\n\n{TEXT}")
        answer = self._session.generate(max_new_tokens=n_token, draft_tokens=n_draft, **GREEDY)
        next(answer)
        begin = perf_counter()
        result = answer.result()
        seconds = perf_counter() - begin
        timings = result.timings
        n_pass = timings.n_decoded - timings.n_confirmed
        return {"s": seconds, "n": timings.n_decoded, "n_pass": n_pass, "ids": result.token_ids}

    def _answer_to(self, messages: list[dict[str, Any]]) -> float:
        """Seconds from the messages to the first token of the answer, which is then said to its end."""
        begin = perf_counter()
        self._session.prefill(messages, max_slice_nums=1)
        answer = self._session.generate(max_new_tokens=N_ANSWER, **GREEDY)
        next(answer)
        seconds = perf_counter() - begin
        answer.result()
        return seconds
