"""How a duplex conversation is shown: live at a terminal, else a line or a JSON object for each unit."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from minicpmo_cpp.terminal import _CONTROLS, encodes_all, write

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexChunk

UNIT_S = 1.0  # the time that a unit may take

_BAR = 30  # characters
_FIELDS = (
    "unit", "is_listen", "text", "end_of_turn", "is_interrupted", "listen_probability", "speak_probability",
    "token_ids", "n_past", "n_dropped_units", "latency_s", "is_late", "n_dropped_frames", "n_queued",
)  # fmt: skip


def unit_line(chunk: DuplexChunk) -> str:
    """One unit for people and programs that read lines: number, state, time, words, what went wrong."""
    words = [f"{chunk.unit:3d}  {_state(chunk):<6}  {chunk.timings.total_s:5.2f} s"]
    if text := _on_one_line(chunk.text):
        words.append(text)
    return "  ".join([*words, *(f"[{remark}]" for remark in _remarks(chunk))])


def unit_json(chunk: DuplexChunk) -> str:
    """One unit for programs; its sound by its length."""
    fields: dict[str, Any] = {name: getattr(chunk, name) for name in _FIELDS}
    fields["audio_s"] = 0.0 if chunk.audio is None else len(chunk.audio) / chunk.sample_rate
    fields["timings"] = asdict(chunk.timings)
    return json.dumps(fields, ensure_ascii=not encodes_all())


class Totals:
    """What the units of a conversation amount to."""

    def __init__(self) -> None:
        self.n_unit = self.n_late = self.n_dropped_frames = self._n_turn = 0
        self._slowest_s = 0.0
        self._sums_s: dict[str, float] = {}  # of the fields of UnitTimings
        self._is_in_turn = False

    def add(self, chunk: DuplexChunk) -> None:
        self.n_unit += 1
        self.n_late += chunk.is_late or chunk.timings.total_s > UNIT_S
        self.n_dropped_frames += chunk.n_dropped_frames
        self._n_turn += not chunk.is_listen and not self._is_in_turn
        self._is_in_turn = not (chunk.is_listen or chunk.end_of_turn or chunk.is_interrupted)
        self._slowest_s = max(self._slowest_s, chunk.timings.total_s)
        for name, spent_s in asdict(chunk.timings).items():
            self._sums_s[name] = self._sums_s.get(name, 0.0) + spent_s

    @property
    def line(self) -> str:
        """How the conversation kept up."""
        mean_s = self._sums_s.get("total_s", 0.0) / max(1, self.n_unit)
        times = f"{self.n_unit} units of {mean_s:.2f} s, the slowest {self._slowest_s:.2f} s"
        return f"{times}, {self.n_late} late, {self.n_dropped_frames} frames dropped, {self._n_turn} turns"

    @property
    def stages(self) -> str:
        """Where the time of a unit went."""
        names = (name for name in self._sums_s if name != "total_s")
        means = (f"{name[:-2]} {self._sums_s[name] / max(1, self.n_unit):.3f} s" for name in names)
        return "a unit: " + ", ".join(means)


class DuplexView:
    """The units of one conversation, in whichever way they are to be shown."""

    def __init__(self, console: Console, *, n_ctx: int, is_live: bool, form: str, hint: str = "") -> None:
        """
        Args:
            console: of the live view.
            n_ctx: most tokens of the conversation.
            is_live: whether there is a live view.
            form: what goes to stdout: "line" or "json", or "" for nothing.
            hint: a line about keys.
        """
        self._console = console
        self._n_ctx = n_ctx
        self._form = form
        self._hint = hint
        self._turn = ""  # what the turn that goes on has said
        self._begin = 0  # its first unit
        self._chunk: DuplexChunk | None = None
        self.totals = Totals()
        self._live: Live | None = None
        if is_live:  # which leaves stdout alone: that may be a file
            self._live = Live(
                console=console, get_renderable=self._drawn, transient=True, redirect_stdout=False
            )

    def __enter__(self) -> DuplexView:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_turn("")
        if self._live is not None:
            self._live.stop()

    def show(self, chunk: DuplexChunk) -> None:
        self.totals.add(chunk)
        if self._form:
            write((unit_line(chunk) if self._form == "line" else unit_json(chunk)) + "\n")
        if self._live is None:
            return
        self._chunk = chunk
        if not self._turn:
            self._begin = chunk.unit
        self._turn += chunk.text
        if chunk.is_interrupted:
            self._end_turn("  [interrupted]")
        elif chunk.is_listen or chunk.end_of_turn:
            self._end_turn("")
        self._live.refresh()

    def _end_turn(self, remark: str) -> None:
        """What was said stays above the live part."""
        if self._live is not None and (text := _on_one_line(self._turn)):
            minute, second = divmod(self._begin + 1, 60)  # a unit is heard before it is answered
            self._console.print(Text(f"{minute:02d}:{second:02d}  {text}{remark}"))
        self._turn = ""

    def _drawn(self) -> RenderableType:
        chunk = self._chunk
        if chunk is None:
            return Text("waiting for the first unit", style="dim")
        time_s = chunk.timings.total_s
        is_slow = time_s > UNIT_S
        state = Text("● listening", "cyan") if chunk.is_listen else Text("● speaking", "bold magenta")
        row = Table.grid(padding=(0, 2))
        row.add_row(
            state,
            f"unit {chunk.unit}",
            ProgressBar(UNIT_S, min(time_s, UNIT_S), _BAR, complete_style="red" if is_slow else "green",
                        finished_style="red" if is_slow else "green"),
            Text(f"{time_s:.2f} of {UNIT_S:.0f} s", "red" if is_slow else ""),
        )  # fmt: skip
        totals = self.totals
        counts = f"late {totals.n_late}   frames dropped {totals.n_dropped_frames}   waiting {chunk.n_queued}"
        counts += f"   context {chunk.n_past} of {self._n_ctx} tokens"
        lines: list[RenderableType] = [row, Text(counts, "dim")]
        if text := _on_one_line(self._turn):
            lines.append(Text(text))
        if self._hint:
            lines.append(Text(self._hint, "dim"))
        return Group(*lines)


def _state(chunk: DuplexChunk) -> str:
    return "listen" if chunk.is_listen else "speak"


def _remarks(chunk: DuplexChunk) -> list[str]:
    remarks = ["interrupted"] if chunk.is_interrupted else []
    if chunk.is_late:
        remarks.append(f"{chunk.latency_s:.2f} s late")
    if chunk.n_dropped_frames:
        remarks.append(f"{chunk.n_dropped_frames} frames dropped")
    return remarks


def _on_one_line(text: str) -> str:
    """Without control characters, which would steer the terminal."""
    return " ".join(text.split()).translate(_CONTROLS)
