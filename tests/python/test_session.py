from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import ContextFullError, GenerationInterruptedError, MiniCPMOError, Model

PICTURE = np.random.default_rng(1).integers(0, 256, (61, 97, 3), dtype=np.uint8)
GREEDY: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1, "ignore_stop": True}
ANSWER_BEGINS = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_the_first_turn_is_a_chat(model: Model) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [PICTURE, "What?"]}]
    whole = model.chat(messages, max_new_tokens=1, **GREEDY)
    session = model.session()
    session.prefill(messages)
    # One token, the likeliest: the prompt is read in other pieces here, so its last bits may differ.
    assert session.generate_text(max_new_tokens=1, **GREEDY).token_ids == whole.token_ids
    assert session.n_past == len(model.build_prompt(messages).ids)


def test_the_second_turn_reads_what_the_first_left(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    first = session.generate_text(max_new_tokens=5, **GREEDY).token_ids
    session.prefill("Two")
    second = session.generate_text(max_new_tokens=5, **GREEDY).token_ids
    ids = [*model.tokenize("<|im_start|>user\nOne" + ANSWER_BEGINS), *first]
    ids += model.tokenize("<|im_end|>\n<|im_start|>user\nTwo" + ANSWER_BEGINS)
    assert session.n_past == len(ids) + 4  # the last token of an answer is read with the next turn
    for token in second:
        assert token == int(model.forward(ids=ids).logits.argmax())
        ids.append(token)


def test_a_user_message_after_another_continues_the_turn(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    session.prefill([{"role": "user", "content": " and two"}])
    assert session.n_past == len(model.tokenize("<|im_start|>user\nOne")) + len(model.tokenize(" and two"))


def test_reset_forgets(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    first = session.generate_text(max_new_tokens=6, seed=1).text
    session.reset()
    assert session.n_past == 0
    session.prefill("One")
    assert session.generate_text(max_new_tokens=6, seed=1).text == first


def test_nothing_read_is_nothing_to_answer(model: Model) -> None:
    with pytest.raises(ValueError, match="prefill"):
        model.session().generate()


def test_leaving_an_answer_ends_it(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    for n, _ in enumerate(session.generate(ignore_stop=True)):
        if n == 3:
            break
    n_past = session.n_past
    session.prefill("Two")
    tail = len(model.tokenize("<|im_end|>\n<|im_start|>user\nTwo"))
    assert session.n_past == n_past + 1 + tail
    assert session.generate_text(max_new_tokens=2, **GREEDY).stop_reason == "length"


def test_closing_an_answer_ends_it(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    with session.generate(ignore_stop=True) as answer:
        first = next(answer)
    assert answer.stop_reason == "interrupted"
    assert list(answer) == []
    assert answer.result().text == first
    assert answer.timings.n_prompt > 0
    answer.close()


def test_a_later_call_ends_the_answer_and_is_not_ended_by_it(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    old = session.generate(ignore_stop=True)
    next(old)
    session.prefill("Two")
    new = session.generate(ignore_stop=True, max_new_tokens=4)
    next(new)
    assert old.stop_reason == "interrupted"
    old.close()
    del old
    assert len(list(new)) >= 3
    assert new.stop_reason == "length"


def test_interrupt_ends_an_answer_from_another_thread(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    pieces = []
    for piece in session.generate(max_new_tokens=10000, **GREEDY):
        pieces.append(piece)
        if len(pieces) == 5:
            thread = threading.Thread(target=session.interrupt)
            thread.start()
            thread.join()
    assert len(pieces) in (5, 6)
    session.prefill("Two")
    assert len(session.generate_text(max_new_tokens=3, **GREEDY).token_ids) == 3


def test_interrupt_stops_a_prefill_and_leaves_the_conversation_as_it_was(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    n_past = session.n_past
    caught: list[BaseException] = []

    def read() -> None:
        try:
            session.prefill("word " * 12000)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    deadline = time.monotonic() + 60
    while session.progress.n_token < 12000 and time.monotonic() < deadline:
        time.sleep(0.001)
    with pytest.raises(MiniCPMOError, match="one thread at a time"):
        session.reset()
    session.interrupt()
    thread.join()
    assert [type(error) for error in caught] == [GenerationInterruptedError]
    assert session.n_past == n_past
    assert len(session.generate_text(max_new_tokens=2, **GREEDY).token_ids) == 2


def test_a_full_context_leaves_the_conversation_as_it_was(model: Model) -> None:
    with model.session(n_ctx=64) as session:
        assert session.n_ctx == 64
        session.prefill("One")
        n_past = session.n_past
        with pytest.raises(ContextFullError):
            session.prefill("word " * 100)
        assert session.n_past == n_past
        assert len(session.generate_text(max_new_tokens=2, **GREEDY).token_ids) == 2


def test_an_answer_that_fills_the_context_fails_and_ends(model: Model) -> None:
    session = model.session(n_ctx=40)
    session.prefill("One")
    answer = session.generate(**GREEDY)
    with pytest.raises(ContextFullError):
        answer.result()
    assert answer.stop_reason == "length"
    assert answer.token_ids
    session.reset()
    session.prefill("One")
    assert len(session.generate_text(max_new_tokens=2, **GREEDY).token_ids) == 2


def test_progress_ends_at_its_totals(model: Model) -> None:
    session = model.session()
    session.prefill([{"role": "user", "content": [PICTURE, PICTURE, "Compare."]}])
    progress = session.progress
    assert progress.n_slice_done == progress.n_slice == 2
    assert progress.n_token_done == progress.n_token == session.n_past


def test_a_closed_session_says_so(model: Model) -> None:
    session = model.session()
    session.prefill("One")
    answer = session.generate(ignore_stop=True)
    next(answer)
    session.close()
    assert answer.stop_reason == "interrupted"
    session.interrupt()
    with pytest.raises(MiniCPMOError, match="closed"):
        session.prefill("Two")


def test_unknown_keywords_are_refused(model: Model) -> None:
    session: Any = model.session()
    with pytest.raises(TypeError, match="max_slices"):
        session.prefill("One", max_slices=1)
    with pytest.raises(TypeError, match="top_q"):
        session.generate(top_q=1)


def test_hidden_states_belong_to_their_tokens(model: Model) -> None:
    prompt = model.build_prompt("Say something.")
    result = model.chat(
        "Say something.", max_new_tokens=6, temperature=0, ignore_stop=True, return_hidden=True
    )
    assert result.hidden is not None
    assert result.hidden.shape == (5, model.config["llm"]["n_embd"])  # the sixth was never read
    whole = model.forward(ids=[*prompt.ids, *result.token_ids[:5]])
    # Decoding multiplies one row at a time, in another order of additions than the whole at once.
    np.testing.assert_allclose(
        result.hidden, whole.hidden[-5:], rtol=0, atol=2e-2 * np.abs(whole.hidden).max()
    )
    assert model.chat("Say something.", max_new_tokens=3).hidden is None
