"""Measures minicpmo-cpp on a model file, and optionally llama.cpp on the same weights in the same run.

python benchmarks/bench.py -m model.gguf
python benchmarks/bench.py -m model.gguf --llm llm.gguf --mmproj mmproj.gguf --peer PYTHON --json out.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import report
import saving_figures
import speech_figures
from gguf import GGUFReader
from minicpmo_cpp import MiniCPMOError, Model
from minicpmo_cpp.bench.audio_work import AudioWork
from minicpmo_cpp.bench.decoder_work import EMBEDDING, token_bytes
from minicpmo_cpp.bench.machine import busy_line, describe_machine, n_usable
from minicpmo_cpp.bench.model_work import ModelWork
from minicpmo_cpp.bench.speech_work import SpeechWork
from minicpmo_cpp.bench.work import Matrices

HERE = Path(__file__).resolve().parent
N_SPARE = 64  # tokens of room in the context beside the prompt and the decoded ones
N_PASS = 7  # of the measurements of bandwidth and of matrix products
N_CHUNK = 20  # of sound, whose median counts
N_WARM = 3  # chunks before
PIECE_S = 30.0  # of sound that is heard at once
BLOCK_S = 1.0  # how far ahead a moment of it sees at most


class BenchError(Exception):
    """What could not be measured, in one line."""


@dataclass
class Contender:
    name: str
    python: str
    script: str
    settings: dict[str, Any]
    has_vision: bool
    has_audio: bool = False
    saves: bool = False  # whether it has the figures of what need not be computed, and of many slices
    samples: dict[str, list[float]] = field(default_factory=dict)
    chunks: list[list[float]] = field(default_factory=list)  # per round the seconds of each chunk of sound
    version: str = ""

    def add(self, figure: str, value: float) -> None:
        self.samples.setdefault(figure, []).append(value)


class Child:
    """A measuring process."""

    def __init__(self, python: str, script: str) -> None:
        environment = dict(os.environ)
        if python != sys.executable:  # our packages are not the peer's
            environment.pop("PYTHONPATH", None)
            environment.pop("PYTHONHOME", None)
        self._script = script
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [python, str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def __call__(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise BenchError(self._last_words()) from None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(self._last_words())
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise BenchError(f"{self._script}, {do}: {result['error']}")
        return result

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{self._script} ended with status {status}: {lines[-1] if lines else 'no message'}"

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()


def measure(
    contender: Contender, prompts: list[int], n_decode: int, n_draft: int, hearing: AudioWork | None
) -> None:
    """One round in a fresh process: every figure once, each after a warm-up."""
    with Child(contender.python, contender.script) as child:
        loaded = child("load", **contender.settings)
        contender.version = loaded["version"]
        contender.add("load", loaded["s"])
        if contender.has_vision:
            child("vision")
            contender.add("vision", child("vision")["s"])
            if contender.saves:
                contender.add("vision ten slices", child("slices")["s"])
        child("prefill", n_token=max(prompts))
        for n_token in sorted(prompts, reverse=True):
            contender.add(f"prefill {n_token}", n_token / child("prefill", n_token=n_token)["s"])
        contender.add("decode", n_decode / child("decode", n_token=n_decode)["s"])
        if contender.has_vision:
            child("first_token")
            contender.add("first token", child("first_token")["s"])
        contender.add("memory", child("memory")["peak_bytes"])
        if contender.saves:  # no peer keeps what it knows
            saving_figures.measure(child, contender.add, has_vision=contender.has_vision, n_draft=n_draft)
        if contender.has_audio and hearing is not None:  # last: no peer hears, others stand side by side
            measure_audio(contender, child, hearing)


def measure_audio(contender: Contender, child: Child, work: AudioWork) -> None:
    n_sample = round(work.chunk_s * work.sample_rate)
    spans = child("hear_chunks", n_sample=n_sample, n_warm=N_WARM, n_chunk=max(N_CHUNK, work.n_chunk))["s"]
    contender.chunks.append(spans)
    rates = [work.of_chunk(i).n_op / span for i, span in enumerate(spans[:N_CHUNK])]
    contender.add("audio chunk", median(spans[:N_CHUNK]))
    contender.add("audio chunk first", spans[0])
    contender.add("audio chunk last", spans[work.n_chunk - 1])
    contender.add("audio chunk rate", median(rates))
    piece = {"n_sample": round(PIECE_S * work.sample_rate), "block_s": BLOCK_S}
    child("hear", **piece)
    seconds = child("hear", **piece)["s"]
    contender.add("audio 30 s", seconds)
    contender.add("audio 30 s rate", work.of_piece(PIECE_S, BLOCK_S).n_op / seconds)
    contender.add("memory with audio", child("memory")["peak_bytes"])


def measure_speech(
    contender: Contender, model: Path, n_threads: int, work: SpeechWork, can_clone: bool
) -> None:
    """A round in a process of its own, so that its memory is that of speaking."""
    with Child(sys.executable, "ours_speech.py") as child:
        loaded = child("load", model=str(model), n_threads=n_threads)
        contender.version = loaded["version"]
        speech_figures.measure(child, contender.add, work, can_clone)


def measure_bandwidth(n_threads: int) -> float:
    with Child(sys.executable, "bandwidth.py") as child:
        child("load", n_threads=n_threads)
        best: float = child("read", n_pass=N_PASS)["bytes_per_s"]
        return best


def measure_sgemm(n_threads: int) -> float:
    with Child(sys.executable, "sgemm.py") as child:
        child("load", n_threads=n_threads)
        child("multiply", n_pass=1)
        best: float = child("multiply", n_pass=N_PASS)["flop_per_s"]
        return best


def describe_file(path: Path) -> dict[str, Any]:
    reader = GGUFReader(path)
    names = {tensor.name for tensor in reader.tensors}
    matrices = Matrices(
        (t.name, [int(n) for n in t.shape], t.tensor_type.name, int(t.n_bytes)) for t in reader.tensors
    )
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "has_vision": "v.patch_embd.weight" in names,
        "has_audio": "a.conv1.weight" in names,
        "has_speech": {"tts.head_code.weight", "t2w.input_embd.weight"} <= names,
        "can_clone": {"s3.conv1.weight", "spk.dense.weight"} <= names,
        "decoder_bytes": token_bytes(matrices) if EMBEDDING in matrices else None,
    }


def warm(paths: list[Path]) -> None:
    """Reads the files once, so that loading finds them in the page cache."""
    buffer = bytearray(1 << 24)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def contenders(arguments: argparse.Namespace, n_ctx: int, file: dict[str, Any]) -> list[Contender]:
    common = {"n_threads": arguments.threads, "n_ctx": n_ctx}
    model = {"model": str(arguments.model), "use_mmap": not arguments.no_mmap, **common}
    found = [Contender("ours", sys.executable, "ours.py", model, file["has_vision"], file["has_audio"], True)]
    if arguments.peer is None:
        return found
    mmproj = None if arguments.mmproj is None else str(arguments.mmproj)
    files = {"llm": str(arguments.llm), "mmproj": mmproj, **common}
    for name, use_extra_bufts in (("peer repacked", True), ("peer plain", False)):
        settings = {**files, "use_extra_bufts": use_extra_bufts}
        found.append(Contender(name, arguments.peer, "peer.py", settings, mmproj is not None))
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="our GGUF file")
    parser.add_argument("--llm", type=Path, help="the same language model as llama.cpp reads it")
    parser.add_argument("--mmproj", type=Path, help="the same vision tower as llama.cpp reads it")
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors this process may use")
    parser.add_argument("--prompt", type=int, nargs="+", default=[128, 512], help="tokens of the prompts")
    parser.add_argument("--decode", type=int, default=32, help="tokens to decode")
    parser.add_argument(
        "--draft", type=int, default=8, help="tokens to guess at a time where an answer copies; 0: none"
    )
    parser.add_argument("--repeat", type=int, default=5, help="rounds, each in fresh processes")
    parser.add_argument("--speech-only", action="store_true", help="the figures of speaking alone")
    parser.add_argument("--no-mmap", action="store_true", help="ours with a copy of the weights in memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where everything measured is written")
    parsed = parser.parse_args(arguments)
    if parsed.peer is not None and parsed.llm is None:
        parser.error("--peer needs --llm, and --mmproj for pictures")
    if parsed.peer is None and (parsed.llm is not None or parsed.mmproj is not None):
        parser.error("--llm and --mmproj go with --peer")
    if parsed.peer is not None and parsed.speech_only:
        parser.error("no peer speaks: --speech-only goes without --peer")
    if not 0 <= parsed.draft <= 64:
        parser.error("expected --draft of 0 to 64")
    if min(parsed.prompt) < 16 or parsed.decode < 1 or parsed.repeat < 1 or parsed.threads < 0:
        parser.error("expected prompts of at least 16 tokens, --decode and --repeat of at least 1")
    for path in (parsed.model, parsed.llm, parsed.mmproj):
        if path is not None and not path.is_file():
            parser.error(f"expected a file, got {path}")
    parsed.threads = parsed.threads or n_usable()
    parsed.prompt = sorted(set(parsed.prompt))
    return parsed


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    paths = [path for path in (arguments.model, arguments.llm, arguments.mmproj) if path is not None]
    machine = describe_machine(arguments.threads)
    busy = busy_line(machine)
    if busy is not None:
        say(busy)
    files = [describe_file(path) for path in paths]
    file = files[0]
    if arguments.speech_only and not file["has_speech"]:
        raise BenchError(f"expected a file that speaks, got {arguments.model}")
    with Model.load(arguments.model, device="cpu") as opened:
        work = ModelWork(opened)
    n_ctx = max(arguments.prompt) + arguments.decode + N_SPARE
    found = contenders(arguments, n_ctx, file)
    warm(paths)
    bandwidth, products = [], []
    for number in range(1, arguments.repeat + 1):
        say(f"round {number} of {arguments.repeat}: bandwidth")
        bandwidth.append(measure_bandwidth(arguments.threads))
        if file["has_audio"] or file["has_speech"]:
            say(f"round {number} of {arguments.repeat}: matrix products")
            products.append(measure_sgemm(arguments.threads))
        for contender in found if not arguments.speech_only else ():
            say(f"round {number} of {arguments.repeat}: {contender.name}")
            measure(contender, arguments.prompt, arguments.decode, arguments.draft, work.audio)
        if work.speech is not None:
            say(f"round {number} of {arguments.repeat}: speech")
            measure_speech(found[0], arguments.model, arguments.threads, work.speech, file["can_clone"])
    return {
        "machine": machine,
        "files": files,
        "settings": {
            "prompt": arguments.prompt,
            "decode": arguments.decode,
            "draft": arguments.draft,
            "repeat": arguments.repeat,
        },
        "bandwidth_bytes_per_s": bandwidth,
        "sgemm_flop_per_s": products,
        "decoder_bytes": {"ours": file["decoder_bytes"]}
        | ({"peer": files[1]["decoder_bytes"]} if arguments.peer is not None else {}),
        "code_bytes": None if work.speech is None else work.speech.of_code().n_byte,
        "contenders": [_results(contender) for contender in found],
    }


def _results(contender: Contender) -> dict[str, Any]:
    found: dict[str, Any] = {"name": contender.name, "version": contender.version}
    found["samples"] = contender.samples
    return found | ({"audio_chunks_s": contender.chunks} if contender.chunks else {})


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    arguments = parse(None)
    try:
        results = run(arguments)
    except (BenchError, MiniCPMOError, OSError) as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted")
        return 130
    results["summary"] = report.summarise(results)
    print(report.table(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
