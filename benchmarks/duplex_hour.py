"""Lets a full-duplex conversation go on for an hour, and shows what stays as it is.

python benchmarks/duplex_hour.py -m model.gguf --plot FOLDER

Synthetic sound is pushed in pieces of random length, a picture now and then, as fast as units come out, with
the window on; speech is interrupted now and then. Memory, tokens in the context, and the time from a unit's
last sample to its sound are read. At the end there are as many units as seconds of sound, or it fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import line_plot
import memory
import numpy as np
from memory_over_time import Sound
from minicpmo_cpp import MiniCPMOError, Model
from protocol import SEED

SETTLED = 300  # units; before, buffers are still being made: an encoder's 30 s, a window that fills
PICTURE = (320, 448, 3)
COLUMNS = ("unit", "s", "n_past", "bytes", "is_cut", "n_sample", "n_forgotten")
Rows: TypeAlias = Any  # a structured array with these columns


def talk(model: Model, minutes: float, window: str, high: int, low: int) -> Rows:
    """One unit a row."""
    draw, sound = np.random.default_rng(SEED), Sound(16000)
    n_unit, n_row = round(minutes * 60), 0
    # Made and touched at once: what this remembers must not look like growth.
    rows: Rows = np.full(n_unit, -1, dtype=[(name, np.float64) for name in COLUMNS])
    samples = np.concatenate([sound.second() for _ in range(60)])  # the same minute again and again
    with model.duplex(window=window, window_high=high, window_low=low, seed=SEED, max_characters=0) as live:
        live.prepare()
        chunks, at, n_pushed = None, 0, 0
        while n_row < n_unit:
            n = 0
            while n == 0 or n_pushed + n < min((n_row + 1) * 16000, n_unit * 16000):
                n = min(n + int(draw.integers(1, 24000)), n_unit * 16000 - n_pushed)
            piece = np.take(samples, range(at, at + n), mode="wrap")
            at = (at + n) % len(samples)
            if draw.random() < 0.3:
                live.push_frame(draw.integers(0, 256, PICTURE, dtype=np.uint8))
            live.push_audio(piece)
            n_pushed += n
            if n_pushed == n_unit * 16000:
                live.finish()
            chunks = live.chunks() if chunks is None else chunks
            if draw.random() < 0.02:
                live.interrupt()
            while n_row < n_pushed // 16000:
                chunk = next(chunks)
                rows[n_row] = (
                    chunk.unit,
                    chunk.latency_s,
                    chunk.n_past,
                    memory.resident_bytes(),
                    chunk.is_interrupted,
                    0 if chunk.audio is None else len(chunk.audio),
                    chunk.n_dropped_units,
                )
                n_row += 1
        if next(chunks, None) is not None or not np.array_equal(rows["unit"], np.arange(n_unit)):
            raise MiniCPMOError(f"[duplex] expected units 0 to {n_unit - 1}, got others")
    return rows


def report(rows: Rows, seconds: float) -> None:
    resident, times = rows["bytes"][SETTLED:] / 1e6, rows["s"][SETTLED:]
    print(f"{len(rows)} units for {len(rows)} s of sound in {seconds:.0f} s")
    growth = np.mean(resident[-100:]) - np.mean(resident[:100])
    print(
        f"resident memory from unit {SETTLED} on: {min(resident):.1f} to {max(resident):.1f} MB, "
        f"last hundred units - first hundred {growth:+.2f} MB"
    )
    print(f"tokens in the context: at most {max(rows['n_past']):.0f}")
    p50, p99 = np.percentile(times, [50, 99])
    late = np.percentile(times[-600:], 50) / np.percentile(times[:600], 50)
    print(f"unit time: p50 {p50:.3f}, p99 {p99:.3f} s; p50 of the last 10 minutes / of the first {late:.2f}")
    n_cut, n_gone = sum(rows["is_cut"]), sum(rows["n_forgotten"])
    said = sum(rows["n_sample"]) / 24000
    print(f"said {said:.0f} s, cut {n_cut:.0f} times; the window forgot {n_gone:.0f} units")


def plot(rows: Rows, folder: Path, name: str) -> None:
    parts = {m: rows[60 * (m - 1) : 60 * m] for m in range(1, len(rows) // 60 + 1)}
    times = {
        f"p{p}": [(m, 1000 * float(np.percentile(part["s"], p))) for m, part in parts.items()]
        for p in (50, 99)
    }
    resident = [(m, float(part["bytes"][-1]) / 1e6) for m, part in parts.items()]
    tokens = [(float(row["unit"]) / 60, float(row["n_past"])) for row in rows[::5]]
    pictures: dict[str, tuple[str, line_plot.Lines]] = {
        "duplex_hour_times.svg": ("time of a unit [ms]", times),
        "duplex_hour_memory.svg": ("resident memory [MB]", {"": resident}),
        "duplex_hour_context.svg": ("tokens in the context", {"": tokens}),
    }
    for file, (label, lines) in pictures.items():
        title = f"{name} in full duplex, minute by minute"
        picture = line_plot.svg(title, "minutes of conversation", label, lines)
        (folder / file).write_text(picture, encoding="utf-8")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="a GGUF file that speaks")
    parser.add_argument("--minutes", type=float, default=60.0, help="of conversation, more than 15")
    parser.add_argument("--window", choices=("basic", "context"), default="basic")
    parser.add_argument("--high", type=int, default=2000, help="tokens at which the window forgets")
    parser.add_argument("--low", type=int, default=1500, help="tokens that are left then")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="where pictures are written")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every unit is written")
    return parser.parse_args(arguments)


def main() -> int:
    arguments = parse(None)
    try:
        model = Model.load(arguments.model, device="cpu", n_threads=arguments.threads)
        begin = perf_counter()
        rows = talk(model, arguments.minutes, arguments.window, arguments.high, arguments.low)
        report(rows, perf_counter() - begin)
    except (MiniCPMOError, OSError) as error:
        print(f"duplex_hour: {error}", file=sys.stderr)
        return 1
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows.tolist()) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        plot(rows, arguments.plot, arguments.model.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
