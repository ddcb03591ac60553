"""The integer kernels on processors that this machine is not: Arm by a cross compiler, and x86 without newer
instructions, both by QEMU. Skipped where these are not installed; our CI has them."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = {"aarch64": "aarch64-linux-gnu-g++", "x86_64": "g++"}
DOCTEST_FOLDERS = ("/usr/include", "/usr/local/include")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} exited with {done.returncode}:\n{output[-6000:]}"
    )
    return output


def folder_of_doctest(machine: str) -> str:
    """Where doctest is, if everything else is here, too."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("these tests are written for x86-64 Linux: g++ there is taken for a compiler of its code")
    folders = [f for f in DOCTEST_FOLDERS if (Path(f) / "doctest" / "doctest.h").exists()]
    programs = (COMPILERS[machine], f"qemu-{machine}-static")
    missing = [program for program in programs if shutil.which(program) is None]
    if folders and not missing:
        return folders[0]
    reason = f"kernels for {machine} need doctest, {' and '.join(programs)}: see .ci/run"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def build(machine: str, folder: Path) -> Path:
    doctest = folder_of_doctest(machine)
    run(
        *("cmake", "-S", ROOT / "tests" / "cpp" / "emulated", "-B", folder, "-G", "Ninja"),
        *("-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={machine}", "-DCMAKE_BUILD_TYPE=Release"),
        *(f"-DCMAKE_CXX_COMPILER={COMPILERS[machine]}", f"-DMINICPMO_DOCTEST={doctest}"),
        f"-DMINICPMO_WERROR={'ON' if os.environ.get('CI') else 'OFF'}",
    )
    run("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("aarch64", tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def x86(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("x86_64", tmp_path_factory.mktemp("x86"))


def check(machine: str, processor: str, folder: Path, n_set: int) -> None:
    """The tests pass, and they found n_set instruction sets to test beside ggml's own kernels."""
    emulated = (f"qemu-{machine}-static", "-cpu", processor, "-L", f"/usr/{machine}-linux-gnu")
    output = run(*emulated, folder / "test_int8")
    print(output)
    assert "SUCCESS" in output
    output = run(*emulated, folder / "test_int8", "-s", "-tc=the kernels in use*")
    assert output.count("kernels::int8_kernels(set) ) is correct") == n_set + 1


# Without dot products, with them, and with products of matrices.
@pytest.mark.parametrize(("processor", "n_set"), [("cortex-a72", 0), ("neoverse-n1", 1), ("max", 2)])
def test_kernels_for_arm_agree_with_double_arithmetic(arm: Path, processor: str, n_set: int) -> None:
    check("aarch64", processor, arm, n_set)


# Without AVX, and with AVX2.
@pytest.mark.parametrize(("processor", "n_set"), [("Nehalem", 0), ("Haswell", 1)])
def test_older_x86_processors_meet_no_newer_instruction(x86: Path, processor: str, n_set: int) -> None:
    check("x86_64", processor, x86, n_set)


def test_files_of_one_instruction_set_share_nothing_with_others(arm: Path) -> None:
    """A function that such a file shares could be taken for all, and fail on an older processor."""
    objects = [next(arm.rglob(f"{name}_kernels.cpp.o")) for name in ("dotprod", "i8mm")]
    for path in objects:
        lines = run("aarch64-linux-gnu-nm", "--defined-only", path).splitlines()
        shared = [line.split()[2] for line in lines if line.split()[1] not in "trdbn"]
        assert len(shared) == 1, shared  # its table of kernels
