"""Reference voices inside a model file, as the engine reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from checkpoint_folder import GOLDEN, Folder, needs_golden, read_keys, read_types
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.gguf_file import GgufFile
from minicpmo_convert.requantize import requantize
from minicpmo_convert.voices import add_voices, parse
from minicpmo_convert.writer import Output, write
from minicpmo_cpp import _core
from numpy.typing import NDArray
from typer.testing import CliRunner

soundfile = pytest.importorskip("soundfile")
pytestmark = needs_golden
CHECKPOINT = GOLDEN / "tiny-a" / "checkpoint"
RATE = 16000
PARTS = {"prompt_tokens": "i32", "prompt_mel": "f32", "spk": "f32", "pcm16k": "i16"}


def sound(seconds: float, hertz: float) -> NDArray[np.int16]:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(round(hertz)).normal(0, 0.02, len(time))
    wave = 0.3 * np.sin(2 * np.pi * hertz * time) * (1 + np.sin(11 * time)) + noise
    return (wave.clip(-1, 1) * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, float], Path]:
    """(seconds, Hz) -> an audio file."""
    folder = tmp_path_factory.mktemp("sounds")

    def write(seconds: float, hertz: float = 220.0) -> Path:
        path = folder / f"{seconds}={hertz}.wav"  # a file name may hold what separates it from the name
        soundfile.write(path, sound(seconds, hertz), RATE)
        return path

    return write


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "plain.gguf"
    convert(CHECKPOINT, path, "bf16")
    return path


def load(path: Path) -> _core.Model:
    return _core.Model.load(str(path), device="cpu", n_threads=1)


def check_voice(path: Path, name: str, recording: NDArray[np.int16]) -> None:
    """The file's voice is what the engine hears in the recording."""
    model = load(path)
    expected = _core.encode_voice(model, recording / np.float32(32768), name)
    got = _core.voice(model, name)
    assert got.name == name
    for part in ("codes", "mel", "speaker", "pcm"):
        ours, theirs = getattr(got, part), getattr(expected, part)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(got.pcm, recording)


def contents(path: Path, *but: str) -> dict[str, bytes]:
    tensors = {t.name: t.data.tobytes() for t in gguf.GGUFReader(path).tensors}
    return {name: data for name, data in tensors.items() if not name.startswith(but)}


