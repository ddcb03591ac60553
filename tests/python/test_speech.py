from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import MiniCPMOError, Model, Piece, SpeechTimings, Voice, system_prompt
from minicpmo_cpp.messages import read_aloud
from test_voice import RECORDING, sweep

SHORT: dict[str, Any] = {"max_new_tokens": 6, "seed": 5, "ignore_stop": True}
RATE = 24000


@pytest.fixture(scope="module", params=["tiny-a", "tiny-b"])
def speaker(request: pytest.FixtureRequest, convert_once: Callable[[str, str], Path]) -> Model:
    return Model.load(convert_once(request.param, "f32"))


@pytest.fixture(scope="module")
def voice(speaker: Model) -> Voice:
    return speaker.encode_voice(RECORDING)


def test_a_chat_speaks(speaker: Model, voice: Voice) -> None:
    result = speaker.chat("Hello", audio=True, voice=voice, **SHORT)
    assert len(result.token_ids) == 6
    assert result.sample_rate == RATE
    assert result.audio is not None
    assert result.audio.dtype == np.float32
    assert len(result.audio) >= 2 * RATE, "an answer that is said whole has at least 50 codes"
    assert np.isfinite(result.audio).all()
    assert np.abs(result.audio).max() <= 1
    spoken = result.speech_timings
    assert spoken is not None
    assert spoken.n_sample == len(result.audio) >= spoken.n_code * 960
    assert spoken.audio_s == len(result.audio) / RATE
    assert min(spoken.codes_s, spoken.flow_s, spoken.vocoder_s, spoken.first_sample_s) > 0
    assert spoken.rtf == pytest.approx((spoken.codes_s + spoken.flow_s + spoken.vocoder_s) / spoken.audio_s)
    assert SpeechTimings().rtf == 0
    assert result.hidden is None


def test_without_audio_nothing_sounds(speaker: Model) -> None:
    result = speaker.chat("Hello", **SHORT)
    assert (result.audio, result.sample_rate, result.speech_timings) == (None, 0, None)


def test_a_stream_has_pieces_of_text_and_of_sound(speaker: Model, voice: Voice) -> None:
    answer = speaker.chat("Hello", audio=True, voice=voice, stream=True, **SHORT)
    pieces = list(answer)
    assert all(isinstance(piece, Piece) for piece in pieces)
    sounds = [piece for piece in pieces if piece.audio is not None]
    assert sounds
    assert all(str(piece) == "" and piece.token_id == -1 for piece in sounds)
    assert "".join(pieces) == answer.text
    np.testing.assert_array_equal(np.concatenate([piece.audio for piece in sounds]), answer.audio)
    assert answer.sample_rate == RATE
    assert answer.speech_timings is not None
    written = speaker.chat("Hello", voice_prompt=None, **SHORT)
    assert len(answer.token_ids) == len(written.token_ids) == 6


def test_the_same_seeds_say_the_same(speaker: Model, voice: Voice) -> None:
    def said(**options: Any) -> Any:
        return speaker.chat("Hello", audio=True, voice=voice, stream=True, **(SHORT | options)).result()

    first, second = said(), said()
    assert first.text == second.text
    np.testing.assert_array_equal(first.audio, second.audio)
    other = said(speech_seed=6)
    assert other.text == first.text
    assert not np.array_equal(other.audio[:RATE], first.audio[:RATE])
    np.testing.assert_array_equal(said(speech_seed=5).audio, first.audio)


def test_fewer_steps_and_other_voices_sound_otherwise(speaker: Model, voice: Voice) -> None:
    sounds = [
        speaker.chat("Hello", audio=True, stream=True, **options, **SHORT).result().audio[:RATE]
        for options in ({"voice": voice}, {"voice": voice, "n_steps": 2}, {"voice": sweep(1.0)})
    ]
    for i in range(3):
        assert not np.array_equal(sounds[i], sounds[i - 1])


