from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import film, wav
from minicpmo_cpp import Audio, system_prompt
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.messages import parse_messages
from minicpmo_cpp.parity.golden import Golden
from minicpmo_cpp.parity.understanding import compare_system_prompts
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
TONE = (0.3 * np.sin(np.arange(3200) / 4)).astype(np.float32)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    return file.getvalue()


def user(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def parse(messages: Any) -> list[tuple[str, list[Any]]]:
    return parse_messages(messages, is_whole=True).messages


def test_a_str_is_one_user_message() -> None:
    assert parse("Hello") == [("user", ["Hello"])]


def test_roles_and_strings_pass() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": ["a", "b"]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ()},
    ]
    assert parse(messages) == [
        ("system", ["Be brief."]),
        ("user", ["a", "b"]),
        ("assistant", [""]),
        ("user", []),
    ]


def test_a_str_in_a_list_is_text_and_never_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    assert parse(user(str(path))) == [("user", [str(path)])]


def test_every_spelling_of_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    body = base64.b64encode(png()).decode()
    url = f"data:image/png;base64,{body}"
    pictures = [
        Image.fromarray(RGB),
        RGB,
        path,
        png(),
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
        {"type": "image_url", "image_url": url},
        {"type": "image_url", "image_url": {"url": str(path)}},
        {"type": "image", "image": Image.fromarray(RGB)},
        {"type": "image", "image": str(path)},
        {"type": "image", "image": RGB},
        {"type": "image", "data": body},
    ]
    content = parse(user("before", *pictures, {"type": "text", "text": "after"}))[0][1]
    assert content[0] == "before"
    assert content[-1] == "after"
    for pixels in content[1:-1]:
        np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one message"),
        ({"role": "user", "content": "x"}, "got dict"),
        (None, "got NoneType"),
        (["x"], r"got str \(messages\[0\]\)"),
        ([{"role": "user"}], r"key 'content', got none \(messages\[0\]\)"),
        ([{"content": "x"}], r"key 'role', got none"),
        ([{"role": "tool", "content": "x"}], r"got 'tool' \(messages\[0\]\.role\)"),
        ([{"role": ["user"], "content": "x"}], r"messages\[0\]\.role"),
        ([{"role": "assistant", "content": "x"}], "system or user"),
        ([{"role": "user", "content": "x", "name": "me"}], "expected the keys role, content, got 'name'"),
        ([{"role": "user", "content": 3}], r"got int \(messages\[0\]\.content\)"),
        (user("x", 3), r"got int \(messages\[0\]\.content\[1\]\)"),
        (user({"type": "table"}), r"got 'table' \(messages\[0\]\.content\[0\]\.type\)"),
        (user({"text": "x"}), "got None"),
        (user({"type": ["text"]}), "expected the type text, image_url, .*video, got"),
        (user(("a", "b")), r"got tuple \(messages\[0\]\.content\[0\]\)"),
        (user(np.array([0, np.nan])), r"finite samples.* at messages\[0\]\.content\[0\]"),
        (user({"type": "audio"}), "expected the key audio or data, got none"),
        (user({"type": "audio", "audio": TONE, "data": ""}), "got audio, data"),
        (user({"type": "audio", "audio": "no.wav"}), r"no\.wav.* at messages\[0\]\.content\[0\]\.audio"),
        (user({"type": "audio", "audio": TONE, "sample_rate": 3}), "expected a rate of"),
        (user({"type": "audio", "audio": TONE, "rate": 3}), "got 'rate'"),
        (user({"type": "audio", "data": "###"}), r"expected base64.*content\[0\]\.data"),
        (
            user({"type": "audio", "data": b"AAAA", "sample_rate": 16000}),
            "whole float32 samples, got 3 bytes",
        ),
        (user({"type": "audio", "data": 3}), "expected base64 in a str, got int"),
        (user({"type": "audio", "data": ""}), "got an empty one"),
        (user({"type": "audio_url"}), "expected the key audio_url, got none"),
        (user({"type": "audio_url", "audio_url": {"url": "a.wav", "detail": "auto"}}), "got 'detail'"),
        (user({"type": "audio_url", "audio_url": "http://host/a.wav"}), r"fetching is off.* at messages"),
        (user({"type": "input_audio", "input_audio": "AAAA"}), "expected {.*data.*format.*}, got str"),
        (user({"type": "input_audio", "input_audio": {"format": "wav"}}), "expected the key data, got none"),
        (
            user({"type": "input_audio", "input_audio": {"data": "", "format": "pcm16"}}),
            r"got 'pcm16': raw samples go with type .audio.*input_audio\.format",
        ),
        (user({"type": "video"}), "expected the key video or data, got none"),
        (user({"type": "video", "video": 3}), r"\[video\] expected .* got int at messages"),
        (user({"type": "video", "video": []}), "at least one frame"),
        (user({"type": "video", "video": [RGB, "text"]}), r"got text \(messages.*video\[1\]\)"),
        (user({"type": "video", "video": [RGB], "fps": 2}), "no fps with frames"),
        (user({"type": "video", "video": png(), "fps": "2"}), r"\[options\] .* \(fps\) at messages"),
        (user({"type": "video", "video": png(), "use_audio": 1}), r"True or False.* \(use_audio\) at"),
        (user({"type": "video_url", "video_url": {"url": "a.mp4", "fps": 1}, "fps": 1}), "fps once"),
        (user({"type": "video_url", "video_url": {"url": "a.mp4", "speed": 1}}), "got 'speed'"),
        (user({"type": "video_url", "video_url": "http://host/a.mp4"}), r"fetching is off.* at messages"),
        (user({"type": "text", "text": 3}), r"content\[0\]\.text"),
        (user({"type": "text", "text": "x", "cache": 1}), "got 'cache'"),
        (user({"type": "image_url"}), "expected the key image_url, got none"),
        (user({"type": "image_url", "image_url": 3}), "URL or a path"),
        (user({"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}}), "max_slice_nums"),
        (user({"type": "image", "image": RGB, "data": ""}), "got image, data"),
        (user({"type": "image", "data": "###"}), "expected base64"),
        (user({"type": "image", "image": 3}), r"content\[0\]\.image"),
        (user("half \ud800"), "half a character"),
        (
            user({"type": "image_url", "image_url": "http://host/a.png"}),
            r"fetching is off.* at messages\[0\]",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(messages: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        parse(messages)


def test_every_spelling_of_a_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(TONE))
    body = base64.b64encode(wav(TONE)).decode()
    raw = base64.b64encode(TONE.astype("<f4").tobytes()).decode()
    sounds = [
        TONE,
        TONE.astype(np.float64),
        Audio(TONE),
        Audio(TONE[:, None], 16000),
        (TONE, 16000),
        path,
        wav(TONE),
        {"type": "audio", "audio": str(path)},
        {"type": "audio", "audio": TONE, "sample_rate": 16000},
        {"type": "audio", "audio": Audio(TONE)},
        {"type": "audio", "data": body},
        {"type": "audio", "data": raw, "sample_rate": 16000},
        {"type": "audio_url", "audio_url": {"url": str(path)}},
        {"type": "audio_url", "audio_url": f"data:audio/wav;base64,{body}"},
        {"type": "input_audio", "input_audio": {"data": body, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": body}},
    ]
    (role, content), *_ = parse(user("before", *sounds, "after"))
    assert (role, content[0], content[-1]) == ("user", "before", "after")
    assert len(content) == 2 + len(sounds)
    for samples in content[1:-1]:
        assert samples.dtype == np.float32
        assert samples.flags.c_contiguous
        np.testing.assert_array_equal(samples, TONE)


def test_a_sound_at_another_rate_is_resampled() -> None:
    expected = to_samples(TONE, 8000)
    raw = base64.b64encode(TONE.tobytes()).decode()
    for part in (
        Audio(TONE, 8000),
        wav(TONE, 8000),
        {"type": "audio", "audio": TONE, "sample_rate": 8000},
        {"type": "audio", "data": raw, "sample_rate": 8000},
    ):
        ((_, (samples,)),) = parse(user(part))
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("has_sound", [True, False])
def test_every_spelling_of_a_video_becomes_its_frames_and_seconds(tmp_path: Path, has_sound: bool) -> None:
    data = film(2, has_sound=has_sound)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    parsed = parse_messages(user(path), is_whole=True)
    units = parsed.messages[0][1]
    assert [unit.shape for unit in units if unit.ndim == 3] == [(48, 64, 3)] * 2
    assert [unit.ndim for unit in units] == ([3, 1, 3, 1] if has_sound else [3, 3])
    assert units[0].mean() != units[2 if has_sound else 1].mean()
    assert parsed.has_video
    assert parsed.has_video_sound == has_sound
    for part in (
        data,
        {"type": "video", "video": path},
        {"type": "video", "video": str(path), "use_audio": True, "stack_frames": 1, "fps": 1},
        {"type": "video", "video": units},
        {"type": "video", "data": base64.b64encode(data).decode()},
        {"type": "video_url", "video_url": str(path)},
        {"type": "video_url", "video_url": {"url": str(path), "use_audio": True}, "fps": 1.0},
    ):
        found = parse_messages(user("a", part, "b"), is_whole=True)
        content = found.messages[0][1]
        assert (content[0], content[-1], found[1:]) == ("a", "b", parsed[1:])
        for unit, expected in zip(content[1:-1], units, strict=True):
            np.testing.assert_array_equal(unit, expected)


def test_the_options_of_a_video_reach_it() -> None:
    data = film(2)
    ((_, units),) = parse(user({"type": "video", "video": data, "use_audio": False, "stack_frames": 5}))
    assert [unit.ndim for unit in units] == [3, 3, 3, 3]
    assert units[1].shape > units[0].shape
    ((_, units),) = parse(user({"type": "video", "video": data, "use_audio": False, "fps": 2}))
    assert len(units) == 4


def test_pictures_and_sounds_alone_are_no_video() -> None:
    assert parse_messages(user(RGB, TONE), is_whole=True)[1:] == (False, False)


def test_a_file_is_what_its_bytes_say(tmp_path: Path) -> None:
    for name, data in (("sound.png", wav(TONE)), ("picture.wav", png())):
        (tmp_path / name).write_bytes(data)
    ((_, (sound, picture)),) = parse(user(tmp_path / "sound.png", tmp_path / "picture.wav"))
    np.testing.assert_array_equal(sound, TONE)
    np.testing.assert_array_equal(picture, RGB)


def test_a_missing_picture_keeps_its_kind_of_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.png.* at messages\[0\]\.content\[0\]"):
        parse(user(Path("no.png")))


def test_a_turn_of_a_session_may_begin_with_the_assistant() -> None:
    messages = [{"role": "assistant", "content": "x"}]
    assert parse_messages(messages, is_whole=False).messages == [("assistant", ["x"])]


def test_the_default_system_prompt() -> None:
    prompt = system_prompt()
    assert prompt["role"] == "system"
    assert prompt["content"] == system_prompt(ref_audio=np.zeros(16000), language="en")["content"]
    assert json.dumps(prompt)
    assert parse([prompt]) == [("system", prompt["content"])]


def test_a_voice_stands_where_the_official_prompt_has_it(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(TONE))
    for voice in (TONE, Audio(TONE), path, str(path)):
        before, samples, after = system_prompt(voice, "omni", "en")["content"]
        assert before == "Clone the voice in the provided audio prompt."
        assert after == "As an assistant, you will speak using this voice style."
        np.testing.assert_array_equal(samples, TONE)
    prompt = system_prompt(TONE, "voice_cloning")
    assert [type(part) for part in prompt["content"]] == [str, np.ndarray]
    assert parse([prompt])[0][0] == "system"
    with pytest.raises(FileNotFoundError, match=r"no\.wav"):
        system_prompt("no.wav", "omni")
    with pytest.raises(ValueError, match="reference audio"):
        system_prompt(mode="voice_cloning")


def test_system_prompts_are_the_official_ones(golden_set: Golden) -> None:
    rows = list(compare_system_prompts(golden_set))
    assert len(rows) == 24
    assert not [row for row in rows if not row.is_within]