def files_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_a_conversion_with_voices_is_the_plain_one_and_what_the_engine_hears(
    wav: Callable[..., Path], plain: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.gguf"
    voices = {"low": wav(1.5, 150.0), "Höhe 高": wav(3.02, 400.0)}
    assert convert(CHECKPOINT, path, "bf16", voices=voices) == path.stat().st_size
    assert files_beside(path) == ["out.gguf"]
    assert _core.voices(load(path)) == ["low", "Höhe 高"]
    check_voice(path, "low", sound(1.5, 150.0))
    check_voice(path, "Höhe 高", sound(3.02, 400.0))
    assert contents(path, "voice.") == contents(plain)
    types = read_types(path)
    assert {n: t for n, t in types.items() if n.startswith("voice.")} == {
        f"voice.{i}.{part}": kind for i in range(2) for part, kind in PARTS.items()
    }
    assert list(types)[:-8] == list(read_types(plain))
    keys, plain_keys = read_keys(path), read_keys(plain)
    added = {"minicpmo.voice.count": 2, "minicpmo.voice.0.name": "low", "minicpmo.voice.1.name": "Höhe 高"}
    for key in ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"):
        keys.pop(key), plain_keys.pop(key)
    assert keys == plain_keys | added


def test_voices_stay_when_types_change_and_a_name_given_again_is_replaced(
    wav: Callable[..., Path], plain: Path, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{i}.gguf" for i in range(3))
    requantize(plain, first, "q8_0", voices={"a": wav(1.0, 150.0), "b": wav(2.0, 200.0)})
    requantize(plain, tmp_path / "direct.gguf", "q4_k_m")
    lines: list[str] = []
    requantize(first, second, "q8_0", lines.append)
    assert not lines
    assert second.read_bytes() == first.read_bytes()
    requantize(first, third, "q4_k_m", voices={"c": wav(1.2, 300.0), "a": wav(2.5, 250.0)})
    assert _core.voices(load(third)) == ["a", "b", "c"]
    assert contents(third, "voice.0", "voice.2")["voice.1.spk"] == contents(first)["voice.1.spk"]
    assert _core.voice(load(third), "b").codes.tolist() == _core.voice(load(first), "b").codes.tolist()
    check_voice(third, "a", sound(2.5, 250.0))
    check_voice(third, "c", sound(1.2, 300.0))
    assert (
        read_types(third)["blk.0.attn_q.weight"]
        == read_types(tmp_path / "direct.gguf")["blk.0.attn_q.weight"]
    )


def test_what_else_a_file_says_of_a_voice_goes_with_it(
    wav: Callable[..., Path], plain: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.gguf"
    convert(CHECKPOINT, path, "bf16", voices={"a": wav(1.0), "b": wav(1.0)})
    file = GgufFile(path)
    for i in range(2):
        file.keys.text(f"minicpmo.voice.{i}.lang", "en")
    stale = [t.renamed(t.name.replace("voice.1", "voice.2")) for t in file.tensors if "voice.1" in t.name]
    write(path, file.keys, [Output(t, t.type) for t in (*file.tensors, *stale)])
    add_voices(path, path, {"b": wav(1.1, 300.0), "c": wav(1.1, 500.0)})
    keys = read_keys(path)
    assert keys["minicpmo.voice.0.lang"] == "en"
    assert "minicpmo.voice.1.lang" not in keys
    check_voice(path, "b", sound(1.1, 300.0))
    check_voice(path, "c", sound(1.1, 500.0))


def test_the_command_adds_to_the_file_itself_and_keeps_its_types(
    wav: Callable[..., Path], plain: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / "in.gguf", tmp_path / "other.gguf"
    path.write_bytes(plain.read_bytes())
    run = CliRunner().invoke
    result = run(app, ["--voice", f"a={wav(1.0)}", "--requantize", str(path)])
    assert result.exit_code == 0, result.output
    assert _core.voices(load(path)) == ["a"]
    assert contents(path, "voice.") == contents(plain)
    arguments = ["--requantize", str(path), "-o", str(other), "--voice", f"b={wav(1.0)}"]
    assert run(app, arguments).exit_code == 0
    assert _core.voices(load(other)) == ["a", "b"]
    assert contents(other, "voice.") == contents(plain)
    assert run(app, [*arguments, "--type", "q8_0"]).exit_code == 0
    assert read_types(other)["blk.0.attn_q.weight"] == "q8_0"
    assert _core.voices(load(other)) == ["a", "b"]
    fresh = [str(CHECKPOINT), "-o", str(other), "--voice", f"b={wav(1.0)}", "--voice", f"a={wav(1.5)}"]
    assert run(app, fresh).exit_code == 0
    assert _core.voices(load(other)) == ["b", "a"]
    assert files_beside(path) == ["in.gguf", "other.gguf"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--requantize", "in.gguf"],
        ["--requantize", "in.gguf", "--type", "q8_0", "--voice", "a=a.wav"],
        ["folder", "--voice", "a=a.wav"],
        ["--merge", "a.gguf", "b.gguf", "-o", "c.gguf", "--voice", "a=a.wav"],
    ],
)
def test_the_command_says_what_is_missing(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--output" in result.output or "--voice goes with" in result.output


def test_voices_are_given_by_name_and_file() -> None:
    assert parse(["a=x=y.wav", " b =z"]) == {"a": Path("x=y.wav"), " b ": Path("z")}
    for texts in (["a"], ["a="], ["a=x", "a=y"]):
        with pytest.raises(ConvertError, match=r"\[voice\] expected"):
            parse(texts)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "1 to 64 bytes, got 0"),
        ("é" * 33, "1 to 64 bytes, got 66"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("\u2028", "control characters"),
        ("a\udce9", "that is text"),
    ],
)
def test_names_are_text_for_people(name: str, message: str, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=message):
        add_voices(plain, tmp_path / "out.gguf", {name: Path("none.wav")})


def test_recordings_that_make_no_voice_are_refused_and_nothing_is_written(
    wav: Callable[..., Path], plain: Path, tmp_path: Path
) -> None:
    (tmp_path / "noise.wav").write_bytes(b"RIFF" + bytes(100))
    before = files_beside(tmp_path / "x")
    for path, message in (
        (wav(0.3), r"expected a recording of .* s, got 0\.3 s \('a'\)"),
        (wav(31.0), r"expected a recording of .* s, got 31 s \('a'\)"),
        (tmp_path / "none.wav", r"none\.wav"),
        (tmp_path, str(tmp_path.name)),
        (tmp_path / "noise.wav", r"\[audio\] expected .*noise\.wav"),
    ):
        voices = {"b": wav(1.0), "a": path}
        with pytest.raises(ConvertError, match=message):
            add_voices(plain, tmp_path / "out.gguf", voices)
        with pytest.raises(ConvertError, match=message):
            requantize(plain, tmp_path / "out.gguf", "q8_0", voices=voices)
        with pytest.raises(ConvertError, match=message):
            convert(CHECKPOINT, tmp_path / "out.gguf", "bf16", voices=voices)
    assert files_beside(tmp_path / "x") == before


def test_a_file_that_fails_stays_as_it_was(wav: Callable[..., Path], plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.gguf"
    path.write_bytes(plain.read_bytes())
    with pytest.raises(ConvertError):
        add_voices(path, path, {"a": wav(0.3)})
    with pytest.raises(ConvertError, match="other than the input"):
        requantize(path, path, "q8_0", voices={"a": wav(1.0)})
    assert path.read_bytes() == plain.read_bytes()
    assert files_beside(path) == ["in.gguf"]


def test_a_part_of_a_split_file_is_refused(wav: Callable[..., Path], plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00002.gguf"
    file = GgufFile(plain)
    file.keys.u32("split.count", 2)
    write(path, file.keys, [Output(t, t.type) for t in file.tensors])
    with pytest.raises(ConvertError, match="whole file, got a part of 2"):
        add_voices(path, path, {"a": wav(1.0)})


def test_a_model_that_cannot_speak_takes_no_voices(wav: Callable[..., Path], tmp_path: Path) -> None:
    mute, out = tmp_path / "mute.gguf", tmp_path / "out.gguf"
    folder = Folder(tmp_path / "checkpoint").write()
    with pytest.raises(ConvertError, match="got one without tts, t2w, s3, spk"):
        convert(folder, out, "f32", voices={"a": wav(1.0)})
    convert(folder, mute, "f32")
    with pytest.raises(ConvertError, match=r"without tts, t2w, s3, spk \(mute\.gguf\)"):
        add_voices(mute, out, {"a": wav(1.0)})
    with pytest.raises(ConvertError, match="expected a GGUF file"):
        add_voices(tmp_path / "none.gguf", out, {"a": wav(1.0)})
    assert not out.exists()


def test_a_file_with_as_many_voices_as_the_engine_reads_takes_no_more(
    wav: Callable[..., Path], plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minicpmo_convert.voices.MAX_VOICES", 1)
    path = tmp_path / "out.gguf"
    add_voices(plain, path, {"a": wav(1.0)})
    add_voices(path, path, {"a": wav(1.5)})
    with pytest.raises(ConvertError, match="at most 1 voices, got 2"):
        add_voices(path, path, {"b": wav(1.0)})
