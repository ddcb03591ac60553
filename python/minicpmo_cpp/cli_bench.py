"""minicpmo-cli bench: what this machine can do, and what each stage of a model makes of it."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from minicpmo_cpp.bench.machine import busy_line
from minicpmo_cpp.bench.run import BenchRun
from minicpmo_cpp.bench.stages import NAMES
from minicpmo_cpp.bench.table import lines, to_table
from minicpmo_cpp.cli import INTERRUPTED, _explain, _leave_now, _peak_bytes
from minicpmo_cpp.cli_model import (
    HubOption,
    ModelArguments,
    ModelOption,
    NoMmapOption,
    OfflineOption,
    RevisionOption,
    needed_modules,
)
from minicpmo_cpp.model import Model
from minicpmo_cpp.terminal import forget_stdout, say

WIDTH = 140  # characters of the table where no terminal has another width
_POLL_S = 0.1  # how soon Ctrl-C is noticed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="Exit codes: 0 ok, 1 the engine or the model failed, 2 wrong arguments, 3 a model file cannot be "
    "read or the document not be written, 130 interrupted."
)
def bench(
    model: ModelOption = None,
    hf_repo: HubOption = None,
    revision: RevisionOption = None,
    offline: OfflineOption = False,
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write everything measured there.")
    ] = None,
    threads: Annotated[int, typer.Option("-t", "--threads", min=0, max=1024, help="0 uses all cores.")] = 0,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Rounds, of which the medians count.")] = 3,
    stages: Annotated[
        str, typer.Option(help=f"Measure these alone, separated by commas: {', '.join(NAMES)}.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, auto or a device of the engine.")] = "cpu",
    no_mmap: NoMmapOption = False,
) -> None:
    """Measure this machine and the stages of a model on it."""
    source = ModelArguments(model, hf_repo, revision, offline)
    names = _names(stages)
    try:
        place = None if as_json is None else _place(as_json)
        with ExitStack() as stack:
            modules = needed_modules(sees=True, hears=True, speaks=True)
            use_mmap = not no_mmap
            opened, path = source.open(stack, modules, device=device, n_threads=threads, use_mmap=use_mmap)

            def load() -> Model:
                return Model.load(path, device=device, n_threads=threads, use_mmap=use_mmap)

            run = BenchRun(path, opened, load, names)
            stack.callback(run.close)
            busy = busy_line(run.machine)
            if busy is not None:
                say(f"minicpmo-cli: {busy}")
            _measure(run, repeat)
            document = run.document() | {"peak_bytes": _peak_bytes()}
            if place is not None:
                _write(place, document)
            is_shown = sys.stdout is not None and sys.stdout.isatty()
            console = Console(width=None if is_shown else WIDTH)
            console.print(to_table(document))
            for line in lines(document):
                console.print(line, markup=False, highlight=False)
    except BrokenPipeError:  # who read the table has enough
        forget_stdout()
    except KeyboardInterrupt:
        _leave_now(INTERRUPTED)
    except Exception as error:
        _explain(error)


def _names(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise typer.BadParameter(f"expected {', '.join(NAMES)}, got {name}", param_hint="--stages")
    if stages and not names:
        raise typer.BadParameter(f"expected names of stages, got {stages!r}", param_hint="--stages")
    return names


def _place(given: str) -> Path:
    """Looked at before anything is measured."""
    place = Path(given)
    if place.is_dir() or not place.parent.is_dir():
        raise OSError(f"[output] expected a file in a folder that is there, got {place}")
    return place


def _write(place: Path, document: dict[str, object]) -> None:
    try:
        place.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OSError(
            f"[output] expected a file that can be written, got {error.strerror} ({place})"
        ) from None


def _measure(run: BenchRun, repeat: int) -> None:
    """In a thread of its own, since a call into the engine would keep Ctrl-C waiting."""
    failures: list[BaseException] = []
    console = Console(stderr=True)

    with console.status("") as status:

        def work() -> None:
            try:
                run.measure(repeat, status.update)
            except BaseException as error:
                failures.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        while worker.is_alive():
            worker.join(_POLL_S)
    if failures:
        raise failures[0]
