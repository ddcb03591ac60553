"""Published layouts, written and read back: the same model as the single file."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from checkpoint_folder import Folder, needs_golden
from gguf import GGUFReader, GGUFWriter
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.inspection import inspect
from minicpmo_convert.layouts.folder import write_folder
from minicpmo_convert.layouts.mel_bank import mel_bank
from minicpmo_cpp import Model, ModelFileError, UnsupportedModelError
from minicpmo_cpp.parity.flow import compare_flow
from minicpmo_cpp.parity.golden import Golden, Row
from minicpmo_cpp.parity.hearing import compare_hearing
from minicpmo_cpp.parity.tts import compare_tts
from minicpmo_cpp.parity.understanding import compare_model
from minicpmo_cpp.parity.vocoder import compare_vocoder
from minicpmo_cpp.parity.voice import compare_voice
from typer.testing import CliRunner

LLM = "MiniCPM-o-4_5-F32.gguf"
SUPPLEMENT = "MiniCPM-o-4_5-supplement.gguf"
VISION = Path("vision", "MiniCPM-o-4_5-vision-F16.gguf")
AUDIO = Path("audio", "MiniCPM-o-4_5-audio-F16.gguf")
TTS = Path("tts", "MiniCPM-o-4_5-tts-F16.gguf")
PROJECTOR = Path("tts", "MiniCPM-o-4_5-projector-F16.gguf")
ENCODER = Path("token2wav-gguf", "encoder.gguf")
COMPARISONS = (compare_model, compare_hearing, compare_tts, compare_flow, compare_vocoder, compare_voice)


@pytest.fixture(scope="module")
def write_once(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Golden set -> a published folder of it, which tests must not change."""
    folder = tmp_path_factory.mktemp("published")

    def written(name: str) -> Path:
        if not (folder / name).exists():
            data = Golden(golden / name)
            write_folder(data.checkpoint, folder / name, "f32", "omni", token2wav=[data.causal_vocoder])
        return folder / name

    return written


