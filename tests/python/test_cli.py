from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import film, wav
from minicpmo_cpp import TASKS, Model, Progress, __version__
from minicpmo_cpp.progress import ReadingProgress
from PIL import Image
from pseudo_terminal import Terminal
from rich.console import Console

OK, FAILED, USAGE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 3, 130
PICTURE = np.random.default_rng(2).integers(0, 256, (61, 97, 3), dtype=np.uint8)
TONE = (0.3 * np.sin(np.arange(24000) / 4)).astype(np.float32)


@dataclass(frozen=True)
class Finished:
    """A program that has ended; newlines are as it wrote them."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Finished]


@pytest.fixture
def run(model_path: Path, environment: dict[str, str]) -> Run:
    """minicpmo-cli with the tiny model; model=None leaves -m out."""

    def run(
        *arguments: str, model: str | None = str(model_path), typed: str = "", **changes: str
    ) -> Finished:
        command = [sys.executable, "-m", "minicpmo_cpp.cli", "-t", "1", *arguments]
        command += [] if model is None else ["-m", model]
        found = subprocess.run(
            command, env=environment | changes, input=typed.encode(), capture_output=True, timeout=120
        )
        result = Finished(found.returncode, found.stdout.decode(), found.stderr.decode())
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(PICTURE).save(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    path.write_bytes(wav(TONE))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(film(2))
    return path


def test_the_answer_is_on_stdout_and_nothing_else(run: Run, model: Model) -> None:
    result = run("-p", "Hello", "--seed", "1", "--max-tokens", "20")
    assert result.returncode == OK
    assert result.stdout == model.chat("Hello", seed=1, max_new_tokens=20).text + "\n"
    assert result.stderr == ""


def test_json_tells_the_whole_answer(run: Run, model: Model, picture: Path) -> None:
    result = run(
        *(
            "--image",
            str(picture),
            "--image",
            str(picture),
            "-p",
            "Compare.",
            "--system",
            "Be brief.",
            "--json",
        ),
        *(
            "--seed",
            "3",
            "--max-tokens",
            "12",
            "--max-slices",
            "1",
            "--temperature",
            "0.9",
            "--top-p",
            "0.95",
        ),
        *("--top-k", "50", "--min-p", "0.01", "--repeat-penalty", "1.1", "--think", "-t", "1", "-c", "2048"),
        *("--device", "cpu"),
    )
    assert result.returncode == OK
    found = json.loads(result.stdout)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [PICTURE, PICTURE, "Compare."]},
    ]
    expected = model.chat(
        messages,
        seed=3,
        max_new_tokens=12,
        max_slice_nums=1,
        temperature=0.9,
        top_p=0.95,
        top_k=50,
        min_p=0.01,
        repetition_penalty=1.1,
        enable_thinking=True,
    )
    assert set(found) == {"text", "token_ids", "stop_reason", "timings", "model"}
    assert found["text"] == expected.text
    assert found["token_ids"] == expected.token_ids
    assert found["stop_reason"] == expected.stop_reason
    assert found["timings"]["n_slice"] == 2
    assert found["timings"]["n_prompt"] == expected.timings.n_prompt + expected.timings.n_reused
    assert found["model"]["name"] == model.config["name"]


def answer(run: Run, *arguments: str) -> dict[str, Any]:
    """With the likeliest tokens."""
    greedy = ("--temperature", "0", "--repeat-penalty", "1", "--max-tokens", "8", "--json")
    result = run(*arguments, *greedy)
    assert result.returncode == OK, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def expected_answer(model: Model, *content: Any, **options: Any) -> list[int]:
    message = {"role": "user", "content": list(content)}
    greedy: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1, "max_new_tokens": 8}
    return model.chat([message], **greedy, **options).token_ids


def test_a_task_is_asked_before_its_sound(run: Run, model: Model, sound: Path) -> None:
    found = answer(run, "--audio", str(sound), "--task", "asr-en")
    assert found["token_ids"] == expected_answer(model, TASKS["asr-en"], TONE)
    assert found["timings"]["n_audio"] == 15
    assert found["timings"]["heard_s"] == 1.5
    assert found["timings"]["audio_s"] > 0


def test_sound_follows_pictures_and_the_prompt(run: Run, model: Model, sound: Path, picture: Path) -> None:
    media = ("--audio", str(sound), "--image", str(picture), "--audio", str(sound))
    found = answer(run, *media, "-p", "Compare.")
    assert found["token_ids"] == expected_answer(model, PICTURE, "Compare.", TONE, TONE)
    assert found["timings"]["n_slice"] == 1
    assert found["timings"]["n_audio"] == 30


def test_sound_alone_is_the_question(run: Run, model: Model, sound: Path) -> None:
    assert answer(run, "--audio", str(sound))["token_ids"] == expected_answer(model, TONE)


def test_a_video_precedes_the_prompt(run: Run, model: Model, video: Path) -> None:
    part: dict[str, Any] = {"type": "video", "video": video}
    found = answer(run, "--video", str(video), "-p", "Why?")
    assert found["token_ids"] == expected_answer(model, part, "Why?")
    assert found["timings"]["n_slice"] == 2
    assert found["timings"]["n_audio"] == 20
    options = ("--no-video-audio", "--fps", "2", "--stack-frames", "2")
    found = answer(run, "--video", str(video), "-p", "Why?", *options)
    part |= {"use_audio": False, "fps": 2, "stack_frames": 2}
    assert found["token_ids"] == expected_answer(model, part, "Why?")
    assert found["timings"]["n_slice"] == 8
    assert found["timings"]["n_audio"] == 0


def test_the_prompt_comes_from_stdin(run: Run, model: Model) -> None:
    result = run("--seed", "1", "--max-tokens", "8", typed="Hello\n")
    assert result.returncode == OK
    assert result.stdout == model.chat("Hello", seed=1, max_new_tokens=8).text + "\n"


def test_verbose_timings_go_to_stderr(run: Run) -> None:
    result = run("-p", "Hello", "--max-tokens", "3", "-v")
    assert result.returncode == OK
    for word in ("load", "vision", "audio", "prompt", "first token", "tok/s", "peak memory"):
        assert word in result.stderr


def test_help_and_version(run: Run) -> None:
    text = run("--help", model=None).stdout
    assert "130 interrupted" in " ".join(text.split())
    assert run("--version", model=None).stdout == f"minicpmo-cli {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--nonsense"], USAGE, "nonsense"),
        (["-p", "Hi", "--temperature", "hot"], USAGE, "temperature"),
        (["-p", "Hi", "--temperature", "nan"], USAGE, "temperature"),
        (["-p", "Hi", "--max-tokens", "0"], USAGE, "max-tokens"),
        (["-p", "Hi", "--ctx", "1000000000"], USAGE, "n_ctx"),
        (["-p", "Hi", "--device", "abacus"], USAGE, "abacus"),
        ([], USAGE, "prompt or media"),
        (["--task", "asr-en"], USAGE, "expected --audio"),
        (["--task", "dance", "--audio", "a.wav"], USAGE, "asr-zh, asr-en"),
        (["--task", "asr-en", "--audio", "a.wav", "-p", "Hi"], USAGE, "got both"),
        (["--audio", "no.wav"], BAD_INPUT, "no.wav"),
        (["--audio", __file__], BAD_INPUT, "[audio] expected an audio file"),
        (["--audio", "https://host/a.wav"], BAD_INPUT, "--allow-remote"),
        (["--video", "no.mp4", "-p", "Hi"], BAD_INPUT, "no.mp4"),
        (["--video", __file__, "-p", "Hi"], BAD_INPUT, "[video] expected"),
        (["--video", __file__, "-p", "Hi", "--fps", "0"], USAGE, "fps"),
        (["--video", __file__, "-p", "Hi", "--stack-frames", "0"], USAGE, "stack-frames"),
        (["-p", "Hi", "--image", "no.png"], BAD_INPUT, "no.png"),
        (["-p", "Hi", "--image", __file__], BAD_INPUT, "test_cli.py"),
        (["-p", "Hi", "--image", "https://host/a.png"], BAD_INPUT, "--allow-remote"),
        (["-p", "Hi", "--image", "http://127.0.0.1:1/a.png", "--allow-remote"], BAD_INPUT, "127.0.0.1:1"),
        (["-p", "word " * 200, "--ctx", "64"], FAILED, "64 tokens in the context"),
    ],
)
def test_exit_codes_and_messages(run: Run, arguments: list[str], code: int, message: str) -> None:
    result = run(*arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert result.stdout == ""


def test_models_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path, Path(__file__)):
        result = run("-p", "Hi", model=str(path))
        assert result.returncode == BAD_INPUT
        assert str(path) in result.stderr
        assert result.stderr.count("\n") == 1


def test_without_a_model_the_demo_answers_or_is_missed(run: Run) -> None:
    result = run("-p", "Hi", "--max-tokens", "2", model=None)
    assert "demo model" in result.stderr
    assert result.returncode in (OK, BAD_INPUT)
    assert result.stderr.count("\n") == 1


def test_parts_want_their_language_model(run: Run) -> None:
    result = run("-p", "Hi", "--mmproj", "vision.gguf", model=None)
    assert result.returncode == USAGE
    assert "expected the language model of these files" in result.stderr


def test_a_terminal_without_unicode_gets_question_marks(run: Run) -> None:
    arguments = ["-p", "Hello", "--seed", "1", "--max-tokens", "60", "--temperature", "5", "--top-p", "1"]
    whole, plain = run(*arguments), run(*arguments, PYTHONIOENCODING="ascii")
    assert plain.returncode == OK
    assert not whole.stdout.isascii()
    assert plain.stdout == whole.stdout.encode("ascii", "replace").decode()
    found = run(*arguments, "--json", PYTHONIOENCODING="ascii")
    assert json.loads(found.stdout)["text"] + "\n" == whole.stdout


def test_arguments_that_are_no_unicode_are_read(run: Run) -> None:
    assert run("-p", os.fsdecode(b"caf\xe9"), "--max-tokens", "2").returncode == OK


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")
def test_a_closed_pipe_is_no_error(model_path: Path, environment: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-m",
        "minicpmo_cpp.cli",
        "-m",
        str(model_path),
        "-p",
        "Hello",
        "--temperature",
        "0",
    ]
    command += ["--temperature", "0", "--repeat-penalty", "1", "--max-tokens", "20000"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == OK


def test_progress_shows_only_what_is_left_to_wait_for() -> None:
    screen = StringIO()
    display = ReadingProgress(Console(file=screen, force_terminal=True, width=80))
    display.update(Progress(0, 0, 0, 0, 0, 0))
    display.update(Progress(3, 3, 20, 20, 5, 5))
    assert screen.getvalue() == ""
    display.update(Progress(1, 3, 0, 0, 0, 0))
    display.update(Progress(3, 3, 0, 30, 0, 0))
    display.update(Progress(3, 3, 30, 30, 200, 512))
    display.stop()
    assert "images" in screen.getvalue()
    assert "audio" in screen.getvalue()
    assert "200/512" in screen.getvalue()
    pipe = StringIO()
    ReadingProgress(Console(file=pipe)).update(Progress(1, 3, 0, 0, 0, 0))
    assert pipe.getvalue() == ""


@pytest.fixture
def terminal(model_path: Path, environment: dict[str, str]) -> Any:
    pytest.importorskip("pty")
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        command = [sys.executable, "-m", "minicpmo_cpp.cli", "-t", "1", "-m", str(model_path), *arguments]
        opened.append(Terminal(command, environment))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_a_chat_keeps_its_history(terminal: Any, model: Model, picture: Path) -> None:
    chat = terminal("--seed", "7", "--max-tokens", "8", "--system", "Be brief.", "-v")
    chat.expect("> ")
    chat.type(f"/image {picture}\n")
    chat.expect("97 x 61 pixels go with your next message")
    chat.expect("> ")
    chat.type("What is it?\n")
    chat.expect("prompt ")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [PICTURE, "What is it?"]},
    ]
    n_prompt = int(chat.expect(" tokens"))
    assert n_prompt == len(model.build_prompt(messages).ids)
    chat.expect("> ")
    chat.type("And now?\n")
    chat.expect("prompt ")
    assert 0 < int(chat.expect(" tokens")) < n_prompt
    chat.expect("> ")
    chat.type("/clear\n")
    chat.expect("begins anew")
    chat.expect("> ")
    chat.type("What is it?\n")
    chat.expect("prompt ")
    messages[1]["content"] = "What is it?"
    assert int(chat.expect(" tokens")) == len(model.build_prompt(messages).ids)
    chat.expect("> ")
    chat.type("/system\n")
    chat.expect("begins anew")
    chat.expect("> ")
    chat.type("What is it?\n")
    chat.expect("prompt ")
    assert int(chat.expect(" tokens")) == len(model.build_prompt("What is it?").ids)
    chat.expect("> ")
    chat.type("/quit\n")
    assert chat.code() == OK


def test_a_chat_hears_and_watches(terminal: Any, model: Model, sound: Path, video: Path) -> None:
    chat = terminal("--seed", "7", "--max-tokens", "8", "-v")

    def counted(line: str) -> int:
        chat.expect("> ")
        chat.type(line + "\n")
        chat.expect("prompt ")
        return int(chat.expect(" tokens"))

    chat.expect("> ")
    chat.type("\n")  # nothing to send
    chat.expect("> ")
    chat.type(f"/audio {sound}\n")
    chat.expect("1.5 s of sound go with your next message")
    message: dict[str, Any] = {"role": "user", "content": [TONE]}
    assert counted("") == len(model.build_prompt([message]).ids)
    chat.expect("> ")
    chat.type("/clear\n")
    chat.expect("> ")
    chat.type(f"/video {video}\n")
    chat.expect("2 pictures and 2.0 s of sound go with your next message")
    chat.expect("> ")
    chat.type(f"/audio {sound}\n")
    chat.expect("1.5 s of sound go")
    message["content"] = [{"type": "video", "video": video}, "Why?", TONE]
    assert counted("Why?") == len(model.build_prompt([message]).ids)
    chat.expect("> ")
    chat.type("/quit\n")
    assert chat.code() == OK


def test_a_spoken_question_at_a_terminal_is_answered_at_once(terminal: Any, sound: Path) -> None:
    assert terminal("--audio", str(sound), "--max-tokens", "4").code() == OK


def test_commands_that_fail_do_not_end_the_chat(terminal: Any) -> None:
    # Likeliest tokens only: drawn ones may end the answer before the limit.
    chat = terminal("--max-tokens", "2", "-c", "64", "--temperature", "0", "--repeat-penalty", "1")
    for line, reply in (
        ("/help", "/system text"),
        ("/image no.png", "got nothing (no.png)"),
        ("/image", "[image] expected"),
        ("/audio no.wav", "got nothing (no.wav)"),
        (f"/audio {__file__}", "[audio] expected"),
        (f"/video {__file__}", "[video] expected"),
        ("/dance", "expected a command of /help, got /dance"),
        ("word " * 100, "/clear begins anew"),
        ("Hello, who are you?", "[the answer reached --max-tokens]"),
    ):
        chat.expect("> ")
        chat.type(line + "\n")
        chat.expect(reply)
    chat.expect("> ")
    chat.type("\x04")
    assert chat.code() == OK


def test_ctrl_c_stops_the_answer_and_not_the_chat(terminal: Any, golden: Path) -> None:
    endless = ["--temperature", "0", "--repeat-penalty", "1", "--max-tokens", "30000"]
    chat = terminal(*endless)
    for _ in range(2):
        chat.expect("> ")
        chat.type("Hello, who are you?\n")
        chat.expect("<|listen|><|listen|>")
        chat.type("\x03")
        chat.expect("[interrupted]", 20)
    chat.expect("> ")
    chat.type("\x03")
    chat.expect("/quit leaves")
    chat.expect("> ")
    chat.type("/quit\n")
    assert chat.code() == OK


def test_ctrl_c_ends_a_single_answer_with_its_own_code(terminal: Any, golden: Path) -> None:
    once = terminal(
        "--temperature", "0", "--repeat-penalty", "1", "--max-tokens", "30000", "-p", "Hello, who are you?"
    )
    once.expect("<|listen|><|listen|>")
    once.type("\x03")
    assert once.code() == INTERRUPTED


def test_json_is_for_single_answers(terminal: Any) -> None:
    assert terminal("--json").code() == USAGE


def test_a_terminal_gets_no_control_characters(terminal: Any) -> None:
    once = terminal(
        "-p",
        "Hello",
        "--temperature",
        "5",
        "--top-p",
        "1",
        "--top-k",
        "0",
        "--seed",
        "1",
        "--max-tokens",
        "400",
    )
    assert once.code() == OK
    assert not [letter for letter in once._seen if ord(letter) < 32 and letter not in "\r\n\t"]