def test_a_voice_gets_the_official_system_prompt(speaker: Model, voice: Voice) -> None:
    def n_prompt(messages: Any, **options: Any) -> int:
        result = speaker.chat(
            messages, audio=True, voice=voice, stream=True, max_new_tokens=1, ignore_stop=True, **options
        ).result()
        return result.timings.n_prompt + result.timings.n_reused

    def expected(system: Any, text: str) -> int:
        messages = [*([system] if system else []), {"role": "user", "content": text}]
        return len(speaker.build_prompt(messages, use_tts_template=True).ids)

    for text, language in (("Hello", "en"), ("你好", "zh"), ("123", "zh")):
        assert n_prompt(text) == expected(system_prompt(voice, "audio_assistant", language), text)
    assert n_prompt("Hello", language="zh") == expected(
        system_prompt(voice, "audio_assistant", "zh"), "Hello"
    )
    assert n_prompt("Hello", voice_prompt="omni") == expected(system_prompt(voice, "omni", "en"), "Hello")
    assert n_prompt("Hello", voice_prompt=None) == expected(None, "Hello")
    own = {"role": "system", "content": "Be brief."}
    assert n_prompt([own, {"role": "user", "content": "Hello"}]) == expected(own, "Hello")


def test_the_recording_of_the_system_message_is_the_voice(speaker: Model, voice: Voice) -> None:
    messages = [system_prompt(RECORDING, "omni", "en"), {"role": "user", "content": "Hello"}]
    first = speaker.chat(messages, audio=True, stream=True, **SHORT).result()
    second = speaker.chat(messages, audio=True, voice=voice, stream=True, **SHORT).result()
    np.testing.assert_array_equal(first.audio, second.audio)
    with speaker.session() as session:
        session.prefill(messages)
        third = session.generate(audio=True, **SHORT).result()
        assert third.audio is not None
        session.prefill("And now?")
        assert session.generate(audio=True, **SHORT).result().audio is not None
        session.reset()
        session.prefill("Hello")
        with pytest.raises(ValueError, match="expected a voice"):
            session.generate(audio=True, **SHORT)


