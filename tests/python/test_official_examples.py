"""The calls of the official examples, one script each, on the built-in demo model."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minicpmo_cpp
import numpy as np
import pytest
import soundfile
from media_files import film, wav
from minicpmo_cpp.official import MiniCPMO

PIL = pytest.importorskip("PIL.Image")

EXAMPLES = Path(__file__).parent / "official_examples"
DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
REAL = ("librosa", "torch")  # are imported where they are installed
N_TOKEN = 4  # at most, of answers whose words mean nothing


def tone(seconds: float) -> np.ndarray:
    time = np.arange(int(16000 * seconds), dtype=np.float32) / 16000
    return (0.2 * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(9 * time))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples open."""
    path = tmp_path_factory.mktemp("official")
    os.symlink(DEMO, path / "model.gguf")
    (path / "clip.mp4").write_bytes(film(2))
    (path / "voice.wav").write_bytes(wav(tone(1.2)))
    (path / "question.wav").write_bytes(wav(tone(2.3)))
    soundfile.write(path / "speech.mp3", tone(2.0), 24000)
    PIL.new("RGB", (90, 60), (200, 40, 40)).save(path / "first.png")
    PIL.new("RGB", (60, 90), (40, 40, 200)).save(path / "second.jpg")
    return path


def brief(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with short answers, whatever an example allows."""

    @functools.wraps(method)
    def call(self: MiniCPMO, *arguments: Any, **options: Any) -> Any:
        self._n_steps = 1
        return method(self, *arguments, **options | {"max_new_tokens": N_TOKEN, "seed": 1})

    return call


@pytest.mark.filterwarnings("default::DeprecationWarning")  # of librosa and torch, where they are installed
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_an_official_example_runs(
    script: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from packages import stand_ins

    for name, module in stand_ins().items():
        if name not in REAL or importlib.util.find_spec(name) is None:
            monkeypatch.setitem(sys.modules, name, module)
    for name in ("chat", "streaming_generate"):
        monkeypatch.setattr(MiniCPMO, name, brief(getattr(MiniCPMO, name)))
    monkeypatch.chdir(folder)
    for old in folder.glob("out*"):
        old.unlink()

    runpy.run_path(str(script))

    assert capsys.readouterr().out
    for name in re.findall(r'"(out\w*\.wav)"', script.read_text(encoding="utf-8")):
        samples, rate = soundfile.read(folder / name)
        assert rate == 24000
        assert len(samples) > 0
        assert np.isfinite(samples).all()
