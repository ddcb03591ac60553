"""How far this engine is from the official code: `python -m minicpmo_cpp.parity --golden DIR`.

Converts the tiny checkpoints of a golden folder, repeats what the official code computed from them, and
prints the difference, module by module and type by type. Its README says what the files hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from minicpmo_cpp._core import devices
from minicpmo_cpp.model import Model
from minicpmo_cpp.parity.flow import compare_flow
from minicpmo_cpp.parity.golden import Golden, Row, to_table
from minicpmo_cpp.parity.hearing import compare_hearing
from minicpmo_cpp.parity.sessions import compare_sessions
from minicpmo_cpp.parity.tts import compare_tts
from minicpmo_cpp.parity.understanding import (
    compare_model,
    compare_system_prompts,
    compare_tokenizer,
    compare_types,
)
from minicpmo_cpp.parity.vocoder import compare_vocoder
from minicpmo_cpp.parity.voice import compare_voice
from minicpmo_cpp.tokenizer import Tokenizer

COMPARISONS = (compare_hearing, compare_tts, compare_flow, compare_vocoder, compare_voice)


def measure(
    golden: Path, tokenizer: Path, names: list[str], types: list[str], device: str = "auto"
) -> Iterator[Row]:
    from minicpmo_convert.convert import convert

    yield from compare_tokenizer(golden, Tokenizer.from_pretrained(tokenizer))
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            data = Golden(golden / name)
            yield from compare_system_prompts(data)
            models = {}
            for type_name in dict.fromkeys(["f32", *types]):
                path = Path(scratch) / f"{name}-{type_name}.gguf"
                convert(data.checkpoint, path, type_name, token2wav=[data.causal_vocoder])
                models[type_name] = Model.load(path, device=device)
            for type_name in types:
                yield from compare_model(data, models[type_name], type_name)
                for compare in COMPARISONS:
                    yield from compare(data, models[type_name], type_name)
                if type_name == "f32":
                    yield from compare_sessions(data, models[type_name])
                if type_name != "f32":
                    yield from compare_types(data, models["f32"], models[type_name], type_name)
            models.clear()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m minicpmo_cpp.parity", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--golden", type=Path, required=True, help="folder with tokens.json and one folder per set"
    )
    parser.add_argument("--tokenizer", type=Path, help="real tokenizer files; GOLDEN/../tokenizer if absent")
    parser.add_argument("--models", default="", help="sets, separated by commas; all if absent")
    parser.add_argument("--types", default="f32,q8_0,q4_k_m", help="types to convert to, separated by commas")
    parser.add_argument("--device", default="auto", help="auto, cpu or a device of the engine")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="ERROR",
        help="what errors of f32 may be at least, for a device that rounds where the processor does not; "
        "what is to be equal stays so",
    )
    parser.add_argument("--json", action="store_true", help="every comparison as JSON instead of a table")
    options = parser.parse_args()
    known = sorted(folder.parent.name for folder in options.golden.glob("*/checkpoint"))
    names = options.models.split(",") if options.models else known
    for name in names:
        if name not in known:
            parser.error(f"expected sets among {', '.join(known) or 'none'}, got {name!r} ({options.golden})")
    if not 0 <= options.tolerance < 1:
        parser.error(f"expected a tolerance of 0 to 1, got {options.tolerance}")
    known_devices = ("auto", "cpu", *devices())
    if options.device not in known_devices:
        parser.error(f"expected a device among {', '.join(known_devices)}, got {options.device!r}")
    tokenizer = options.tokenizer or options.golden.parent / "tokenizer"
    rows = [
        replace(row, limit=max(row.limit, options.tolerance)) if row.limit else row
        for row in measure(options.golden, tokenizer, names, options.types.split(","), options.device)
    ]
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else to_table(rows))
    sys.exit(0 if all(row.is_within for row in rows) else 1)


if __name__ == "__main__":
    main()
