"""Talking by turns with the official streaming calls, on the built-in demo model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import minicpmo_cpp
import numpy as np
import pytest
from minicpmo_cpp import Model
from minicpmo_cpp.official import MiniCPMO

DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
PICTURE = np.zeros((61, 97, 3), np.uint8)
WRITTEN: dict[str, Any] = {"generate_audio": False, "do_sample": False, "max_new_tokens": 6}
SPOKEN: dict[str, Any] = {"generate_audio": True, "do_sample": False, "max_new_tokens": 3, "seed": 1}


def sound(seconds: float) -> np.ndarray:
    return (0.1 * np.sin(np.arange(int(16000 * seconds)) / 9)).astype(np.float32)


@pytest.fixture
def model() -> MiniCPMO:
    model = MiniCPMO(Model.load(DEMO, n_threads=1))
    model.init_tts(streaming=True, n_timesteps=1)
    return model


def say(model: MiniCPMO, *content: Any, session_id: str = "a", **options: Any) -> str:
    return model.streaming_prefill(session_id, [{"role": "user", "content": [*content]}], **options)


def n_past(model: MiniCPMO) -> int:
    assert model._session is not None
    return model._session.n_past


def test_what_was_read_is_returned(model: MiniCPMO) -> None:
    assert say(model, "See", PICTURE, sound(1)) == "See<image>./</image><audio>./</audio>"
    assert say(model, "one", "two", omni_mode=False) == "one\ntwo"
    assert say(model, sound(0.5), is_last_chunk=True) == "<audio>./</audio>"
    system = [{"role": "system", "content": ["Be brief.", sound(1)]}]
    assert model.streaming_prefill("b", system, is_last_chunk=True) == "Be brief.<audio>./</audio>"


def test_a_picture_is_one_slice_without_a_number(model: MiniCPMO) -> None:
    say(model, "a")
    before = n_past(model)
    say(model, np.zeros((900, 900, 3), np.uint8))
    assert n_past(model) - before == 64 + 2  # <image> and </image>
    say(model, np.zeros((900, 900, 3), np.uint8), max_slice_nums=4)
    assert n_past(model) - before > 4 * 66


def test_special_tokens_count_as_such(model: MiniCPMO) -> None:
    say(model, "a")
    before = n_past(model)
    say(model, "<unit>")
    assert n_past(model) == before + 1


def test_the_user_s_sound_is_one_stream(model: MiniCPMO) -> None:
    say(model, "a")
    before = n_past(model)
    say(model, sound(0.4))
    assert n_past(model) == before  # less than a second waits
    say(model, sound(0.7))
    assert n_past(model) > before
    say(model, sound(0.3), session_id="b", stream_input=False)
    assert n_past(model) > 0


def test_another_session_begins_anew(model: MiniCPMO) -> None:
    model.init_token2wav_cache(sound(1))
    say(model, "one")
    first = n_past(model)
    say(model, " and two")
    assert n_past(model) > first
    say(model, "one", session_id="b")
    assert n_past(model) == first
    assert model._voice is not None
    model.reset_session(reset_token2wav_cache=False)
    assert model._voice is not None
    model.reset_session()
    assert model._voice is None
    with pytest.raises(ValueError, match="expected a session that was prefilled, got 'b'"):
        model.streaming_generate("b")


def test_a_turn_follows_another(model: MiniCPMO) -> None:
    say(model, "Who are you?")
    text = "".join(piece for piece, _ in model.streaming_generate("a", **WRITTEN))
    session = model.model.session()
    session.prefill([{"role": "user", "content": "Who are you?"}])
    asked = {"temperature": 0, "max_new_tokens": 6, "use_tts_template": True, "repetition_window": 128}
    assert text == session.generate_text(**asked).text
    say(model, "And now?")
    items = list(model.streaming_generate("a", **WRITTEN))
    assert [is_finished for _, is_finished in items[:-1]] == [False] * (len(items) - 1)
    assert items[-1][0] == ""


def test_an_answer_sounds_in_the_chosen_voice(model: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    def heard(session_id: str) -> np.ndarray:
        say(model, "Who are you?", session_id=session_id)
        items = list(model.streaming_generate(session_id, **SPOKEN))
        assert all(wave.ndim == 2 and wave.dtype == np.float32 for wave, _ in items)
        return np.concatenate([wave for wave, _ in items], axis=-1)[0]

    ours = heard("a")
    assert len(ours) > 24000
    np.testing.assert_array_equal(heard("b"), ours)
    model.init_token2wav_cache(sound(1))
    assert not np.array_equal(heard("c")[:24000], ours[:24000])


def test_an_early_answer_is_taken_back(model: MiniCPMO) -> None:
    assert not model.restore_speculative_snapshot()
    say(model, "Who are")
    before = n_past(model)
    answer = model.streaming_generate("a", enable_speculative_snapshot=True, **WRITTEN)
    first = next(answer)
    list(answer)
    assert n_past(model) > before
    assert model.has_speculative_snapshot()
    assert model.restore_speculative_snapshot()
    assert not model.has_speculative_snapshot()
    assert n_past(model) == before
    assert next(model.streaming_generate("a", **WRITTEN)) == first

    snapshot = model.save_speculative_snapshot()
    model.clear_speculative_snapshot()
    assert not model.has_speculative_snapshot()
    assert model.restore_speculative_snapshot(snapshot)


def test_leaving_an_answer_ends_it(model: MiniCPMO) -> None:
    say(model, "Who are you?")
    answer = model.streaming_generate("a", **SPOKEN | {"max_new_tokens": 200})
    next(answer)
    del answer
    assert model._session is not None
    assert model._session._answer is None
    say(model, "And now?")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"audio_token_chunk_size": 50}, r"expected 25, got 50 \(audio_token_chunk_size\)"),
        ({"tts_output_chunk_size": 50}, r"\(tts_output_chunk_size\)"),
        ({"bos_input": "Well,"}, r"\(bos_input\)"),
        ({"use_tts": "yes"}, r"\(use_tts\)"),
        ({"session_id": "c"}, "expected a session that was prefilled, got 'c'"),
    ],
)
def test_wrong_options_are_named(model: MiniCPMO, options: dict[str, Any], error: str) -> None:
    say(model, "a")
    with pytest.raises((ValueError, TypeError), match=error):
        model.streaming_generate(**{"session_id": "a"} | options)


def test_wrong_messages_are_named(model: MiniCPMO) -> None:
    with pytest.raises(ValueError, match=r"a list of one message, got 2 \(msgs\)"):
        model.streaming_prefill("a", [{"role": "user", "content": "a"}] * 2)
    with pytest.raises(ValueError, match="got dict"):
        model.streaming_prefill("a", {"role": "user", "content": "a"})
    with pytest.raises(ValueError, match="got None"):
        model.streaming_prefill(None, [{"role": "user", "content": "a"}])
    with pytest.raises(TypeError, match=r"\(omni_mode\)"):
        say(model, "a", omni_mode=1)
