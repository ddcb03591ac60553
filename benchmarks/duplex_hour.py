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
from typing import Any

import line_plot
import memory
import numpy as np
from memory_over_time import Sound
from minicpmo_cpp import MiniCPMOError, Model
from protocol import SEED

SETTLED = 300  # units; before, buffers are still being made: an encoder's 30 s, a window that fills
PICTURE = (320, 448, 3)


def talk(model: Model, minutes: float, window: str, high: int, low: int) -> list[dict[str, Any]]:
    """One unit a row."""
    draw, sound = np.random.default_rng(SEED), Sound(16000)
    n_unit, rows = round(minutes * 60), []
    samples = np.concatenate([sound.second() for _ in range(60)])  # the same minute again and again
    with model.duplex(window=window, window_high=high, window_low=low, seed=SEED, max_characters=0) as live:
        live.prepare()
        chunks, at, n_pushed = None, 0, 0
        while len(rows) < n_unit:
            n = min(int(draw.integers(1, 24000)), n_unit * 16000 - n_pushed)
            while n_pushed + n < (len(rows) + 1) * 16000 and n_pushed + n < n_unit * 16000:
                n += min(int(draw.integers(1, 24000)), n_unit * 16000 - n_pushed - n)
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
            while len(rows) < n_pushed // 16000:
                chunk = next(chunks)
                rows.append(
                    {
                        "unit": chunk.unit,
                        "s": chunk.latency_s,
                        "n_past": chunk.n_past,
                        "bytes": memory.resident_bytes(),
                        "is_listen": chunk.is_listen,
                        "is_cut": chunk.is_interrupted,
                        "n_sample": 0 if chunk.audio is None else len(chunk.audio),
                        "n_forgotten": chunk.n_dropped_units,
                    }
                )
        assert next(chunks, None) is None
    if [row["unit"] for row in rows] != list(range(n_unit)):
        raise MiniCPMOError(f"[duplex] expected units 0 to {n_unit - 1}, got others")
    return rows


def report(rows: list[dict[str, Any]], seconds: float) -> None:
    settled = rows[SETTLED:]
    resident = [row["bytes"] / 1e6 for row in settled]
    times = np.array([row["s"] for row in settled])
    print(f"{len(rows)} units for {len(rows)} s of sound in {seconds:.0f} s")
    print(
        f"resident memory from unit {SETTLED} on: min {min(resident):.1f}, max {max(resident):.1f} MB, "
        f"last hundred - first hundred {np.mean(resident[-100:]) - np.mean(resident[:100]):+.2f} MB"
    )
    print(f"tokens in the context: at most {max(row['n_past'] for row in rows)}")
    p50, p99 = np.percentile(times, [50, 99])
    late = np.percentile(times[-600:], 50) / np.percentile(times[:600], 50)
    print(f"unit time: p50 {p50:.3f}, p99 {p99:.3f} s; p50 of the last 10 minutes / of the first {late:.2f}")
    n_said, n_cut = sum(row["n_sample"] for row in rows), sum(row["is_cut"] for row in rows)
    n_gone = sum(row["n_forgotten"] for row in rows)
    print(f"said {n_said / 24000:.0f} s, cut {n_cut} times; the window forgot {n_gone} units")


def plot(rows: list[dict[str, Any]], folder: Path, name: str) -> None:
    minutes = range(1, len(rows) // 60 + 1)
    parts = {minute: rows[60 * (minute - 1) : 60 * minute] for minute in minutes}
    times = {
        f"p{p}": [
            (m, 1000 * float(np.percentile([row["s"] for row in part], p))) for m, part in parts.items()
        ]
        for p in (50, 99)
    }
    facts = {
        "duplex_hour_times.svg": ("time of a unit [ms]", times),
        "duplex_hour_memory.svg": (
            "resident memory [MB]",
            {"": [(m, part[-1]["bytes"] / 1e6) for m, part in parts.items()]},
        ),
        "duplex_hour_context.svg": (
            "tokens in the context",
            {"": [(row["unit"] / 60, row["n_past"]) for row in rows[::5]]},
        ),
    }
    for file, (label, lines) in facts.items():
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
        arguments.json.write_text(json.dumps(rows) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        plot(rows, arguments.plot, arguments.model.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
