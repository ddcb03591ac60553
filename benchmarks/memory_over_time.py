"""Shows whether memory stays what it is while a model hears sound for a long time.

python benchmarks/memory_over_time.py -m model.gguf --plot memory.svg
python benchmarks/memory_over_time.py -m model.gguf --prefill

Without --prefill a stream hears synthetic sound, second by second; memory is read every 30 s of sound.
With it a recording of the same length is read by one prefill, and, where that is refused, minute by minute
until the conversation is full.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import line_plot
import memory
import numpy as np
from minicpmo_cpp import MiniCPMOError, Model
from numpy.typing import NDArray
from protocol import SEED

SAMPLE_S = 30  # of sound from one look at the memory to the next
SETTLED_S = 60  # before, buffers are still being made: an encoder's first 30 s, a second spectrum buffer
LEAST_S = SETTLED_S + SAMPLE_S


class Sound:
    """A voice-like hum that glides, with noise and pauses, in [-1, 1]: never the same second twice."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._random = np.random.default_rng(SEED)
        self._phase = 0.0

    def second(self) -> NDArray[np.float32]:
        n, draw = self._rate, self._random
        pitch = np.linspace(draw.uniform(80, 300), draw.uniform(80, 300), n)
        phase = self._phase + np.cumsum(2 * np.pi * pitch / n)
        self._phase = float(phase[-1] % (2 * np.pi))
        hum = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
        loudness = draw.uniform(0.05, 0.4) if draw.random() > 0.2 else 0.0
        samples = loudness * hum + draw.normal(0.0, 0.005, n)
        return samples.clip(-1.0, 1.0).astype(np.float32)


def listen(model: Model, minutes: float, mode: str) -> dict[str, Any]:
    """{"samples": [[seconds of sound, resident bytes, bytes that no file holds]], ...}"""
    rate = model.config["audio"]["sample_rate"]
    sound, samples, n_token = Sound(rate), [], 0
    begin = perf_counter()
    with model.audio_stream(mode=mode) as stream:
        samples.append([0, memory.resident_bytes(), memory.own_bytes()])
        for second in range(1, round(minutes * 60) + 1):
            n_token += len(stream.push(sound.second()))
            if second % SAMPLE_S == 0:
                samples.append([second, memory.resident_bytes(), memory.own_bytes()])
    return {"samples": samples, "n_token": n_token, "s": perf_counter() - begin}


def report(found: dict[str, Any], minutes: float) -> None:
    print(
        f"heard {minutes:g} minutes in {found['s']:.0f} s: {found['n_token']} embeddings; "
        f"most memory ever {memory.peak_bytes() / 1e6:.1f} MB"
    )
    settled = [sample for sample in found["samples"] if sample[0] >= SETTLED_S]
    for name, column in (("resident", 1), ("own, no file's", 2)):
        values = [sample[column] / 1e6 for sample in settled]
        print(
            f"{name} memory from second {settled[0][0]} on, every {SAMPLE_S} s of sound: "
            f"min {min(values):.1f}, median {median(values):.1f}, max {max(values):.1f} MB; "
            f"last - first {values[-1] - values[0]:+.2f} MB"
        )


def read_recording(model: Model, minutes: float, n_ctx: int) -> None:
    sound = Sound(model.config["audio"]["sample_rate"])
    recording = np.concatenate([sound.second() for _ in range(round(minutes * 60))])
    session = model.session(n_ctx=n_ctx)
    print(
        f"a recording of {minutes:g} minutes, {recording.nbytes / 1e6:.0f} MB, for a conversation of "
        f"{session.n_ctx} tokens; memory before {memory.resident_bytes() / 1e6:.1f} MB"
    )
    if _read(session, recording, "in one prefill"):
        return
    per_minute = 60 * model.config["audio"]["sample_rate"]
    for first in range(0, len(recording), per_minute):
        name = f"minute {first // per_minute + 1}"
        if not _read(session, recording[first : first + per_minute], name, is_quiet=True):
            return
    print(f"minute by minute: all read, {session.n_past} tokens")


def _read(session: Any, samples: NDArray[np.float32], name: str, *, is_quiet: bool = False) -> bool:
    begin = perf_counter()
    try:
        session.prefill([{"role": "user", "content": [samples]}])
    except MiniCPMOError as error:
        outcome, is_read = f"{type(error).__name__}: {error}", False
    else:
        outcome, is_read = "read", True
    if not (is_quiet and is_read):
        print(
            f"{name}: {outcome}; after {perf_counter() - begin:.1f} s, {session.n_past} tokens in the "
            f"conversation, most memory ever {memory.peak_bytes() / 1e6:.1f} MB"
        )
    return is_read


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="a GGUF file that hears")
    parser.add_argument("--minutes", type=float, default=60.0, help="of sound")
    parser.add_argument("--mode", choices=("duplex", "half_duplex"), default="duplex", help="of the stream")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="where the picture is written")
    parser.add_argument("--title", help="of the picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every sample is written")
    parser.add_argument("--prefill", action="store_true", help="reads a recording instead")
    parser.add_argument("--n-ctx", type=int, default=0, help="tokens of the conversation, with --prefill")
    parsed = parser.parse_args(arguments)
    if parsed.minutes * 60 < LEAST_S:
        parser.error(f"expected at least {LEAST_S} s of sound, got {parsed.minutes * 60:g} (--minutes)")
    return parsed


def main() -> int:
    arguments = parse(None)
    try:
        model = Model.load(arguments.model, device="cpu", n_threads=arguments.threads)
        if "audio" not in model.config["modules"]:
            raise MiniCPMOError(f"expected a model that hears, got {arguments.model}")
        if arguments.prefill:
            read_recording(model, arguments.minutes, arguments.n_ctx)
            return 0
        found = listen(model, arguments.minutes, arguments.mode)
    except (MiniCPMOError, OSError) as error:
        print(f"memory_over_time: {error}", file=sys.stderr)
        return 1
    report(found, arguments.minutes)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        points = [(second / 60, n_byte / 1e6) for second, n_byte, _ in found["samples"]]
        title = arguments.title or f"Memory while {arguments.model.name} hears {arguments.minutes:g} minutes"
        picture = line_plot.svg(title, "minutes of sound", "resident memory [MB]", {"": points})
        arguments.plot.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
