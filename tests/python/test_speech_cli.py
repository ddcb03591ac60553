from __future__ import annotations

import json
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from media_files import wav
from minicpmo_cpp import Model, Voice
from minicpmo_cpp.sound_file import SoundFile, check_path, to_pcm
from minicpmo_cpp.tasks import MIMICK_PROMPT, MIMICK_SYSTEM
from test_cli import BAD_INPUT, FAILED, OK, USAGE, Run, run, terminal  # noqa: F401  fixtures
from test_voice import RECORDING

RATE = 24000
SHORT = ("--seed", "3", "--max-tokens", "6", "--temperature", "1")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "ref.wav"
    path.write_bytes(wav(RECORDING))
    return path


def length(path: Path) -> float:
    found = soundfile.info(path)
    assert (found.samplerate, found.channels, found.subtype) == (RATE, 1, "PCM_16")
    return float(found.frames) / found.samplerate


def test_an_answer_becomes_a_file(run: Run, recording: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in ("out.wav", "out.flac"):
        path = tmp_path / name
        result = run(*SHORT, "-p", "Hello", "--ref-audio", str(recording), "-o", str(path), "--json")
        assert result.returncode == OK, result.stderr
        assert result.stderr == ""
        found = json.loads(result.stdout)
        assert found["speech"]["path"] == str(path)
        assert found["speech"]["audio_s"] == pytest.approx(length(path))
        assert min(found["speech"]["rtf"], found["speech"]["first_sample_s"], found["speech"]["n_code"]) > 0
    one, other = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("out.wav", "out.flac"))
    np.testing.assert_array_equal(one, other)


def test_text_and_file_are_those_of_the_library(
    run: Run,  # noqa: F811
    model: Model,
    recording: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.wav"
    result = run(*SHORT, "-p", "Hello", "--ref-audio", str(recording), "-o", str(path), "-v")
    assert "real-time factor" in result.stderr
    options: dict[str, Any] = {"seed": 3, "max_new_tokens": 6, "temperature": 1}
    expected = model.chat("Hello", audio=True, voice=RECORDING, stream=True, **options).result()
    assert result.stdout == expected.text + "\n"
    assert expected.audio is not None
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], to_pcm(expected.audio))


def test_a_text_is_read_out(run: Run, recording: Path, tmp_path: Path, model: Model) -> None:  # noqa: F811
    path, saved = tmp_path / "out.wav", tmp_path / "anna.gguf"
    model.encode_voice(RECORDING).save(saved)
    result = run(
        *SHORT, "--speak", "Good morning.", "--voice", str(saved), "-o", str(path), "--speech-steps", "2"
    )
    assert result.returncode == OK, result.stderr
    options: dict[str, Any] = {"seed": 3, "max_new_tokens": 6, "temperature": 1, "n_steps": 2}
    expected = model.speak("Good morning.", Voice.load(saved), stream=True, **options).result()
    assert expected.audio is not None
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], to_pcm(expected.audio))


@pytest.mark.parametrize("mode", ["assistant", "roleplay", "clone", "mimick"])
def test_modes_have_the_official_prompts(
    run: Run,  # noqa: F811
    model: Model,
    recording: Path,
    tmp_path: Path,
    mode: str,
) -> None:
    from minicpmo_cpp import system_prompt

    path = tmp_path / "out.wav"
    arguments = [*SHORT, "--mode", mode, "-o", str(path), "--json"]
    if mode == "mimick":
        arguments += ["--audio", str(recording)]
        system: dict[str, Any] = {"role": "system", "content": MIMICK_SYSTEM}
        content = [MIMICK_PROMPT, RECORDING]
    else:
        arguments += ["--ref-audio", str(recording), "--lang", "en", "-p", "你好", "--system", "Be brief."]
        name = {"assistant": "audio_assistant", "roleplay": "audio_roleplay", "clone": "voice_cloning"}[mode]
        system, content = system_prompt(RECORDING, name, "en"), ["你好"]
        last = system["content"][-1]
        persona = [last + "Be brief."] if isinstance(last, str) else [last, "Be brief."]
        system["content"] = [*system["content"][:-1], *persona]
    found = json.loads(run(*arguments).stdout)
    messages = [system, {"role": "user", "content": content}]
    assert found["timings"]["n_prompt"] == len(model.build_prompt(messages, use_tts_template=True).ids)
    assert length(path) > 0


