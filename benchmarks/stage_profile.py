"""Where the time of a stage goes, function by function, as Linux' perf sees it.

python benchmarks/stage_profile.py -m model.gguf --stages prefill-128,decode

The names are those of minicpmo-cli bench. Functions have names where the package was installed with them:
pip install --no-build-isolation -C install.strip=false -e . (ggml's wheel has them anyway).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from minicpmo_cpp import MiniCPMOError, Model
from minicpmo_cpp.bench.stages import NAMES, Stage, Stages

RATE = 997  # samples a second and thread: no multiple of what else happens regularly
START_S = 0.5  # until perf has attached itself
LEAST = 0.5  # percent of a function that is shown


class ProfileError(Exception):
    """What could not be profiled, in one line."""


def sample(stage: Stage, seconds: float, place: Path) -> int:
    """Repeats a stage for so long under perf. How often it ran."""
    stage.run()  # makes its buffers
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(RATE), "-o", str(place), "-p"]
    perf = subprocess.Popen([*command, str(os.getpid())], stderr=subprocess.PIPE, text=True)
    sleep(START_S)
    n_run, end = 0, monotonic() + seconds
    while monotonic() < end:
        stage.run()
        n_run += 1
    perf.send_signal(signal.SIGINT)
    _, words = perf.communicate()
    if not place.exists():
        raise ProfileError(f"perf recorded nothing: {' '.join(words.split()) or 'no message'}")
    return n_run


def functions(place: Path) -> Iterator[tuple[str, str, str]]:
    """(percent, library, function) of a recording, most first."""
    command = ["perf", "report", "--stdio", "--no-children", "-F", "overhead,dso,symbol", "-t", "|"]
    done = subprocess.run(
        [*command, "--percent-limit", str(LEAST), "-i", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProfileError(f"perf report: {' '.join(done.stderr.split()) or 'no message'}")
    for line in done.stdout.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 3 and cells[0].endswith("%"):
            yield cells[0], cells[1], cells[2].removeprefix("[.] ").removeprefix("[k] ")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--stages", default="prefill-128,decode", help=f"among {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=10, help="of each")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parsed = parser.parse_args(arguments)
    parsed.stages = parsed.stages.split(",")
    for name in parsed.stages:
        if name not in NAMES:
            parser.error(f"expected stages among {', '.join(NAMES)}, got {name}")
    if not 0 < parsed.seconds <= 3600:
        parser.error(f"expected --seconds above 0 and up to 3600, got {parsed.seconds}")
    return parsed


def main() -> int:
    arguments = parse(None)

    def load() -> Model:
        return Model.load(arguments.model, device="cpu", n_threads=arguments.threads)

    try:
        with load() as model, tempfile.TemporaryDirectory() as folder:
            stages = Stages(model, load)
            for stage in stages.chosen(arguments.stages):
                place = Path(folder) / stage.name
                n_run = sample(stage, arguments.seconds, place)
                print(f"\n{stage.name}, {n_run} times\n\n| time | function | library |\n|---|---|---|")
                for percent, library, function in functions(place):
                    print(f"| {percent} | `{function}` | {library} |")
            stages.close()
    except FileNotFoundError as error:
        print(f"stage_profile: expected a model and Linux' perf, got {error}", file=sys.stderr)
        return 1
    except (ProfileError, MiniCPMOError, OSError) as error:
        print(f"stage_profile: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
