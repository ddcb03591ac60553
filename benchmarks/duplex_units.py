"""Times the units of a full-duplex conversation, stage by stage: what a second costs.

python benchmarks/duplex_units.py -m model.gguf [--json FILE]

Units of one kind follow one another in one conversation; the first ones, in which buffers are made, are not
counted. Kinds alternate from round to round, so that all share the machine's good and bad minutes. Speed does
not depend on what is said: a model of random weights does, but speaks in every unit that is not forced to
listen, and writes as many tokens as it may.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import memory
import numpy as np
from minicpmo_cpp import DuplexChunk, MiniCPMOError, Model
from protocol import SEED

STAGES = ("vision", "audio", "prefill", "decode", "codes", "flow", "vocoder")
N_WARM = 2  # units
LOUDNESS = 0.1  # of noise: its standard deviation


@dataclass(frozen=True)
class Kind:
    name: str
    n_frame: int = 0  # of a unit
    max_slices: int = 1
    n_word: int = 0  # tokens that it writes; 0: it listens

    @property
    def options(self) -> dict[str, Any]:
        # The decision is not said, and what closes the unit is not drawn.
        tokens = {"max_tokens_per_unit": self.n_word + 2} if self.n_word else {"force_listen": 1 << 20}
        return tokens | {"max_characters": 0}


KINDS = (
    Kind("listens"),
    Kind("listens, watches", n_frame=1),
    Kind("listens, watches in HD", n_frame=1, max_slices=2),
    Kind("speaks 4 tokens", n_word=4),
    Kind("speaks 8 tokens", n_word=8),
    Kind("speaks 8 tokens, watches", n_frame=1, n_word=8),
    Kind("speaks 18 tokens", n_word=18),
)


class Measurement:
    def __init__(self, model: Model, n_steps: int) -> None:
        self._model, self._n_steps = model, n_steps
        self._draw = np.random.default_rng(SEED)
        recording = self._draw.normal(0.0, LOUDNESS, 48000).astype(np.float32)
        self._voice = model.voices[0] if model.voices else model.encode_voice(recording)

    def units(self, kind: Kind, n: int) -> list[DuplexChunk]:
        """n units of that kind, the first ones left out."""
        options: Any = kind.options | {"n_steps": self._n_steps, "seed": SEED, "n_ctx": 4096}
        with self._model.duplex(voice=self._voice, window="basic", **options) as session:
            session.prepare()
            return [self._unit(session, kind) for _ in range(n + N_WARM)][N_WARM:]

    def _unit(self, session: Any, kind: Kind) -> DuplexChunk:
        sound = self._draw.normal(0.0, LOUDNESS, session.unit_samples).astype(np.float32)
        size = (448, 448, 3) if kind.max_slices == 1 else (672, 896, 3)
        frames = [self._draw.integers(0, 256, size, dtype=np.uint8) for _ in range(kind.n_frame)]
        chunk: DuplexChunk = session.step(sound, frames, max_slice_nums=kind.max_slices)
        return chunk


def seconds(units: list[DuplexChunk], stage: str) -> float:
    return median(getattr(unit.timings, f"{stage}_s") for unit in units)


def table(found: dict[str, list[DuplexChunk]]) -> str:
    lines = [
        "| unit | " + " | ".join(STAGES) + " | all [s] | tokens read |",
        "|---" * (len(STAGES) + 3) + "|",
    ]
    for name, units in found.items():
        cells = [f"{seconds(units, stage):.3f}" for stage in STAGES]
        totals = sorted(unit.timings.total_s for unit in units)
        whole = f"{median(totals):.2f} ({totals[0]:.2f}..{totals[-1]:.2f})"
        n_read = median(b.n_past - a.n_past - len(b.token_ids) for a, b in pairwise(units))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {whole} | {n_read:.0f} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="a GGUF file that speaks")
    parser.add_argument("--units", type=int, default=6, help="of each kind in a round")
    parser.add_argument("--repeat", type=int, default=2, help="rounds")
    parser.add_argument("--steps", type=int, default=5, help="of the flow")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--device", default="cpu", help="cpu, auto or a device of the engine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every unit is written")
    parsed = parser.parse_args(arguments)
    if parsed.units < 2 or parsed.repeat < 1:
        parser.error("expected --units of at least 2 and --repeat of at least 1")
    return parsed


def main() -> int:
    arguments = parse(None)
    try:
        model = Model.load(arguments.model, device=arguments.device, n_threads=arguments.threads)
        measurement = Measurement(model, arguments.steps)
        found: dict[str, list[DuplexChunk]] = {kind.name: [] for kind in KINDS}
        for i in range(arguments.repeat):
            for kind in KINDS:
                found[kind.name] += measurement.units(kind, arguments.units)
                print(f"round {i + 1}: {kind.name}", file=sys.stderr)
    except (MiniCPMOError, OSError) as error:
        print(f"duplex_units: {error}", file=sys.stderr)
        return 1
    print(table(found))
    n, peak = arguments.repeat * arguments.units, memory.peak_bytes() / 1e9
    print(f"medians of {n} units; most memory ever {peak:.2f} GB")
    if arguments.json is not None:
        facts = {name: [asdict(unit.timings) for unit in units] for name, units in found.items()}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
