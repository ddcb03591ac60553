"""minicpmo-cli bench, and the counting that its shares stand on. Times are not looked at: machines differ."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minicpmo_cpp
import pytest
from minicpmo_cpp import Model, __version__, _core
from minicpmo_cpp.bench.audio_work import AudioWork
from minicpmo_cpp.bench.decoder_work import token_bytes
from minicpmo_cpp.bench.model_work import ModelWork
from minicpmo_cpp.bench.roofline import Roofline
from minicpmo_cpp.bench.run import BenchRun
from minicpmo_cpp.bench.stages import NAMES
from minicpmo_cpp.bench.table import lines, to_table
from minicpmo_cpp.bench.vision_work import VisionWork
from minicpmo_cpp.bench.work import Matrices, Work
from minicpmo_cpp.config import Config
from rich.console import Console

OK, USAGE, BAD_INPUT, INTERRUPTED = 0, 2, 3, 130
DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
# The demo's weights fit into a cache, which is read several times as fast as memory, and limits that were
# measured beside another program are too low, so a share can pass 1. A wrong unit would be off by more.
MOST_SHARE = 20

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "minicpmo_cpp.cli", "bench", "-t", "1", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def demo() -> Iterator[Model]:
    with Model.load(DEMO, n_threads=1) as model:
        yield model


def bench_run(path: Path, *names: str) -> BenchRun:
    def load() -> Model:
        return Model.load(path, n_threads=1)

    return BenchRun(path, load(), load, names)


def test_everything_is_measured_and_written(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "out.json"
    done = run("--repeat", "2", "--json", str(place))
    assert done.returncode == OK, done.stderr
    found = json.loads(place.read_text(encoding="utf-8"))
    assert found["machine"]["n_threads"] == 1
    assert found["versions"]["minicpmo_cpp"] == __version__
    assert found["model"]["bytes"] == DEMO.stat().st_size
    assert set(found["stages"]) == set(NAMES)
    assert found["absent"] == {}
    for limit in found["limits"].values():
        assert limit["best"] == max(limit["samples"]) > 0
        assert len(limit["samples"]) == 2
    for name, stage in found["stages"].items():
        assert len(stage["samples_s"]) == 2, name
        assert min(stage["samples_s"]) <= stage["median_s"] <= max(stage["samples_s"])
        if name == "load":
            assert stage["share"] is None
            assert stage["note"]
            continue
        assert stage["work"], name
        assert stage["limited_by"] in (
            "memory",
            "arithmetic",
            "arithmetic and memory",
            "memory and arithmetic",
        )
        assert stage["share"] == pytest.approx(stage["limit_s"] / stage["median_s"])
        assert 0 < stage["share"] < MOST_SHARE, name
        assert name in done.stdout
    assert found["stages"]["prefill-512"]["rate"] == pytest.approx(
        512 / found["stages"]["prefill-512"]["median_s"]
    )


def test_only_what_is_asked_for(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "out.json"
    done = run("--repeat", "1", "--stages", "decode,vision", "--json", str(place), "-m", str(DEMO))
    assert done.returncode == OK, done.stderr
    assert list(json.loads(place.read_text(encoding="utf-8"))["stages"]) == ["vision", "decode"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--stages", "sight"), USAGE, "got sight"),
        (("--stages", ","), USAGE, "names of stages"),
        (("--repeat", "0"), USAGE, "--repeat"),
        (("--threads", "-1"), USAGE, "--threads"),
        (("--device", "nowhere"), USAGE, "expected a device among"),
        (("--json", "nowhere/out.json"), BAD_INPUT, "[output] expected a file in a folder"),
        (("--json", "."), BAD_INPUT, "[output] expected a file in a folder"),
        (("-m", "nowhere.gguf"), BAD_INPUT, "[cli] expected a GGUF file, got nothing"),
    ],
)
def test_arguments_are_checked_before_anything_runs(
    run: Run, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert message in done.stderr


def test_what_a_model_cannot_do_is_absent(mute_path: Path) -> None:
    bench = bench_run(mute_path)
    bench.measure(1, lambda _: None)
    document = bench.document()
    bench.close()
    assert {"vision", "first-token", "audio-chunk", "audio-30s", "codes", "token2wav-10"} <= set(
        document["absent"]
    )
    assert {"load", "decode"} <= set(document["stages"])
    json.dumps(document, allow_nan=False)
    assert any("does not see" in line for line in lines(document))
    with pytest.raises(ValueError, match="the model does not see"):
        bench_run(mute_path, "vision")


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_ctrl_c_ends_it_at_once(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "minicpmo_cpp.cli", "bench", "-t", "1", "--repeat", "1000"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
    ) as process:
        try:
            assert process.stderr is not None
            assert "demo model" in process.stderr.readline()  # from here on it can be interrupted
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == INTERRUPTED
            assert process.stderr.read().splitlines()[-1] == "interrupted"
        finally:
            process.kill()  # or a failure would wait for its end


def _heed_interrupts() -> None:
    """A shell's background job ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_table_steers_no_terminal() -> None:
    bench = bench_run(DEMO, "decode")
    bench.measure(1, lambda _: None)
    document: dict[str, Any] = bench.document()
    bench.close()
    document["model"]["name"] = "a\x1b[31mname [red]"
    out = io.StringIO()
    Console(file=out, width=200).print(to_table(document))
    assert "\x1b" not in out.getvalue()
    assert "[red]" in out.getvalue()


