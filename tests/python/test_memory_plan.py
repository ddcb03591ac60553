"""What a model needs is told before it is loaded, and what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoint_folder import needs_golden
from gguf import GGUFReader
from minicpmo_convert.layouts.folder import write_folder
from minicpmo_cpp import MemoryPlan, Model, UnsupportedModelError, plan_memory

PLENTY = 2**40
SPEECH = {"tts", "t2w", "s3", "spk", "voices"}


@pytest.fixture(scope="module")
def path(convert_once: Callable[[str, str], Path]) -> Path:
    return convert_once("tiny-a", "f16")


def needs(plan: MemoryPlan) -> dict[str, int]:
    return {need.name: need.mapped + need.allocated for need in plan.needs}


def cli(*arguments: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minicpmo_cpp.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )


@needs_golden
def test_weights_are_the_bytes_of_the_file(path: Path) -> None:
    bytes_of: dict[str, int] = {}
    for tensor in GGUFReader(path).tensors:
        first = tensor.name.split(".")[0]
        modules = {"v": "vision", "resampler": "vision", "a": "audio", "mm": "audio", "voice": "voices"}
        module = modules.get(first, first if first in SPEECH else "llm")
        bytes_of[module] = bytes_of.get(module, 0) + int(tensor.n_bytes)
    found = needs(plan_memory(path, available_memory=PLENTY))
    assert {"llm", "vision", "audio", "tts", "t2w", "s3", "spk"} <= set(bytes_of)
    assert {name: found[name] for name in bytes_of} == bytes_of


@needs_golden
def test_a_set_of_files_is_planned_like_one(golden: Path, path: Path, tmp_path: Path) -> None:
    """What is rewritten is allocated; the rest stays in the files."""
    write_folder(golden / "tiny-a" / "checkpoint", tmp_path / "set", "f32", "omni")
    plan = plan_memory(tmp_path / "set", available_memory=PLENTY)
    weights = {need.name: need for need in plan.needs if need.name in {"llm", "vision", "audio", *SPEECH}}
    assert weights["llm"].allocated == weights["vision"].allocated == 0
    assert weights["t2w"].allocated > 0
    text = plan_memory(tmp_path / "set", available_memory=PLENTY, modules=[])
    assert [need.name for need in text.needs if need.mapped > 0] == ["llm"]
    assert Model.load(tmp_path / "set", modules=["vision"]).config["modules"] == ("llm", "vision")


@needs_golden
def test_modules_that_are_not_wanted_are_not_there(path: Path) -> None:
    model = Model.load(path, modules=["vision"])
    assert model.config["modules"] == ("llm", "vision")
    assert set(needs(model.memory_plan)).isdisjoint({"audio", *SPEECH})
    assert model.encode_image(np.zeros((40, 40, 3), np.uint8)).ndim == 3
    with pytest.raises(UnsupportedModelError, match="got one loaded without audio"):
        model.encode_audio(np.zeros(16000, np.float32))
    with pytest.raises(UnsupportedModelError, match="got one loaded without speech"):
        model.chat("hi", audio=True)
    with pytest.raises(ValueError, match='among llm, vision, audio and speech, got "sight"'):
        Model.load(path, modules=["sight"])
    with pytest.raises(TypeError, match="expected names of modules, got 'vision'"):
        Model.load(path, modules="vision")
    with pytest.raises(TypeError, match="expected no keyword modul"):
        Model.load(path, modul=["vision"])  # type: ignore[call-arg]


MEASURE = """
import sys
from minicpmo_cpp import Model
def resident():  # bytes of pages of files, and of all
    lines = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
    return [1024 * int(lines[name].split()[0]) for name in ("RssFile", "RssAnon")]
