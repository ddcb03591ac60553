from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from media_files import film, wav
from minicpmo_cpp import Audio, AudioStream, MiniCPMOError, Model
from minicpmo_cpp.tasks import TASKS
from numpy.typing import NDArray

SECOND = 16000


def tone(seconds: float) -> NDArray[np.float32]:
    time = np.arange(int(seconds * SECOND)) / SECOND
    return (0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time)).astype(np.float32)


def user(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def n_unk(model: Model, ids: NDArray[np.int32]) -> int:
    return int((ids == model.tokenize("<unk>")[0]).sum())


def test_a_second_is_ten_embeddings(model: Model) -> None:
    rows = model.encode_audio(tone(2.5))
    assert rows.dtype == np.float32
    assert rows.shape == (25, model.config["llm"]["n_embd"])
    assert np.isfinite(rows).all()
    for same in (wav(tone(2.5)), Audio(tone(2.5)), (SECOND, tone(2.5))):
        np.testing.assert_array_equal(model.encode_audio(same), rows)


def test_chunk_seconds_is_how_far_a_moment_looks_ahead(model: Model) -> None:
    whole, late = tone(3), tone(3)
    late[2 * SECOND + 400 :] = 0  # beyond the convolutions' reach into the second before
    for seconds, n_same in ((1.0, 20), (2.0, 20), (None, 0)):
        is_same = np.isclose(
            model.encode_audio(whole, seconds), model.encode_audio(late, seconds), rtol=0, atol=1e-5
        )
        assert is_same[:n_same].all(), seconds
        assert not is_same[20:].all()
    assert not np.allclose(
        model.encode_audio(whole, None)[:20], model.encode_audio(late, None)[:20], atol=1e-5
    )


@pytest.mark.parametrize("seconds", [0, -1.0, 31, float("nan"), float("inf")])
def test_chunks_of_no_length_are_refused(model: Model, seconds: float) -> None:
    with pytest.raises(ValueError, match="chunk_seconds"):
        model.encode_audio(tone(1), seconds)
    with pytest.raises(TypeError, match="chunk_seconds"):
        model.encode_audio(tone(1), "1")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["half_duplex", "duplex"])
def test_a_stream_hears_the_same_however_it_is_cut(model: Model, mode: str) -> None:
    pcm = (tone(3.3) * 32768).astype(np.int16)
    sound = (pcm / 32768).astype(np.float32)

    def heard(n: int) -> NDArray[np.float32]:
        with model.audio_stream(mode) as stream:
            rows = [stream.push(sound[i : i + n]) for i in range(0, len(sound), n)]
            assert stream.n_samples == len(sound)
            return np.concatenate([*rows, stream.finish()])

    whole = heard(len(sound))
    assert len(whole) >= 30
    for n in (160, 5000, SECOND):
        np.testing.assert_array_equal(heard(n), whole)
    with model.audio_stream(mode) as stream:
        stream.push(sound[:20000])
        stream.reset()
        assert stream.n_samples == 0
        np.testing.assert_array_equal(np.concatenate([stream.push(pcm), stream.finish()]), whole)


@pytest.mark.parametrize(
    ("samples", "kind", "message"),
    [
        ([0.0, 0.1], TypeError, "expected an array .n., got list"),
        (np.zeros((2, 100)), TypeError, r"got shape \[2, 100\]"),
        (b"RIFF", TypeError, "got bytes"),
        (np.zeros(0), ValueError, "at least one sample"),
        (np.array([np.nan]), ValueError, "finite"),
        (np.array([2000.0]), ValueError, "int16"),
    ],
)
def test_a_stream_refuses_what_is_no_piece_of_sound(
    model: Model, samples: Any, kind: type[Exception], message: str
) -> None:
    with model.audio_stream() as stream, pytest.raises(kind, match=message):
        stream.push(samples)


def test_a_stream_has_two_modes_and_an_end(model: Model) -> None:
    with pytest.raises(ValueError, match="half_duplex"):
        model.audio_stream("simplex")
    with pytest.raises(TypeError, match="mode"):
        AudioStream(model, 3)  # type: ignore[arg-type]
    stream = model.audio_stream()
    stream.close()
    with pytest.raises(MiniCPMOError, match="closed"):
        stream.push(tone(1))


