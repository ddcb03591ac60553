from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import UnsupportedModelError, system_prompt
from minicpmo_cpp.messages import parse_messages
from minicpmo_cpp.parity import Golden, compare_system_prompts
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    return file.getvalue()


def user(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def parse(messages: Any) -> list[tuple[str, list[Any]]]:
    return parse_messages(messages, is_whole=True)


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
        (user({"type": ["text"]}), "expected type text, image_url or image"),
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
    with pytest.raises((ValueError, TypeError), match=message):
        parse(messages)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "audio", "data": ""},
        {"type": "video", "data": ""},
        {"type": "video_url", "video_url": {"url": "a.mp4"}},
        np.zeros(16000, np.float32),
    ],
)
def test_audio_and_video_are_unsupported(part: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"reads text and images \(messages\[0\]\.content\[0\]"):
        parse(user(part))


def test_a_missing_picture_keeps_its_kind_of_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.png.* at messages\[0\]\.content\[0\]"):
        parse(user(Path("no.png")))


def test_a_turn_of_a_session_may_begin_with_the_assistant() -> None:
    messages = [{"role": "assistant", "content": "x"}]
    assert parse_messages(messages, is_whole=False) == [("assistant", ["x"])]


def test_the_default_system_prompt() -> None:
    prompt = system_prompt()
    assert prompt["role"] == "system"
    assert prompt["content"] == system_prompt(ref_audio=np.zeros(16000), language="en")["content"]
    assert json.dumps(prompt)
    assert parse([prompt]) == [("system", prompt["content"])]


def test_a_voice_is_unsupported_where_it_would_be_used() -> None:
    with pytest.raises(UnsupportedModelError, match="text and images"):
        system_prompt(np.zeros(16000), "omni", "en")
    with pytest.raises(ValueError, match="reference audio"):
        system_prompt(mode="voice_cloning")


def test_system_prompts_are_the_official_ones(golden_set: Golden) -> None:
    rows = list(compare_system_prompts(golden_set))
    assert len(rows) == 24
    assert not [row for row in rows if not row.is_within]
