"""Builds and runs the C++ tests, and damaged model files under sanitizers. Needs a compiler and doctest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
N_MUTANT = 2000
# Of each published layout, whose files are larger: more of them where there is time.
N_SET_MUTANT = int(os.environ.get("MINICPMO_SET_MUTANTS", "200"))


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} exited with {done.returncode}:\n{output[-6000:]}"
    )
    return output


def has_doctest() -> bool:
    folders = ["/usr/include", "/usr/local/include", "/opt/homebrew/include"]
    return any((Path(folder) / "doctest" / "doctest.h").exists() for folder in folders)


def build(preset: str, folder: Path, *targets: str) -> None:
    if not has_doctest():
        reason = "the C++ tests need doctest: apt-get install doctest-dev, brew install doctest"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # A compiler we have not met may warn about something new; only our own CI fails on that.
    werror = "ON" if os.environ.get("CI") else "OFF"
    python = f"-DPython_EXECUTABLE={sys.executable}"
    run("cmake", "--preset", preset, "-B", folder, python, f"-DMINICPMO_WERROR={werror}")
    run("cmake", "--build", folder, *(("--target", *targets) if targets else ()))


def test_the_cpp_tests_pass(tmp_path: Path) -> None:
    build("tests", tmp_path)
    print(run("ctest", "--test-dir", tmp_path, "--output-on-failure"))


@pytest.fixture(scope="module")
def fuzz_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asan")
    build("asan", folder, "fuzz_gguf")
    return folder / "tests" / "cpp" / "fuzz_gguf"


@pytest.mark.parametrize("kind", ["--builtin", "--builtin-books"])
def test_damaged_model_files_are_refused_under_sanitizers(kind: str, fuzz_gguf: Path) -> None:
    output = run(fuzz_gguf, kind, str(N_MUTANT), "1")
    print(output)
    assert f"{N_MUTANT} mutated files" in output


@pytest.mark.parametrize("layout", ["omni", "mmproj"])
def test_damaged_files_of_published_sets_are_refused_under_sanitizers(
    layout: str, golden: Path, fuzz_gguf: Path, tmp_path: Path
) -> None:
    write_folder = pytest.importorskip("minicpmo_convert.layouts.folder").write_folder
    voices = {}
    if layout == "omni":
        voices["hum"] = tmp_path / "hum.wav"
        soundfile.write(voices["hum"], np.sin(np.arange(16000) * 0.05), 16000)
    write_folder(golden / "tiny-a" / "checkpoint", tmp_path / "set", "q8_0", layout, voices=voices)
    output = run(fuzz_gguf, tmp_path / "set", str(N_SET_MUTANT), "1")
    print(output)
    assert f"{N_SET_MUTANT} mutated files" in output
