"""The README's commands and examples are true."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "docs" / "assets" / "coffee.jpg"


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import resources

    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    demo = resources.files("minicpmo_cpp") / "data" / "demo.gguf"
    (tmp_path / "model.gguf").write_bytes(demo.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in blocks("python"):  # each goes on from the one before
        exec(compile(example, "README.md", "exec"), names)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", ["streaming"])
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import resources

    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    demo = resources.files("minicpmo_cpp") / "data" / "demo.gguf"
    (tmp_path / "model.gguf").write_bytes(demo.read_bytes())
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, f"{page}.md", "exec"), {})


def test_the_first_command_answers() -> None:
    command = blocks("sh")[0].split("&&")[1]
    arguments = shlex.split(command)
    assert arguments[0] == "minicpmo-cli"
    done = subprocess.run(
        [sys.executable, "-m", "minicpmo_cpp.cli", *arguments[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert len(done.stderr.strip().splitlines()) == 1, "one line says that this is a demo"


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    command = next(block.strip() for block in blocks("sh") if "pytest" in block)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