def test_voices_are_listed(run: Run, model: Model) -> None:  # noqa: F811
    result = run("--voices")
    assert (result.returncode, result.stdout.split()) == (OK, model.voices)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-p", "Hi", "-o", "out.mp3", "--voice", "ref"], USAGE, ".wav or .flac"),
        (["-p", "Hi", "-o", "no/out.wav", "--voice", "ref"], BAD_INPUT, "expected a folder"),
        (["-p", "Hi", "-o", "out.wav"], USAGE, "--ref-audio"),
        (["-p", "Hi", "-o", "out.wav", "--voice", "nobody"], USAGE, "nobody"),
        (["-p", "Hi", "-o", "out.wav", "--ref-audio", "no.wav"], BAD_INPUT, "no.wav"),
        (["-p", "Hi", "-o", "out.wav", "--ref-audio", "ref", "--voice", "ref"], USAGE, "got both"),
        (["-p", "Hi", "-o", "out.wav", "--ref-audio", "short.wav"], BAD_INPUT, "got 0.1 s"),
        (["-p", "Hi", "-o", "out.wav", "--voice", "ref", "--speech-steps", "0"], USAGE, "speech-steps"),
        (["-p", "Hi", "-o", "out.wav", "--voice", "ref", "--mode", "dance"], USAGE, "assistant, roleplay"),
        (["-p", "Hi", "-o", "out.wav", "--voice", "ref", "--lang", "de"], USAGE, "zh, en"),
        (["-p", "Hi", "-o", "out.wav", "--voice", "ref", "--think"], USAGE, "thoughts"),
        (["-p", "Hi", "--voice", "ref"], USAGE, "--output or"),
        (["--speak", "Hi"], USAGE, "--output or"),
        (["--speak", " ", "-o", "out.wav"], USAGE, "empty"),
        (["--speak", "Hi", "-p", "Hi", "-o", "out.wav", "--voice", "ref"], USAGE, "--speak"),
        (["--mode", "mimick", "-o", "out.wav"], USAGE, "--audio"),
    ],
)
def test_exit_codes_and_messages(
    run: Run,  # noqa: F811
    recording: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "short.wav").write_bytes(wav(RECORDING[:1600]))
    places = {name: str(tmp_path / name) for name in ("out.wav", "short.wav")} | {"ref": str(recording)}
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.returncode == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert not (tmp_path / "out.wav").exists()


def test_a_model_without_speech_fails(
    run: Run,  # noqa: F811
    mute_path: Path,
    recording: Path,
    tmp_path: Path,
) -> None:
    arguments = ("-p", "Hi", "-o", str(tmp_path / "out.wav"), "--ref-audio", str(recording))
    result = run(*arguments, model=str(mute_path))
    assert (result.returncode, result.stdout) == (FAILED, "")
    assert "speaks" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="the player is a script")
def test_a_player_gets_the_samples(
    run: Run,  # noqa: F811
    environment: dict[str, str],
    recording: Path,
    tmp_path: Path,
) -> None:
    tools, heard, path = tmp_path / "tools", tmp_path / "heard.raw", tmp_path / "out.wav"
    tools.mkdir()
    program = tools / "aplay"
    program.write_text(f"#!/bin/sh\nexec /bin/cat > '{heard}'\n")
    program.chmod(0o755)
    arguments = [*SHORT, "-p", "Hello", "--ref-audio", str(recording)]
    result = run(*arguments, "--play", "-o", str(path), PATH=str(tools))
    assert result.returncode == OK, result.stderr
    np.testing.assert_array_equal(np.fromfile(heard, "<i2"), soundfile.read(path, dtype="int16")[0])
    program.write_text("#!/bin/sh\nexit 7\n")
    broken = run(*arguments, "--play", PATH=str(tools))
    assert broken.returncode == OK
    assert "exit code 7" in broken.stderr
    program.unlink()
    without = run(*arguments, "--play", PATH=str(tools))
    assert (without.returncode, without.stdout) == (FAILED, "")
    assert "ffplay, aplay, paplay, afplay" in without.stderr


def test_a_wav_file_can_be_played_at_any_time(tmp_path: Path) -> None:
    file = SoundFile(tmp_path / "out.wav", RATE)
    for n in range(1, 4):
        file.write(np.full(100, 0.5, np.float32))
        with wave.open(str(tmp_path / "out.wav")) as found:
            assert found.getnframes() == 100 * n
    file.close()
    with pytest.raises(ValueError, match="flac"):
        check_path(tmp_path / "out.ogg")
    (tmp_path / "x.wav").mkdir()
    with pytest.raises(OSError, match="cannot"):
        check_path(tmp_path / "x.wav")
    levels = to_pcm(np.array([0, 1, -1, 2, -2], np.float32))
    np.testing.assert_array_equal(levels, [0, 32767, -32767, 32767, -32768])


def test_ctrl_c_leaves_a_file_that_plays(terminal: Any, recording: Path, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "out.wav"
    arguments = ("-p", "Hi", "--ref-audio", str(recording), "-o", str(path), "--max-tokens", "3000")
    once = terminal(*arguments, "--temperature", "0", "--repeat-penalty", "1")
    while not path.exists() or path.stat().st_size < 2 * RATE:
        once._seen += once._read()
    once.type("\x03")
    assert once.code() == 130
    assert length(path) >= 1


def test_a_chat_writes_a_file_for_every_answer(
    terminal: Any,  # noqa: F811
    recording: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.wav"
    chat = terminal(*SHORT, "--ref-audio", str(recording), "-o", str(path))
    for n in (1, 2):
        chat.expect("> ")
        chat.type("Hello\n")
        chat.expect(f"of speech to {tmp_path / f'out-{n}.wav'}")
    chat.expect("> ")
    chat.type("/voice nobody\n")
    chat.expect("got 'nobody'")
    chat.expect("> ")
    chat.type(f"/voice {recording}\n")
    chat.expect("2.0 s of a voice")
    chat.expect("begins anew")
    chat.expect("> ")
    chat.type("/voice\n")
    chat.expect("expected one of")
    chat.expect("> ")
    chat.type("/quit\n")
    assert chat.code() == OK
    assert [length(tmp_path / f"out-{n}.wav") > 0 for n in (1, 2)] == [True, True]
    assert not path.exists()


def test_the_voice_of_a_silent_chat_cannot_change(terminal: Any) -> None:  # noqa: F811
    chat = terminal()
    chat.expect("> ")
    chat.type("/voice Anna\n")
    chat.expect("--output or --play")
    chat.expect("> ")
    chat.type("/quit\n")
    assert chat.code() == OK
