"""Importance matrices: read in both formats, and what they change."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from checkpoint_folder import Folder, read_keys, read_values
from gguf import GGUFWriter
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.imatrix import importance_of, read_imatrix
from minicpmo_convert.requantize import requantize
from minicpmo_cpp import _core
from numpy.typing import NDArray
from typer.testing import CliRunner

NAME = "blk.0.ffn_down.weight"
WEIGHTS = np.linspace(0, 2, 256, dtype=np.float32) ** 8


def write_gguf(path: Path, sums: NDArray[np.float32], count: float = 4.0, name: str = NAME) -> Path:
    writer = GGUFWriter(path, "imatrix")
    writer.add_string("general.type", "imatrix")
    writer.add_tensor(f"{name}.in_sum2", (sums * count)[None].astype(np.float32))
    writer.add_tensor(f"{name}.counts", np.full((1, 1), count, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_list(path: Path, sums: NDArray[np.float32], n_call: int = 4, name: str = NAME) -> Path:
    entry = struct.pack("<ii", 1, len(name)) + name.encode() + struct.pack("<ii", n_call, len(sums))
    tail = struct.pack("<ii", 7, 4) + b"text"  # chunks and data set, which newer ones end with
    path.write_bytes(entry + (sums * n_call).astype("<f4").tobytes() + tail)
    return path


@pytest.mark.parametrize("write", [write_gguf, write_list])
def test_both_formats_are_read(write: object, tmp_path: Path) -> None:
    found = read_imatrix(write(tmp_path / "imatrix", WEIGHTS))  # type: ignore[operator]
    assert list(found) == [NAME]
    np.testing.assert_allclose(found[NAME], WEIGHTS, rtol=1e-6)
    assert importance_of(found, "blk.1.ffn_down.weight", 3) is None
    with pytest.raises(ConvertError, match=r"importance of 128 inputs, got 256 .*another model"):
        importance_of(found, NAME, 128)


@pytest.mark.parametrize("name", ["q2_k", "q3_k", "q4_k", "q5_k", "q4_0", "q4_1", "iq4_nl", "iq4_xs"])
def test_errors_move_to_where_they_matter_less(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    plain = _core.dequantize(_core.quantize(values, name), name, 256)
    weighed = _core.dequantize(_core.quantize(values, name, importance=WEIGHTS), name, 256)

    def error(found: NDArray[np.float32]) -> float:
        return float((((found - values) ** 2) * WEIGHTS).sum())

    assert error(weighed) < error(plain)


def test_importance_is_checked() -> None:
    values = np.ones((2, 64), np.float32)
    for bad in (np.ones(63, np.float32), np.full(64, -1, np.float32), np.full(64, np.nan, np.float32)):
        with pytest.raises(ValueError, match=r"\[quantize\] expected"):
            _core.quantize(values, "q4_0", importance=bad)


def test_a_conversion_weighs_what_was_measured(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "checkpoint")
    imatrix = write_gguf(tmp_path / "imatrix.gguf", WEIGHTS)
    convert(folder.write(), tmp_path / "plain.gguf", "q4_k_m")
    convert(folder.path, tmp_path / "weighed.gguf", "q4_k_m", imatrix=imatrix)
    plain, weighed = read_values(tmp_path / "plain.gguf"), read_values(tmp_path / "weighed.gguf")
    assert [name for name in plain if not np.array_equal(plain[name], weighed[name])] == [NAME]
    keys = read_keys(tmp_path / "weighed.gguf")
    assert keys["quantize.imatrix.file"] == "imatrix.gguf"
    assert keys["quantize.imatrix.entries_count"] == 1
    convert(folder.path, tmp_path / "f32.gguf", "f32")
    requantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", "q4_k_m", imatrix=imatrix)
    assert np.array_equal(read_values(tmp_path / "again.gguf")[NAME], weighed[NAME])


def test_the_command_line_takes_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "checkpoint").write()
    imatrix, out = write_list(tmp_path / "imatrix.dat", WEIGHTS), tmp_path / "out.gguf"
    done = CliRunner().invoke(app, [str(folder), "-o", str(out), "-t", "q4_k_s", "--imatrix", str(imatrix)])
    assert done.exit_code == 0, done.output
    assert read_keys(out)["quantize.imatrix.file"] == "imatrix.dat"
    arguments = ["--merge", "a", "b", "-o", "c", "--imatrix", str(imatrix)]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    out.write_bytes(b"old")
    done = CliRunner().invoke(app, [str(folder), "-o", str(out), "--imatrix", str(folder / "config.json")])
    assert done.exit_code == 1
    assert done.stderr.startswith("minicpmo-convert: [imatrix] expected ")
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("write", [write_gguf, write_list])
def test_damaged_ones_are_refused(write: object, tmp_path: Path) -> None:
    path = tmp_path / "imatrix"
    for odd in (np.full(8, np.nan, np.float32), np.zeros(8, np.float32), np.full(8, -1, np.float32)):
        with pytest.raises(ConvertError, match=r"\[imatrix\]|\[tensor\]"):
            read_imatrix(write(path, odd))  # type: ignore[operator]
    whole = write(path, WEIGHTS).read_bytes()  # type: ignore[operator]
    rng = np.random.default_rng(1)
    for _ in range(200):
        place = int(rng.integers(0, len(whole) - 8))
        cut = whole[:place] + rng.bytes(4) + whole[place + 4 : int(rng.integers(place, len(whole)))]
        path.write_bytes(cut)
        try:
            found = read_imatrix(path)
        except ConvertError:
            continue
        assert all(np.isfinite(values).all() for values in found.values())
    with pytest.raises(ConvertError, match="expected a file"):
        read_imatrix(tmp_path)
