"""Measures full-size models on an NVIDIA GPU, beside what is published; gpu.sh makes them and starts it.

python benchmarks/gpu.py --device CUDA0 --bf16 bf16.gguf --q4-k-m q4_k_m.gguf [--json FILE]

Without files it prints the table with what is not measured yet.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import duplex_units
from minicpmo_cpp import MiniCPMOError, Model
from minicpmo_cpp.bench.model_work import ModelWork
from minicpmo_cpp.bench.understanding import Understanding
from protocol import SIDE

N_CTX = 1024
N_PROMPT, N_DECODE, N_QUESTION = 128, 128, 64
N_STEP = 5  # of the flow
N_UNIT = 6
UNITS = ("listens", "listens, watches", "speaks 8 tokens, watches")
POLL_S = 0.02  # between two looks at the card's memory
# github.com/OpenBMB/MiniCPM-o, README of 4.5: tokens a second, seconds to the first one, GB; bf16 and int4.
PUBLISHED = {
    "decode [tok/s]": ("154.3", "212.3"),
    f"first token, a slice and {N_QUESTION} tokens [s]": ("0.6", "0.6"),
    "memory of the card [GB]": ("19", "11"),
}
FIGURES = (
    "decode [tok/s]",
    "decode, share of bandwidth",
    f"first token, a slice and {N_QUESTION} tokens [s]",
    *(f"unit: {name} [s]" for name in UNITS),
    "memory of the card [GB]",
)


class Card:
    """The first card, as the driver describes it."""

    # Numbers of CUdevice_attribute in cuda.h.
    _CLOCK_KHZ, _BUS_BITS = 36, 37

    def __init__(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        # The engine's own context: every user of the runtime shares it.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    @property
    def bytes_per_s(self) -> float:
        """What the memory could give: clock times width, twice a cycle."""
        return 2 * self._attribute(self._CLOCK_KHZ) * 1e3 * self._attribute(self._BUS_BITS) / 8

    def used_bytes(self) -> int:
        """By all programs together."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuCtxSetCurrent", self._context)
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status != 0:
            raise OSError(f"[gpu] expected {name} to work, got status {status}")


@dataclass
class MemoryWatch:
    """The most memory that was in use on the card while it lasted, beyond what was before."""

    card: Card
    peak_bytes: int = 0
    _begin: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> MemoryWatch:
        self._begin = self.card.used_bytes()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(POLL_S):
            self.peak_bytes = max(self.peak_bytes, self.card.used_bytes() - self._begin)


def measure(path: Path, device: str, card: Card, n_repeat: int) -> dict[str, float]:
    """Medians of one file's figures."""
    found: dict[str, float] = {}
    with MemoryWatch(card) as memory, Model.load(path, device=device) as model:
        subject = Understanding(model, N_CTX)
        subject.prefill(N_PROMPT)
        subject.decode(N_DECODE)
        rates = []
        for _ in range(n_repeat):
            subject.prefill(N_PROMPT)
            rates.append(N_DECODE / subject.decode(N_DECODE))
        found[FIGURES[0]] = median(rates)
        n_byte = ModelWork(model).decoder.of_token().n_byte
        found[FIGURES[1]] = median(rates) * n_byte / card.bytes_per_s
        subject.first_token(SIDE, N_QUESTION)
        found[FIGURES[2]] = median(subject.first_token(SIDE, N_QUESTION) for _ in range(n_repeat))
        subject.close()
        units = duplex_units.Measurement(model, N_STEP)
        for kind in duplex_units.KINDS:
            if kind.name in UNITS:
                spans = [unit.timings.total_s for unit in units.units(kind, N_UNIT)]
                found[f"unit: {kind.name} [s]"] = median(spans)
    found["memory of the card [GB]"] = memory.peak_bytes / 1e9
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """As Markdown; what is missing is not measured yet."""
    lines = ["| figure | bf16 | q4_k_m | published bf16 | published int4 |", "|---|---|---|---|---|"]
    for figure in FIGURES:
        cells = [
            f"{found[kind][figure]:.3g}" if figure in found.get(kind, {}) else "not measured yet"
            for kind in ("bf16", "q4_k_m")
        ]
        lines.append(f"| {figure} | " + " | ".join((*cells, *PUBLISHED.get(figure, ("", "")))) + " |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bf16", type=Path, help="a full-size file that speaks, in bf16")
    parser.add_argument("--q4-k-m", type=Path, help="the same in q4_k_m")
    parser.add_argument("--device", default="CUDA0", help="of the engine")
    parser.add_argument("--repeat", type=int, default=5, help="times, of which medians count")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where figures and card are written")
    parsed = parser.parse_args(arguments)
    if parsed.repeat < 1:
        parser.error(f"expected --repeat of at least 1, got {parsed.repeat}")
    return parsed


def main() -> int:
    arguments = parse(None)
    files = {"bf16": arguments.bf16, "q4_k_m": arguments.q4_k_m}
    found: dict[str, dict[str, float]] = {}
    try:
        card = Card() if any(files.values()) else None
        for kind, path in files.items():
            if path is not None and card is not None:
                print(f"{kind}: {path}", file=sys.stderr)
                found[kind] = measure(path, arguments.device, card, arguments.repeat)
    except (MiniCPMOError, OSError, ValueError) as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 1
    print(table(found))
    if card is not None:
        print(f"\nthe card's memory gives at most {card.bytes_per_s / 1e9:.0f} GB/s")
        if arguments.json is not None:
            facts = {"figures": found, "bytes_per_s": card.bytes_per_s}
            arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