@pytest.fixture
def published(write_once: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder of its own."""
    return shutil.copytree(write_once("tiny-a"), tmp_path / "published")


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A language model and a vision tower of another width than the golden ones."""
    folder = Folder(tmp_path / "checkpoint")
    write_folder(folder.write(), tmp_path / "pair", "f32", "mmproj")
    return tmp_path / "pair"


def modules(path: Path, **parts: Path) -> tuple[str, ...]:
    found: tuple[str, ...] = Model.load(path, n_threads=1, **parts).config["modules"]  # type: ignore[arg-type]
    return found


def test_a_published_folder_equals_the_official_code(
    golden_set: Golden, write_once: Callable[[str], Path]
) -> None:
    """All golden numbers: the files hold the same model as the single one."""
    model = Model.load(write_once(golden_set.name))
    rows = [row for compare in COMPARISONS for row in compare(golden_set, model, "f32")]
    assert len(rows) > 150
    assert not [row for row in rows if not row.is_within]


def test_what_published_files_leave_out_is_as_the_official_code_has_it(golden: Path, published: Path) -> None:
    """Of the tiny model only two facts are not those of the published one: rows of its table of text."""
    (published / SUPPLEMENT).unlink()
    writer = GGUFWriter(published / SUPPLEMENT, "minicpmo")
    writer.add_uint32("minicpmo.version", 1)
    writer.add_string("minicpmo.llm.arch", "qwen3")
    writer.add_uint32("minicpmo.tts.audio_bos_token_id", 655)
    writer.add_uint32("minicpmo.tts.text_eos_token_id", 662)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    data, model = Golden(golden / "tiny-a"), Model.load(published)
    rows: list[Row] = []
    for compare in (compare_model, compare_hearing, compare_tts, compare_flow):
        rows += compare(data, model, "f32")
    with contextlib.suppress(UnsupportedModelError):  # the other vocoder has no published layout
        for row in compare_vocoder(data, model, "f32"):
            rows.append(row)
    assert {"tts logits", "flow stream", "vocoder stream"} < {row.module for row in rows}
    assert not [row for row in rows if not row.is_within]


@pytest.mark.parametrize("file", [".", LLM, VISION, AUDIO, TTS, PROJECTOR, ENCODER, SUPPLEMENT])
def test_any_file_leads_to_the_others(file: str | Path, write_once: Callable[[str], Path]) -> None:
    assert modules(write_once("tiny-b") / file) == ("llm", "vision", "audio", "speech")


def test_names_of_files_mean_nothing(published: Path) -> None:
    (published / LLM).rename(published / "mmproj.gguf")
    (published / VISION).rename(published / "vision" / "audio.gguf")
    (published / AUDIO).rename(published / "x.gguf")
    shutil.move(published / "token2wav-gguf", published / "y")
    assert modules(published / "mmproj.gguf") == ("llm", "vision", "audio", "speech")


def test_modules_that_are_not_there_are_missed_only_when_asked_for(
    published: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (published / AUDIO).unlink()
    (published / ENCODER).unlink()
    model = Model.load(published, n_threads=1)
    assert model.config["modules"] == ("llm", "vision")
    assert "expected a flow encoder beside a model of speech codes, got none" in capfd.readouterr().err
    with pytest.raises(UnsupportedModelError, match="expected a model that hears"):
        model.encode_audio(np.zeros(16000, np.float32))


def test_a_named_set_is_taken_as_it_is(published: Path) -> None:
    llm, token2wav = published / LLM, published / "token2wav-gguf"
    assert modules(llm, mmproj=published / VISION) == ("llm", "vision")
    assert modules(llm, audio_model=published / AUDIO) == ("llm", "audio")
    with pytest.raises(ModelFileError, match="expected a flow encoder, a flow estimator"):
        Model.load(llm, tts_model=published / TTS)
    with pytest.raises(ModelFileError, match=r"audio_bos_token_id: expected 0 to 767, got 151687"):
        Model.load(llm, tts_model=published / TTS, projector=published / PROJECTOR, token2wav=token2wav)
    with pytest.raises(ModelFileError, match="expected one language model, got several"):
        Model.load(llm, mmproj=published / LLM)
    with pytest.raises(TypeError, match=r"expected a path, got int \(mmproj\)"):
        Model.load(llm, mmproj=3)  # type: ignore[arg-type]


def test_neighbours_of_another_model_stay_outside(published: Path, pair: Path) -> None:
    for file in pair.iterdir():
        if "mmproj" in file.name:
            shutil.copy(file, published)
    assert modules(published / LLM) == ("llm", "vision", "audio", "speech")
    with pytest.raises(ModelFileError, match="expected a vision tower for a language model of width 256"):
        Model.load(published / LLM, mmproj=published / "mmproj-model-f16.gguf")


def test_a_choice_is_not_made_for_the_user(published: Path) -> None:
    shutil.copy(published / VISION, published / "second.gguf")
    with pytest.raises(
        ModelFileError, match=r"expected a vision tower, got several: .*second\.gguf.*; name one"
    ):
        Model.load(published / LLM)
    assert modules(published / LLM, mmproj=published / "second.gguf") == ("llm", "vision")
    assert modules(published / "second.gguf") == ("llm", "vision", "audio", "speech")
    shutil.copy(published / LLM, published / "other.gguf")
    with pytest.raises(ModelFileError, match="expected one language model, got several"):
        Model.load(published)


def test_damaged_neighbours_are_named_and_left_out(
    published: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = (published / VISION).read_bytes()
    (published / VISION).write_bytes(whole[: len(whole) // 2])
    assert modules(published / LLM) == ("llm", "audio", "speech")
    assert str(VISION) in capfd.readouterr().err
    with pytest.raises(ModelFileError, match=VISION.name):
        Model.load(published / LLM, mmproj=published / VISION)


def test_a_part_alone_asks_for_a_language_model(published: Path, tmp_path: Path) -> None:
    (tmp_path / "alone" / "deep").mkdir(parents=True)
    alone = shutil.copy(published / VISION, tmp_path / "alone" / "deep" / "v.gguf")
    with pytest.raises(ModelFileError, match=r"expected a language model beside a vision tower, got none"):
        Model.load(alone)
    with pytest.raises(ModelFileError, match="expected a language model, got none"):
        Model.load(tmp_path / "alone")


def test_a_huge_image_or_patch_is_refused(pair: Path) -> None:
    """Sizes that a vision file states must not become sizes of memory."""
    mmproj = pair / "mmproj-model-f16.gguf"
    whole = mmproj.read_bytes()
    for key, size in (("image_size", 2**31 - 1), ("image_size", 0), ("patch_size", 2**20), ("patch_size", 0)):
        place = whole.index(f"clip.vision.{key}".encode()) + len(f"clip.vision.{key}") + 4
        mmproj.write_bytes(whole[:place] + size.to_bytes(4, "little") + whole[place + 4 :])
        with pytest.raises(ModelFileError, match=rf"clip\.vision\.{key}: expected"):
            Model.load(pair / LLM)


def test_folders_look_as_published(write_once: Callable[[str], Path]) -> None:
    folder = write_once("tiny-b")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gguf"))
    t2w = [f"token2wav-gguf/{name}.gguf" for name in ("encoder", "flow_extra", "flow_matching", "hifigan2")]
    assert files == sorted([LLM, SUPPLEMENT, *map(str, (VISION, AUDIO, TTS, PROJECTOR)), *t2w])
    assert not any("no known layout" in next(inspect(folder / file)) for file in files)
    shapes = {
        tensor.name: tensor.shape.tolist()
        for file in (VISION, AUDIO, TTS, "token2wav-gguf/hifigan2.gguf")
        for tensor in GGUFReader(folder / file).tensors
    }
    assert shapes["v.blk.0.ffn_down.weight"] == [144, 272]
    assert shapes["resampler.pos_embed_k"] == [256, 4900]
    assert shapes["encoder.conv1.weight"] == [3, 80, 128]
    assert shapes["encoder.conv1.bias"] == [1, 128]
    assert shapes["head_code.0.weight"] == [6562, 64]
    assert shapes["token_embd.weight"] == [64, 768]
    assert shapes["ups.0.weight"] == [16, 16, 32]


@needs_golden
@pytest.mark.parametrize(("type_name", "kind"), [("f32", "F32"), ("q8_0", "F16")])
def test_types_of_published_files(type_name: str, kind: str, golden: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = [
        str(golden / "tiny-a" / "checkpoint"),
        "-o",
        str(folder),
        "--layout",
        "omni",
        "-t",
        type_name,
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for file, matrix in ((VISION, "v.blk.0.attn_q.weight"), (AUDIO, "encoder.conv2.weight")):
        types = {t.name: t.tensor_type.name for t in GGUFReader(folder / file).tensors}
        assert types[matrix] == kind
        assert {types[name] for name in types if name.endswith("bias")} == {"F32"}
    types = {t.name: t.tensor_type.name for t in GGUFReader(folder / TTS).tensors}
    assert (types["blk.0.attn_q.weight"], types["emb_text.weight"], types["head_code.0.weight"]) == (
        kind,
        "F32",
        "F32",
    )
    assert {t.tensor_type.name for t in GGUFReader(folder / ENCODER).tensors} == {"F32"}
    assert modules(folder) == ("llm", "vision", "audio", "speech")


def test_half_files_differ_little_from_whole_ones(golden: Path, tmp_path: Path) -> None:
    checkpoint = golden / "tiny-a" / "checkpoint"
    write_folder(checkpoint, tmp_path / "half", "f16", "omni")
    convert(checkpoint, tmp_path / "whole.gguf", "f32")
    half, whole = Model.load(tmp_path / "half", n_threads=1), Model.load(tmp_path / "whole.gguf", n_threads=1)
    image = np.random.default_rng(1).integers(0, 255, (200, 100, 3), np.uint8)
    sound = np.random.default_rng(2).standard_normal(16000).astype(np.float32) * 0.1
    for encode, argument in ((Model.encode_image, image), (Model.encode_audio, sound)):
        expected = encode(whole, argument)
        assert np.linalg.norm(encode(half, argument) - expected) < 5e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--requantize", "a", "-o", "b", "--layout", "omni"],
        ["--merge", "a", "b", "-o", "c", "--layout", "mmproj"],
        ["a", "-o", "b", "--layout", "mmproj", "--voice", "me=me.wav"],
        ["a", "-o", "b", "--layout", "none"],
    ],
)
def test_layouts_are_made_of_checkpoints(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_file_is_no_place_for_a_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "checkpoint")
    (tmp_path / "file").write_bytes(b"old")
    for target in (tmp_path / "file", tmp_path / "none" / "out"):
        with pytest.raises(ConvertError, match="expected a"):
            write_folder(folder.write(), target, "f32", "omni")
        shutil.rmtree(folder.path)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_mel_filters() -> None:
    filters = mel_bank(80, 400, 16000)
    assert filters.shape == (80, 201)
    assert (filters >= 0).all()
    assert (filters.max(1) > 0).all()
    widths = np.array([np.count_nonzero(row) for row in filters])
    assert widths[0] <= widths[-1]
    assert filters[0, 1] == pytest.approx(0.02486259, abs=1e-6)  # librosa.filters.mel(sr=16000, n_fft=400)


# Relative L2. Two towers in float32 differ by rounding, 1e-5 here. Flash attention of llama.cpp has keys and
# values in half precision, which costs more, on tiny-b's ramp 1.4e-2.
@needs_golden
@pytest.mark.parametrize("picture", ["noise", "ramp"])
@pytest.mark.parametrize(
    ("name", "attention", "limit"),
    [("tiny-a", "flash", 1e-2), ("tiny-a", "exact", 1e-4), ("tiny-b", "exact", 1e-4)],
)
def test_llama_cpp_sees_the_same(
    name: str, attention: str, limit: float, picture: str, golden: Path, tmp_path: Path
) -> None:
    """On a square of one slice, where it places patches as the official code does."""
    peer = os.environ.get("MINICPMO_LLAMA_CPP")
    if peer is None:
        pytest.skip("MINICPMO_LLAMA_CPP names no Python with llama-cpp-python")
    write_folder(golden / name / "checkpoint", tmp_path / "pair", "f32", "mmproj")
    down, across = np.mgrid[:448, :448]
    ramp = np.stack([across // 2, down // 2, (across + down) // 4], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (448, 448, 3), np.uint8)
    pixels = noise if picture == "noise" else ramp
    np.save(tmp_path / "pixels.npy", pixels)
    llm = tmp_path / "pair" / LLM
    script = Path(__file__).with_name("llama_cpp_embedding.py")
    files = [llm, llm.with_name("mmproj-model-f16.gguf"), tmp_path / "pixels.npy", tmp_path / "theirs.npy"]
    options = ["exact"] if attention == "exact" else []
    subprocess.run([peer, script, *files, *options], check=True, capture_output=True)
    theirs = np.load(tmp_path / "theirs.npy")
    ours = Model.load(llm).encode_image(pixels, max_slice_nums=1)[0]
    assert np.linalg.norm(theirs - ours) < limit * np.linalg.norm(ours)


@pytest.fixture(scope="module")
def with_voice(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder with a voice, as the flow remembers it and as a recording."""
    folder = tmp_path_factory.mktemp("voice")
    recording = np.sin(np.arange(16000) * 0.05) * 0.3
    soundfile.write(folder / "me.wav", recording, 16000)
    checkpoint = golden / "tiny-a" / "checkpoint"
    write_folder(checkpoint, folder / "out", "f32", "omni", voices={"me": folder / "me.wav"})
    return folder / "out"


def test_a_remembered_voice_sounds_as_the_recording_does(with_voice: Path) -> None:
    model = Model.load(with_voice, n_threads=2)
    assert model.voices == ["me", "default"]
    options = {"max_new_tokens": 12, "temperature": 0.0, "ignore_stop": True, "seed": 1, "audio": True}
    heard = model.chat("Hi", voice="me", n_steps=5, voice_prompt=None, **options)  # type: ignore[call-overload]
    recalled = model.chat("Hi", voice="default", voice_prompt=None, **options)  # type: ignore[call-overload]
    assert len(recalled.audio) > 24000
    np.testing.assert_array_equal(recalled.audio, heard.audio)


def test_a_remembered_voice_wants_its_own_number_of_steps(with_voice: Path, tmp_path: Path) -> None:
    model = Model.load(with_voice, n_threads=1)
    with pytest.raises(ValueError, match=r"expected 5 steps of the flow, as the voice .*default.*, got 10"):
        model.chat("Hi", audio=True, voice="default", n_steps=10, max_new_tokens=2)
    with pytest.raises(ValueError, match="got one that lives in its model's flow"):
        model.voice("default").save(tmp_path / "voice.gguf")
    assert len(model.voice("default").codes) == 0


def test_a_voice_of_another_flow_is_refused(
    with_voice: Path, write_once: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(write_once("tiny-b"), tmp_path / "other")
    cache = Path("token2wav-gguf", "prompt_cache.gguf")
    shutil.copy(with_voice / cache, folder / cache)
    model = Model.load(folder, n_threads=1)
    with pytest.raises(ValueError, match="expected a cache made by such a flow"):
        model.chat("Hi", audio=True, voice="default", max_new_tokens=2)