before = resident()
model = Model.load(sys.argv[1], modules=sys.argv[2].split(",") if sys.argv[2] else [], n_threads=1)
model.chat("What is this?", max_new_tokens=2, ignore_stop=True, n_ctx=512)
after = resident()
print(after[0] - before[0], after[1] - before[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@needs_golden
def test_a_text_answer_leaves_other_modules_on_the_disk(
    golden: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Of a set, whose vocoders and tables would be rewritten in memory: those bytes stay away."""
    write_folder(golden / "tiny-a" / "checkpoint", tmp_path / "set", "f32", "omni")

    def anonymous(modules: str) -> int:
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "set"), modules]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return int(done.stdout.split()[1])

    plan = plan_memory(tmp_path / "set", available_memory=PLENTY)
    rewritten = sum(need.allocated for need in plan.needs if need.name in {"tts", "t2w"})
    assert rewritten > 0
    saved = anonymous("vision,audio,speech") - anonymous("")
    # The heap keeps freed memory back and begins in pages, so that some of it may be missing.
    assert saved > 0.5 * rewritten


@needs_golden
def test_weights_copied_into_memory_are_planned_and_answer_the_same(path: Path) -> None:
    mapped = plan_memory(path, available_memory=PLENTY, n_ctx=512).total
    copied = plan_memory(path, available_memory=PLENTY, n_ctx=512, use_mmap=False).total
    assert mapped.mapped > 0
    assert copied.mapped == 0
    # A tensor that the processor cannot read where it lies is copied either way.
    assert copied.allocated == mapped.allocated + mapped.mapped
    with pytest.raises(MemoryError, match="of memory for 512 tokens"):
        Model.load(path, n_ctx=512, available_memory=copied.allocated - 1, use_mmap=False)
    greedy = {"max_new_tokens": 8, "temperature": 0, "ignore_stop": True, "n_ctx": 512}
    answers = [Model.load(path, use_mmap=use_mmap).chat("hi", **greedy) for use_mmap in (True, False)]
    assert answers[0].token_ids == answers[1].token_ids
    with pytest.raises(TypeError, match="use_mmap"):
        Model.load(path, use_mmap="no")  # type: ignore[arg-type]


@needs_golden
def test_the_context_shrinks_to_what_fits(path: Path) -> None:
    whole = plan_memory(path, available_memory=PLENTY, modules=[])
    assert whole.n_ctx == Model.load(path).config["llm"]["n_ctx_train"]
    assert whole.fits
    enough = whole.total.mapped + whole.total.allocated
    assert plan_memory(path, available_memory=enough, modules=[]).n_ctx == whole.n_ctx
    less = enough - whole.kv_bytes_per_token * whole.n_ctx // 3
    plan = plan_memory(path, available_memory=less, modules=[])
    assert 512 <= plan.n_ctx < whole.n_ctx
    assert plan.fits
    more = plan_memory(path, available_memory=less, modules=[], n_ctx=plan.n_ctx + 1)
    assert not more.fits
    model = Model.load(path, available_memory=less, modules=[])
    assert model.memory_plan == plan
    assert model.session().n_ctx == plan.n_ctx
    assert Model.load(path, n_ctx=300).session().n_ctx == 300


@needs_golden
def test_what_cannot_fit_is_refused_with_numbers(path: Path) -> None:
    wanted = plan_memory(path, available_memory=PLENTY, n_ctx=2048)
    few = wanted.total.allocated - 1
    numbers = [f"{n / 2**20:.1f} MiB" for n in (wanted.total.allocated, few)]
    message = f"expected {numbers[0]} of memory for 2048 tokens .* got {numbers[1]}"
    with pytest.raises(MemoryError, match=message) as refused:
        Model.load(path, n_ctx=2048, available_memory=few)
    assert "\nvision " in str(refused.value)
    model = Model.load(path, n_ctx=2048, available_memory=few, memory_check=False)
    assert model.session().n_ctx == 2048
    with pytest.raises(MemoryError, match="expected"):
        Model.load(path, available_memory=1000)
    with pytest.raises(ValueError, match="expected n_ctx of 0 to"):
        Model.load(path, n_ctx=10**6)
    with pytest.raises(ValueError, match=r"\(available_memory\)"):
        plan_memory(path, available_memory=-1)


@needs_golden
def test_a_plan_is_for_people_and_programs(path: Path) -> None:
    plan = plan_memory(path, available_memory=2**33, kv_type="q8_0", max_sessions=2)
    assert plan.available == 2**33
    assert plan.n_sessions == 2
    half = plan_memory(path, available_memory=2**33, kv_type="f16")
    assert plan.kv_bytes_per_token * 32 == half.kv_bytes_per_token * 17  # 34 bytes for 32 numbers
    lines = str(plan).splitlines()
    assert lines[0].split() == ["file's", "pages", "allocated"]
    assert {line.split()[0] for line in lines[1:]} >= {"llm", "vision", "context", "sum", "available"}
    assert dataclasses.asdict(plan)["needs"][0]["name"] == "llm"


@needs_golden
def test_the_command_line_plans_what_it_would_load(path: Path, environment: dict[str, str]) -> None:
    done = cli("-m", path, "-p", "hi", "-c", 1024, "--plan", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "1024 tokens of context" in done.stdout
    assert done.stdout.endswith("\nit fits\n")
    assert "vision" not in done.stdout
    asked = cli(
        "-m",
        path,
        "-p",
        "hi",
        "--image",
        "none.png",
        "-o",
        "x.wav",
        "--plan",
        "--json",
        environment=environment,
    )
    names = {need["name"] for need in json.loads(asked.stdout)["needs"]}
    assert {"llm", "vision", "audio", "tts", "t2w"} <= names


@needs_golden
def test_the_command_line_refuses_with_the_table(path: Path, environment: dict[str, str]) -> None:
    code = "import sys\nfrom minicpmo_cpp import cli, _core\nload = _core.Model.load\n"
    code += "_core.Model.load = lambda *a, **k: load(*a, **{**k, 'available': 1000})\ncli.main()\n"
    command = [sys.executable, "-c", code, "-m", str(path), "-p", "hi"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("minicpmo-cli: [memory] expected ")
    assert "\ncontext " in done.stderr
    freely = subprocess.run(
        [*command, "--no-memory-check", "--max-tokens", "2"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert freely.returncode == 0, freely.stderr
