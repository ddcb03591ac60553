"""A converted file becomes one of another type."""

from __future__ import annotations

import contextlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from checkpoint_folder import (
    GOLDEN,
    Folder,
    both,
    needs_golden,
    read_keys,
    read_types,
)
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.requantize import requantize

TYPES = list(RECIPES)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "checkpoint")


@pytest.mark.parametrize("type_name", ["q8_0", "q4_k_m", "f16", "bf16", "f32"])
def test_requantizing_f32_equals_converting(folder: Folder, type_name: str, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "f32.gguf", "f32")
    convert(folder.path, tmp_path / "direct.gguf", type_name)
    requantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", type_name)
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()


@needs_golden
@both
def test_requantizing_golden_f32_to_q8_0_equals_converting(name: str, tmp_path: Path) -> None:
    convert(GOLDEN / name / "checkpoint", tmp_path / "f32.gguf", "f32")
    convert(GOLDEN / name / "checkpoint", tmp_path / "direct.gguf", "q8_0")
    requantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", "q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()
    assert read_keys(tmp_path / "again.gguf")["minicpmo.audio.file_type"] == 7
    assert read_types(tmp_path / "again.gguf")["a.blk.0.attn_q.weight"] == "q8_0"


def test_a_file_without_audio_stays_one(folder: Folder, tmp_path: Path) -> None:
    folder.drop_audio()
    convert(folder.write(), tmp_path / "f32.gguf", "f32")
    convert(folder.path, tmp_path / "direct.gguf", "q8_0")
    requantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", "q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()
    assert "minicpmo.audio.file_type" not in read_keys(tmp_path / "again.gguf")


def test_requantizing_blocks_keeps_equal_types_and_says_that_others_lose(
    folder: Folder, tmp_path: Path
) -> None:
    convert(folder.write(), tmp_path / "q8_0.gguf", "q8_0")
    lines: list[str] = []
    requantize(tmp_path / "q8_0.gguf", tmp_path / "same.gguf", "q8_0", lines.append)
    assert (tmp_path / "same.gguf").read_bytes() == (tmp_path / "q8_0.gguf").read_bytes()
    assert not lines
    requantize(tmp_path / "q8_0.gguf", tmp_path / "q4_0.gguf", "q4_0", lines.append)
    assert len(lines) == 1
    assert "twice" in lines[0]
    assert read_types(tmp_path / "q4_0.gguf")["blk.0.attn_q.weight"] == "q4_0"
    assert read_keys(tmp_path / "q4_0.gguf")["general.file_type"] == 2


def test_requantizing_refuses_its_own_input_and_foreign_files(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "in.gguf"
    convert(folder.write(), path, "f32")
    with pytest.raises(ConvertError, match="other than the input"):
        requantize(path, path, "q8_0")
    foreign = gguf.GGUFWriter(tmp_path / "foreign.gguf", "llama")
    foreign.add_tensor("x", np.zeros(4, np.float32))
    foreign.write_header_to_file()
    foreign.write_kv_data_to_file()
    foreign.write_tensors_to_file()
    foreign.close()
    with pytest.raises(ConvertError, match="'llama'"):
        requantize(tmp_path / "foreign.gguf", tmp_path / "out.gguf", "q8_0")


def test_damaged_gguf_files_are_refused_or_read(folder: Folder, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "in.gguf", "q8_0")
    whole = (tmp_path / "in.gguf").read_bytes()
    header = whole.index(b"mm.a.linear2.bias") + 64
    damaged = tmp_path / "damaged.gguf"
    rng = np.random.default_rng(3)
    for size in [0, 3, 8, 23, *rng.integers(24, header, 60), len(whole) - 40]:
        damaged.write_bytes(whole[:size])
        with pytest.raises(ConvertError):
            requantize(damaged, tmp_path / "out.gguf", "q8_0")
    for _ in range(300):
        place = int(rng.integers(0, header - 8))
        patch = rng.choice([b"\xff" * 8, b"\x00" * 8, b"\xff" * 4, rng.bytes(1), rng.bytes(3)])
        damaged.write_bytes(whole[:place] + bytes(patch) + whole[place + len(patch) :])
        with contextlib.suppress(ConvertError):
            requantize(damaged, tmp_path / "out.gguf", "f16")