def test_a_token_reads_the_layers_the_head_and_a_row(demo: Model) -> None:
    sizes = {name: n_byte for name, _, _, n_byte in demo._open().tensors()}
    shapes = {name: shape for name, shape, _, _ in demo._open().tensors()}
    row = sizes["token_embd.weight"] // shapes["token_embd.weight"][-1]
    layers = sum(size for name, size in sizes.items() if name.startswith("blk."))
    expected = layers + sizes["output_norm.weight"] + sizes["output.weight"] + row
    assert token_bytes(Matrices(demo._open().tensors())) == expected
    assert ModelWork(demo).decoder.of_token().n_byte == expected


def test_a_prompt_is_counted_product_by_product(demo: Model) -> None:
    llm, n = demo.config["llm"], 7
    d, heads, kv = llm["n_embd"], llm["n_head"] * llm["d_head"], llm["n_head_kv"] * llm["d_head"]
    layer = n * (2 * d * heads + 2 * d * kv + 3 * d * llm["n_ff"]) + 2 * heads * n * (n + 1) // 2
    expected = 2 * (llm["n_layer"] * layer + d * llm["n_vocab"])
    found = ModelWork(demo).decoder.of_prefill(n)
    assert found.n_op == found.real == expected  # the demo's weights are floats
    assert ModelWork(demo).decoder.of_prefill(n + 1).n_byte > found.n_byte


def full_size() -> tuple[Matrices, Config]:
    """Ears and eyes of the full-size member, as benchmarks/README.md counts them."""
    tensors: list[tuple[str, list[int], str, int]] = []

    def add(name: str, n_in: int, n_out: int) -> None:
        tensors.append((f"{name}.weight", [n_in, n_out], "Q8_0", n_in * n_out // 32 * 34))

    for prefix, n_layer, d, f in (("a", 24, 1024, 4096), ("v", 27, 1152, 4304)):
        for i in range(n_layer):
            for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
                add(f"{prefix}.blk.{i}.{part}", d, d)
            add(f"{prefix}.blk.{i}.ffn_up", d, f)
            add(f"{prefix}.blk.{i}.ffn_down", f, d)
    for name, n_in, n_out in (
        *(("a.conv1", 240, 1024), ("a.conv2", 3072, 1024), ("mm.a.linear1", 1024, 4096)),
        *(("mm.a.linear2", 4096, 4096), ("v.patch_embd", 588, 1152), ("resampler.kv", 1152, 4096)),
        *((f"resampler.{part}", 4096, 4096) for part in ("attn.q", "attn.k", "attn.v", "attn.out", "proj")),
    ):
        add(name, n_in, n_out)
    facts = {
        "audio": {
            **{"n_layer": 24, "n_embd": 1024, "n_position": 1500, "pool_step": 5, "hop": 160},
            **{"sample_rate": 16000, "chunk_s": 1.0},
        },
        "vision": {"n_layer": 27, "n_embd": 1152, "n_query": 64},
        "llm": {"n_embd": 4096},
    }
    return Matrices(tensors), Config(facts)


def test_full_size_is_counted_as_the_page_says() -> None:
    audio = AudioWork(*full_size())
    assert audio.n_chunk == 29
    assert audio.of_chunk(0).n_op == pytest.approx(31.6e9, rel=2e-3)
    assert audio.of_chunk(28).n_op == pytest.approx(38.5e9, rel=2e-3)
    assert audio.of_chunk(29) == audio.of_chunk(0)  # it has forgotten
    assert audio.of_piece(30.0, 1.0).n_op == pytest.approx(1054e9, rel=2e-3)
    assert VisionWork(*full_size()).of_slice(1024).n_op == pytest.approx(1.05e12, rel=1e-2)


def test_steps_cost_what_the_flow_does(demo: Model) -> None:
    speech = ModelWork(demo).speech
    assert speech is not None
    one, two, three = (speech.of_window_flow(2, 75, n) for n in (1, 2, 3))
    assert one + three == two * 2
    assert (
        speech.of_window_flow(0, 75, 1).n_op < one.n_op == speech.of_window_flow(3, 75, 1).n_op
    )  # memory is full
    assert speech.of_window_vocoder(0).n_op < speech.of_window_vocoder(1).n_op  # which overlaps
    assert 0 < speech.of_code().n_byte < DEMO.stat().st_size


def test_a_limit_is_the_slower_of_reading_and_computing() -> None:
    roofline = Roofline(1, [5.0, 10.0], [100.0], [400.0])
    assert roofline.limit((Work(int8=400, real=100, n_byte=10),)).seconds == 2.0
    assert roofline.limit((Work(int8=400, real=100, n_byte=10),)).by == "arithmetic"
    assert roofline.limit((Work(int8=4, n_byte=30),)).seconds == 3.0
    both = roofline.limit((Work(int8=400), Work(n_byte=10)))
    assert both.seconds == 2.0
    assert both.by == "arithmetic and memory"


def test_products_in_registers_are_counted_and_checked() -> None:
    for kind in ("float32", "int8"):
        name, n_op = _core.multiply_in_registers(kind, 10)
        assert name
        assert n_op == 10 * _core.multiply_in_registers(kind, 1)[1] > 0
    with pytest.raises(ValueError, match="float32 or int8, got int4"):
        _core.multiply_in_registers("int4", 1)
    with pytest.raises(ValueError, match="rounds of products, got 0"):
        _core.multiply_in_registers("int8", 0)


def test_a_missing_matrix_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected matrices nothing, got none"):
        Matrices([]).product("nothing")
    with pytest.raises(ValueError, match="expected a matrix nothing, got none"):
        Matrices([])["nothing"]
