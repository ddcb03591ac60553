"""What this machine can do at most, and how long a piece of work takes it at least."""

from __future__ import annotations

from dataclasses import dataclass, field

from minicpmo_cpp.bench.bandwidth import ReadBandwidth
from minicpmo_cpp.bench.products import RegisterProducts
from minicpmo_cpp.bench.work import Work

N_PASS = 7  # over memory
N_SHORT_PASS = 40  # over registers


@dataclass(frozen=True)
class Limit:
    seconds: float
    by: str  # "memory", "arithmetic" or, where parts differ, both


@dataclass
class Roofline:
    """Every round adds a sample of each; the best ones are the machine's limits."""

    n_threads: int
    read_bytes_per_s: list[float] = field(default_factory=list)
    float32_op_per_s: list[float] = field(default_factory=list)
    int8_op_per_s: list[float] = field(default_factory=list)
    instructions: dict[str, str] = field(default_factory=dict)

    def measure(self) -> None:
        self.read_bytes_per_s.append(ReadBandwidth(self.n_threads).measure(N_PASS))
        real, whole = (RegisterProducts("float32", self.n_threads), RegisterProducts("int8", self.n_threads))
        self.float32_op_per_s.append(real.measure(N_SHORT_PASS))
        self.int8_op_per_s.append(whole.measure(N_SHORT_PASS))
        self.instructions = {"float32": real.instructions, "int8": whole.instructions}

    def limit(self, parts: tuple[Work, ...]) -> Limit:
        """Of parts that follow one another; within a part reading and computing go on at the same time."""
        found = [self._limit(part) for part in parts]
        return Limit(sum(one.seconds for one in found), " and ".join(dict.fromkeys(one.by for one in found)))

    def _limit(self, work: Work) -> Limit:
        memory = work.n_byte / max(self.read_bytes_per_s)
        arithmetic = work.real / max(self.float32_op_per_s) + work.int8 / max(self.int8_op_per_s)
        return Limit(memory, "memory") if memory > arithmetic else Limit(arithmetic, "arithmetic")
