"""The committed stubs are what pybind11-stubgen makes of the built module."""

import subprocess
import sys
from pathlib import Path

import minicpmo_cpp
import pytest

COMMITTED = Path(minicpmo_cpp.__file__).parent / "_core.pyi"


def test_the_stubs_are_generated_from_the_module(tmp_path: Path) -> None:
    """To renew them: pybind11-stubgen minicpmo_cpp._core -o python, then ruff format."""
    pytest.importorskip("pybind11_stubgen", reason="pybind11-stubgen is not installed")
    root = Path(__file__).resolve().parents[2]
    generate = [sys.executable, "-m", "pybind11_stubgen", "minicpmo_cpp._core", "-o", str(tmp_path)]
    subprocess.run(generate, check=True, capture_output=True)
    fresh = tmp_path / "minicpmo_cpp" / "_core.pyi"
    style = [sys.executable, "-m", "ruff", "format", "--config", str(root / "pyproject.toml"), str(fresh)]
    subprocess.run(style, check=True, capture_output=True)
    assert fresh.read_text() == COMMITTED.read_text()
