"""`minicpmo-convert inspect` says what a file is."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from checkpoint_folder import Folder
from gguf import GGUFWriter
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.inspection import inspect
from published_pair import Pair
from typer.testing import CliRunner


@pytest.fixture
def single(tmp_path: Path) -> Path:
    folder = Folder(tmp_path / "checkpoint")
    convert(folder.write(), tmp_path / "single.gguf", "q8_0")
    return tmp_path / "single.gguf"


def write(path: Path, architecture: str, *names: str) -> Path:
    writer = GGUFWriter(path, architecture)
    for name in names:
        writer.add_tensor(name, np.ones((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_single_file_is_told_module_by_module(single: Path) -> None:
    lines = list(inspect(single))
    assert lines[0].startswith(f"{single}: a whole model, ")
    assert "  layout:       single file of minicpmo-convert" in lines
    modules = [line.split()[0] for line in lines if line.startswith("  ") and ":" not in line]
    assert modules == ["module", "llm", "vision", "audio"]
    assert lines[-1] == "  can:          reads and writes text; sees pictures and video; hears"


def test_a_pair_is_told_apart_by_its_tensors(single: Path, tmp_path: Path) -> None:
    llm, vision = Pair(single).write(tmp_path / "pair")
    swapped = vision.rename(tmp_path / "pair" / "language-model.gguf")
    assert "language model" in next(inspect(llm))
    assert "vision tower and resampler" in next(inspect(swapped))


@pytest.mark.parametrize(
    ("architecture", "names", "title"),
    [
        ("llama", ["token_embd.weight", "blk.0.attn_norm.weight", "head_code.0.weight"], "speech codes"),
        ("whisper", ["encoder.conv1.weight"], "audio encoder"),
        ("projector", ["linear1.weight", "linear2.weight"], "projector"),
        ("any", ["estimator.in_proj.weight"], "flow estimator"),
        ("any", ["pre_lookahead_layer.conv1.weight"], "flow encoder"),
        ("any", ["spk_embed_affine_layer.weight"], "flow tables"),
        ("any", ["f0_predictor.condnet.0.weight"], "vocoder"),
        ("any", ["prompt_cache.spk_cb"], "voice as the flow remembers it"),
        ("clip", ["v.patch_embd.weight"], "another family"),
        ("voice", ["voice.0.spk"], "voices"),
        ("any", ["x"], "no known layout"),
    ],
)
def test_kinds(architecture: str, names: list[str], title: str, tmp_path: Path) -> None:
    lines = list(inspect(write(tmp_path / "file.gguf", architecture, *names)))
    assert title in lines[0]
    assert lines[-1].startswith("  can:")


def test_the_command_prints_files_and_refuses_others_in_a_line(single: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", str(single), str(single)])
    assert done.exit_code == 0
    assert done.stdout.count("a whole model") == 2
    done = CliRunner().invoke(app, ["inspect", str(single.parent)])
    assert done.stdout.count("a whole model") == 1
    (tmp_path / "odd\n.gguf").write_bytes(b"text")
    for path in (tmp_path / "checkpoint", tmp_path / "none", tmp_path / "odd\n.gguf"):
        done = CliRunner().invoke(app, ["inspect", str(path)])
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1


def test_what_a_file_says_cannot_move_the_cursor(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", "x\x1b[2J\ny", "t\x1b")
    assert all(line.isprintable() for line in inspect(path))


def test_damaged_files_raise_convert_errors(single: Path, tmp_path: Path) -> None:
    whole, rng = single.read_bytes(), np.random.default_rng(3)
    damaged = tmp_path / "damaged.gguf"
    for _ in range(150):
        place = int(rng.integers(0, 6000))
        patch = bytes(rng.choice([b"\xff" * 8, b"\x00" * 8, rng.bytes(1), rng.bytes(3)]))
        damaged.write_bytes(whole[:place] + patch + whole[place + len(patch) :])
        with contextlib.suppress(ConvertError):
            assert all(line.isprintable() for line in inspect(damaged))
