"""Tiny models for the tests: golden checkpoints converted once, or the demo model where there are none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import minicpmo_cpp
import numpy as np
import pytest
from media_files import wav
from minicpmo_cpp import Model
from minicpmo_cpp.parity.golden import Golden
from published_pair import Pair

REPOSITORY = Path(__file__).resolve().parents[2]
SETS = ("tiny-a", "tiny-b")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the golden data."""
    folder = Path(os.environ.get("MINICPMO_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
    if not (folder / "tokens.json").exists():
        pytest.skip(f"no golden data in {folder}; MINICPMO_GOLDEN names another folder")
    return folder


@pytest.fixture(scope="session")
def convert_once(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """(golden set, type) -> a GGUF file."""
    convert = pytest.importorskip("minicpmo_convert.convert").convert
    folder = tmp_path_factory.mktemp("models")

    def converted(name: str, type_name: str) -> Path:
        path = folder / f"{name}-{type_name}.gguf"
        if not path.exists():
            data = Golden(golden / name)
            convert(data.checkpoint, path, type_name, token2wav=[data.causal_vocoder])
        return path

    return converted


@pytest.fixture(scope="session")
def model_path(request: pytest.FixtureRequest) -> Path:
    """Any tiny model that reads text and images."""
    demo = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
    try:
        converted = request.getfixturevalue("convert_once")
    except pytest.skip.Exception:
        if not demo.exists():
            raise
        return demo
    path: Path = converted("tiny-a", "f32")
    return path


@pytest.fixture(scope="session")
def model(model_path: Path) -> Model:
    return Model.load(model_path, n_threads=1)


@pytest.fixture(scope="session")
def mute_path(convert_once: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads text and nothing else."""
    pair = Pair(convert_once("tiny-a", "f32"))
    is_text = ("token_embd.", "output", "blk.")
    pair.llm.tensors = {name: data for name, data in pair.llm.tensors.items() if name.startswith(is_text)}
    return pair.llm.write(tmp_path_factory.mktemp("mute") / "llm.gguf")


@pytest.fixture(scope="session", params=SETS)
def golden_set(request: pytest.FixtureRequest, golden: Path) -> Golden:
    return Golden(golden / request.param)


@pytest.fixture(scope="session")
def golden_model(golden_set: Golden, convert_once: Callable[[str, str], Path]) -> Model:
    """The golden set's model at f32."""
    return Model.load(convert_once(golden_set.name, "f32"))


@pytest.fixture(scope="session")
def omni_files(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A published folder: path in it -> content."""
    write_folder = pytest.importorskip("minicpmo_convert.layouts.folder").write_folder
    folder, data = tmp_path_factory.mktemp("omni"), Golden(golden / "tiny-a")
    recording = tmp_path_factory.mktemp("voice") / "voice.wav"
    recording.write_bytes(wav((0.3 * np.sin(np.arange(32000) / 4)).astype(np.float32)))
    write_folder(
        *(data.checkpoint, folder, "q8_0", "omni"),
        token2wav=[data.causal_vocoder],
        voices={"sine": recording},
    )
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def environment() -> dict[str, str]:
    """For subprocesses: the packages that this process imports, UTF-8, no colours."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "TERM": "dumb"}
