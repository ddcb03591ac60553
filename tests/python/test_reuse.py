"""What chat() and sessions need not compute twice: conversations, pictures, tokens that can be guessed."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import ContextFullError, Model, SessionLimitError

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (61, 97, 3), dtype=np.uint8)
GREEDY: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1, "ignore_stop": True}
SYSTEM = {"role": "system", "content": "Be brief."}


def question(text: str, *media: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*media, text]}


def answered(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.fixture
def load(model_path: Path) -> Callable[..., Model]:
    return lambda **options: Model.load(model_path, n_threads=1, **options)


def test_a_longer_list_of_messages_reads_what_is_new(load: Callable[..., Model]) -> None:
    model, fresh = load(), load(keep_conversation=False)
    messages = [SYSTEM, question("What is this?", PICTURE)]
    first = model.chat(messages, max_new_tokens=6, **GREEDY)
    n_first = len(model.build_prompt(messages).ids)
    assert (first.timings.n_prompt, first.timings.n_reused) == (n_first, 0)
    assert first.timings.n_slice > 0
    for turn in range(3):
        before = model.build_prompt(messages).ids
        messages += [answered(f"It is {turn}."), question("And then?")]
        after = model.build_prompt(messages).ids
        n = min(len(before), len(after))
        n_common = int(np.argmin(before[:n] == after[:n]))  # the thoughts that opened an answer are gone
        assert n_common > len(before) - 10
        result = model.chat(messages, max_new_tokens=6, return_hidden=True, **GREEDY)
        assert result.timings.n_reused == n_common
        assert result.timings.n_prompt == len(after) - n_common
        assert result.timings.n_slice == 0
        expected = fresh.chat(messages, max_new_tokens=6, return_hidden=True, **GREEDY)
        assert expected.timings.n_reused == 0
        assert result.token_ids == expected.token_ids
        # Sums of float32 in another order: rows were read in batches of other sizes.
        np.testing.assert_allclose(result.hidden, expected.hidden, atol=1e-4, rtol=1e-4)


def test_another_conversation_keeps_what_is_the_same(load: Callable[..., Model]) -> None:
    model, fresh = load(), load(keep_conversation=False)
    options = {"max_new_tokens": 8, **GREEDY}
    model.chat([SYSTEM, question("one", PICTURE)], **options)
    other = PICTURE.copy()
    other[30, 50, 1] ^= 0x80
    for messages in (
        [SYSTEM, question("one", other)],
        [SYSTEM, question("two", PICTURE)],
        "Hi",
        [{"role": "system", "content": "Be long."}, question("two", PICTURE)],
    ):
        result = model.chat(messages, **options)
        assert result.token_ids == fresh.chat(messages, **options).token_ids
        assert result.timings.n_reused < len(model.build_prompt(messages).ids)
    # Other options of the context are another context.
    assert model.chat(messages, **options).timings.n_prompt == 0
    assert model.chat(messages, n_ctx=2000, **options).timings.n_reused == 0
    assert model.chat(messages, n_ctx=2000, kv_type="f16", **options).timings.n_reused == 0


def test_streams_and_answers_that_were_left_leave_their_conversation(load: Callable[..., Model]) -> None:
    model = load()
    messages = [question("Tell me a story.")]
    whole = model.chat(messages, max_new_tokens=12, **GREEDY)
    n_prompt = whole.timings.n_prompt
    answer = model.chat(messages, max_new_tokens=12, stream=True, **GREEDY)
    during = model.chat(messages, max_new_tokens=2, **GREEDY)  # the other one has the conversation
    assert during.timings.n_reused == 0
    assert [piece.token_id for piece in answer if piece.token_id >= 0] == whole.token_ids
    assert answer.timings.n_prompt == 0
    for leave in ("close", "drop"):
        answer = model.chat(messages, stream=True, **GREEDY)
        assert answer.timings.n_prompt == 0  # not known while it goes on
        for _ in range(3):
            next(answer)
        if leave == "close":
            answer.close()
            assert answer.stop_reason == "interrupted"
            answer.close()
        del answer
        gc.collect()
        again = model.chat(messages, max_new_tokens=12, **GREEDY)
        assert again.timings.n_reused == n_prompt
        assert again.token_ids == whole.token_ids


def test_a_refused_call_leaves_the_conversation(load: Callable[..., Model]) -> None:
    model = load()
    options = {"max_new_tokens": 2, "n_ctx": 512, **GREEDY}
    n = model.chat("Hi", **options).timings.n_prompt
    for error, bad in (
        (ContextFullError, {"messages": "a " * 600}),
        (ValueError, {"messages": "Hi", "top_p": 2}),
        (ValueError, {"messages": "Hi", "draft_tokens": 65}),
        (ValueError, {"messages": [{"role": "nobody", "content": "Hi"}]}),
    ):
        with pytest.raises(error):
            model.chat(**(options | bad))  # type: ignore[arg-type]
        assert model.chat("Hi", **options).timings.n_reused == n


def test_what_is_only_kept_makes_room(load: Callable[..., Model]) -> None:
    model = load(max_sessions=1)
    model.chat("Hi", max_new_tokens=2, **GREEDY)
    with model.session() as session:
        session.prefill("Hi")
        with pytest.raises(SessionLimitError):
            model.chat("Hi", max_new_tokens=2, **GREEDY)
        with pytest.raises(SessionLimitError):
            model.session()
    result = model.chat("Hi", max_new_tokens=2, **GREEDY)
    assert result.timings.n_reused == 0
    assert model.chat("Hi", max_new_tokens=2, n_ctx=600, **GREEDY).timings.n_reused == 0
    model.close()
    other = load(keep_conversation=False, max_sessions=1)
    for _ in range(2):
        assert other.chat("Hi", max_new_tokens=2, **GREEDY).timings.n_reused == 0
    with pytest.raises(TypeError, match="keep_conversation"):
        load(keep_conversation=1)


def test_threads_that_chat_get_what_each_gets_alone(load: Callable[..., Model]) -> None:
    model, alone = load(), load(keep_conversation=False)
    talks = [[SYSTEM, question(f"Question {i}", *([PICTURE] if i % 2 else []))] for i in range(4)]
    expected = [alone.chat(talk, max_new_tokens=8, **GREEDY).token_ids for talk in talks]
    wrong: list[Any] = []

    def run(which: int) -> None:
        for i in range(6):
            k = (which + i * which) % len(talks)
            got = model.chat(talks[k], max_new_tokens=8, **GREEDY).token_ids
            if got != expected[k]:
                wrong.append((k, got))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_picture_is_encoded_once_for_all_sessions(load: Callable[..., Model]) -> None:
    model, without = load(), load(media_cache_bytes=0)
    results = []
    for each in (model, model, without, without):
        with each.session() as session:
            session.prefill([question("What?", PICTURE)])
            results.append(session.generate_text(max_new_tokens=6, return_hidden=True, **GREEDY))
    first, second, third, fourth = results
    assert [r.timings.n_slice_found for r in results] == [0, first.timings.n_slice, 0, 0]
    assert len({r.timings.n_slice for r in results}) == 1
    for result in (second, third, fourth):
        assert result.token_ids == first.token_ids
        np.testing.assert_array_equal(result.hidden, first.hidden)
    # Fewer slices are other slices, but for the overview.
    with model.session() as session:
        session.prefill([question("What?", PICTURE)], max_slice_nums=1)
        assert session.timings.n_slice == 1
    for bad in (-1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="media_cache_bytes"):
            load(media_cache_bytes=bad)


def test_a_sound_is_encoded_once(load: Callable[..., Model]) -> None:
    model = load()
    if "audio" not in model.config["modules"]:
        pytest.skip("this model does not hear")
    sound = RNG.normal(0, 0.1, 16000 * 2).astype(np.float32)
    counts = []
    for _ in range(2):
        with model.session() as session:
            session.prefill([question("What?", sound)])
            counts.append((session.timings.n_audio, session.timings.n_audio_found))
    assert counts == [(20, 0), (20, 20)]


def test_guesses_change_the_passes_and_not_the_answer(load: Callable[..., Model]) -> None:
    model = load()
    messages = [
        SYSTEM,
        question("Say again: one two three four five six seven eight nine ten. " * 3, PICTURE),
    ]
    for sampling in (GREEDY, {"temperature": 0.5, "seed": 7, "ignore_stop": True}):
        plain = model.chat(messages, max_new_tokens=80, return_hidden=True, **sampling)
        assert plain.timings.n_drafted == plain.timings.n_confirmed == 0
        for n in (1, 8, 64):
            result = model.chat(messages, max_new_tokens=80, return_hidden=True, draft_tokens=n, **sampling)
            assert result.token_ids == plain.token_ids
            assert result.text == plain.text
            np.testing.assert_allclose(result.hidden, plain.hidden, atol=1e-4, rtol=1e-4)
            timings = result.timings
            assert timings.n_decoded == plain.timings.n_decoded
            assert 0 <= timings.n_confirmed <= timings.n_drafted
    for bad in (-1, 65, 2**31):
        with pytest.raises(ValueError, match=r"draft"):
            model.chat(messages, draft_tokens=bad)
    with pytest.raises(TypeError, match="draft_tokens"):
        model.chat(messages, draft_tokens=1.5)


def test_guesses_stream_as_tokens_do(load: Callable[..., Model]) -> None:
    model = load()
    with model.session() as session:
        session.prefill("ab ab ab ab ab ab")
        plain = session.snapshot()
        pieces = [list(session.generate(max_new_tokens=60, **GREEDY))]
        session.restore(plain)
        pieces.append(list(session.generate(max_new_tokens=60, draft_tokens=16, **GREEDY)))
        assert [p.token_id for p in pieces[0]] == [p.token_id for p in pieces[1]]
        assert pieces[0] == pieces[1]
        assert session.timings.n_confirmed > 0


def test_the_command_line_guesses(model_path: Path) -> None:
    pytest.importorskip("typer")
    outputs = []
    for draft in ("0", "8"):
        command = [sys.executable, "-m", "minicpmo_cpp.cli", "-m", str(model_path), "-p", "ab ab ab ab ab"]
        command += ["--draft", draft, "--temperature", "0", "--max-tokens", "40", "--json", "-t", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        outputs.append(json.loads(done.stdout))
    assert outputs[0]["token_ids"] == outputs[1]["token_ids"]
    assert outputs[0]["timings"]["n_drafted"] == 0