def test_a_stream_takes_one_thread_at_a_time(model: Model) -> None:
    stream = model.audio_stream()
    refused: list[str] = []

    def push() -> None:
        for _ in range(40):
            try:
                stream.push(tone(1))
            except MiniCPMOError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=push) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.n_samples == (80 - len(refused)) * SECOND
    assert all("one thread at a time" in message for message in refused)


def test_a_prompt_has_the_sounds_rows(model: Model) -> None:
    prompt = model.build_prompt(user("What is said?", tone(2)))
    places = np.flatnonzero(prompt.ids == model.tokenize("<unk>")[0])
    np.testing.assert_allclose(prompt.embeds[places], model.encode_audio(tone(2)), atol=1e-6)
    assert "What is said?\n<audio>./</audio><|im_end|>" in prompt.text
    assert prompt.ids.tolist().count(model.tokenize("<|audio_start|>")[0]) == 1


def test_sound_begins_a_spoken_answer_unless_told_otherwise(model: Model) -> None:
    ends = {
        option: model.build_prompt(user("a", tone(1)), use_tts_template=option).text.endswith("<|tts_bos|>")
        for option in (None, True, False)
    }
    assert ends == {None: True, True: True, False: False}
    assert not model.build_prompt("a").text.endswith("<|tts_bos|>")
    heard_before = [*user("a", tone(1)), {"role": "assistant", "content": "b"}, *user("c")]
    assert model.build_prompt(heard_before).text.endswith("<|tts_bos|>")


def test_stream_input_reads_second_by_second(model: Model) -> None:
    prompt = model.build_prompt(user("a", tone(2.5)), stream_input=True)
    assert "a<audio>./</audio>" in prompt.text
    assert prompt.ids.tolist().count(model.tokenize("<|audio_start|>")[0]) == 3
    assert n_unk(model, prompt.ids) == 25
    with pytest.raises(TypeError, match="stream_input"):
        model.build_prompt("a", stream_input=1)  # type: ignore[arg-type]


def test_a_question_may_be_spoken(model: Model) -> None:
    options: dict[str, Any] = {"max_new_tokens": 5, "seed": 1, "ignore_stop": True}
    result = model.chat(user(TASKS["asr-en"], tone(2)), **options)
    assert len(result.token_ids) == 5
    assert result.timings.n_audio == 20
    assert result.timings.heard_s == pytest.approx(2)
    assert result.timings.audio_s > 0
    with model.session() as session:
        session.prefill(user(TASKS["asr-en"], tone(2)))
        assert session.progress.n_audio_done == session.progress.n_audio == 20
        assert session.generate_text(**options).token_ids == result.token_ids


def test_a_video_is_read_as_the_official_examples_read_it(model: Model) -> None:
    data = film(2)
    part = {"type": "video", "video": data}
    found = model.build_prompt(user(part, "Why?"))
    n_query = model.config["vision"]["n_query"]
    assert n_unk(model, found.ids) == 2 * n_query + 20
    slots = "<image>./</image><audio>./</audio>"
    assert slots * 2 + "Why?<|im_end|>" in found.text
    official = model.build_prompt(
        user(part, "Why?"), omni_mode=True, max_slice_nums=1, use_image_id=False, use_tts_template=True
    )
    assert found.ids.tolist() == official.ids.tolist()
    np.testing.assert_array_equal(found.embeds, official.embeds)
    assert "</audio>\n<image>" in model.build_prompt(user(part), omni_mode=False).text
    numbered = model.build_prompt(user(part, "Why?"), use_image_id=True)
    n_id = len(model.tokenize("<image_id>0</image_id>"))
    assert len(numbered.ids) == len(found.ids) + 2 * n_id


def test_a_silent_video_keeps_its_newlines(model: Model) -> None:
    part = {"type": "video", "video": film(2), "use_audio": False}
    prompt = model.build_prompt(user(part, "Why?"))
    assert "<image>./</image>\n<image>./</image>\nWhy?" in prompt.text
    assert model.tokenize("<image_id>")[0] not in prompt.ids
    assert not prompt.text.endswith("<|tts_bos|>")
    with model.session() as session:
        session.prefill(user(part, "Why?"))
        n_video = session.n_past
        session.reset()
        session.prefill(user(part, "Why?"), omni_mode=False, max_slice_nums=1, use_image_id=False)
        assert session.n_past == n_video