def test_a_text_is_read_out_with_the_official_prompt(speaker: Model, voice: Voice) -> None:
    result = speaker.speak(
        "Good morning.", voice, max_new_tokens=4, temperature=0.0, ignore_stop=True, stream=True
    ).result()
    assert result.audio is not None
    before, samples, after = read_aloud("Good morning.", voice)[0]["content"]
    assert before == "模仿音频样本的音色并生成新的内容。"
    assert after == "请用这种声音风格来为用户提供帮助。 直接作答，不要有冗余内容"
    np.testing.assert_array_equal(samples, voice.samples)
    assert read_aloud("Good morning.", voice)[1]["content"] == ["请朗读以下内容。 Good morning."]
    prompt = speaker.build_prompt(read_aloud("Good morning.", voice), use_tts_template=True)
    assert result.timings.n_prompt + result.timings.n_reused == len(prompt.ids)
    for text, error in (("", ValueError), (" ", ValueError), (3, TypeError)):
        with pytest.raises(error, match=r"\[speech\]"):
            speaker.speak(text, voice)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"voice": RECORDING, "audio": False}, ValueError, "audio=True with voice"),
        ({"n_steps": 3, "audio": False}, ValueError, "audio=True with n_steps"),
        ({"audio": 1}, TypeError, "audio"),
        ({"n_steps": 0}, ValueError, "n_steps"),
        ({"n_steps": "few"}, TypeError, "n_steps"),
        ({"speech_seed": -1}, ValueError, "speech_seed"),
        ({"enable_thinking": True}, ValueError, "thoughts"),
        ({"use_tts_template": False}, ValueError, "use_tts_template"),
        ({"voice_prompt": "audio_asistant"}, ValueError, "voice_prompt"),
        ({"language": "de"}, ValueError, "language"),
    ],
)
def test_wrong_options_are_named(
    speaker: Model, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    keywords = {"audio": True, "voice": RECORDING} if options.get("audio", True) is True else {}
    with pytest.raises(error, match=message):
        speaker.chat("Hi", **(keywords | SHORT | options))


def test_leaving_an_answer_ends_its_sound(speaker: Model, voice: Voice) -> None:
    session = speaker.session()
    session.prefill("One")
    for piece in session.generate(
        audio=True, voice=voice, max_new_tokens=600, temperature=0.0, ignore_stop=True
    ):
        if piece.audio is not None:
            break
    session.prefill("Two")
    with session.generate(audio=True, voice=voice, **SHORT) as answer:
        assert next(answer).audio is None
    assert answer.stop_reason == "interrupted"
    assert list(answer) == []
    session.prefill("Three")
    # How much of the first answer was written before it sounded is up to the machine, and with it whether
    # speech ends by itself within these tokens.
    assert session.generate_text(audio=True, voice=voice, **SHORT).stop_reason in {"length", "stop"}
    assert session.generate_text(max_new_tokens=2, ignore_stop=True).audio is None


def test_interrupt_ends_the_sound_after_the_text(speaker: Model, voice: Voice) -> None:
    session = speaker.session()
    session.prefill("One")
    answer = session.generate(audio=True, voice=voice, **SHORT)
    n_sound = 0
    for piece in answer:
        n_sound += piece.audio is not None
        if n_sound == 1:
            thread = threading.Thread(target=session.interrupt)
            thread.start()
            thread.join()
    assert n_sound <= 2
    assert answer.stop_reason == "interrupted"
    assert len(answer.token_ids) == 6
    session.prefill("Two")
    assert session.generate_text(audio=True, voice=voice, **SHORT).stop_reason == "length"


def test_a_full_context_ends_a_spoken_answer(speaker: Model, voice: Voice) -> None:
    session = speaker.session(n_ctx=40)
    session.prefill("One")
    answer = session.generate(audio=True, voice=voice, ignore_stop=True, temperature=0.0)
    with pytest.raises(MiniCPMOError, match="context"):
        answer.result()
    assert answer.stop_reason == "length"
    assert answer.token_ids


def test_two_answers_in_one_voice_at_a_time(speaker: Model, voice: Voice) -> None:
    expected = speaker.chat("Hello", audio=True, voice=voice, stream=True, **SHORT).result().audio
    found: list[Any] = [None, None]

    def work(i: int) -> None:
        found[i] = speaker.chat("Hello", audio=True, voice=voice, stream=True, **SHORT).result().audio

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for audio in found:
        np.testing.assert_array_equal(audio, expected)


def test_a_closed_model_speaks_in_its_sessions(convert_once: Callable[[str, str], Path]) -> None:
    with Model.load(convert_once("tiny-a", "f32"), n_threads=1) as model:
        voice = model.encode_voice(RECORDING)
        session = model.session()
    with pytest.raises(MiniCPMOError, match="closed"):
        model.speak("Hi", voice)
    session.prefill("Hi")
    assert session.generate_text(audio=True, voice=voice, **SHORT).audio is not None


def test_states_are_kept_only_if_asked_for(speaker: Model, voice: Voice) -> None:
    result = speaker.chat("Hello", audio=True, voice=voice, stream=True, return_hidden=True, **SHORT).result()
    assert result.hidden is not None
    assert len(result.hidden) == 5


def test_the_networks_by_themselves(speaker: Model, voice: Voice) -> None:
    ids = speaker.tokenize("Hello there")
    hidden = np.zeros((len(ids), speaker.config["llm"]["n_embd"]), np.float32)
    logits = speaker.tts_forward(ids, hidden, [1, 2, 3])
    assert logits.shape[0] == 4
    assert logits.shape[1] >= 6562
    mel = speaker.speech_to_mel(range(10), voice)
    assert mel.shape == (20, 80)
    np.testing.assert_array_equal(mel, speaker.speech_to_mel(range(10), voice))
    noise = np.zeros((120, 80), np.float32)
    assert not np.array_equal(mel, speaker.speech_to_mel(range(10), voice, noise))
    breathy, still = speaker.mel_to_wave(mel), speaker.mel_to_wave(mel, excitation_noise=False)
    assert breathy.shape == still.shape == (20 * 480,)
    assert not np.array_equal(breathy, still)
