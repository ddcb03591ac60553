"""The command line: `minicpmo-convert CHECKPOINT -o out.gguf`, or --requantize or --merge instead.

`minicpmo-convert inspect FILE` says what a file is.
"""

from __future__ import annotations

import signal
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from minicpmo_convert.checkpoint_source import find_checkpoint
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.inspection import inspect
from minicpmo_convert.layouts.folder import LAYOUTS, write_folder
from minicpmo_convert.merge import merge
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.requantize import requantize
from minicpmo_convert.voices import add_voices, parse

TypeName = Enum("TypeName", {name: name for name in RECIPES}, type=str)  # type: ignore[misc]
SINGLE = "single"
LayoutName = Enum("LayoutName", {name: name for name in (SINGLE, *LAYOUTS)}, type=str)  # type: ignore[misc]
DEFAULT = "q4_k_m"


class _Commands(TyperGroup):
    """Arguments that name no command are those of `convert`, which most people want."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and args[0] in self.commands
        return super().parse_args(ctx, args if named else ["convert", *args])


app = typer.Typer(cls=_Commands, add_completion=False, pretty_exceptions_enable=False)


@app.command("inspect")
def inspect_files(
    files: Annotated[
        list[Path], typer.Argument(metavar="GGUF...", help="Files of any layout, or folders of them.")
    ],
) -> None:
    """Print what GGUF files are: modules, types, sizes, and what each can do."""
    try:
        for file in files:
            for line in inspect(file):
                typer.echo(line)
    except (ConvertError, OSError, MemoryError) as error:
        _stop(str(error) or error.__class__.__name__, 1)


@app.command("convert", epilog="minicpmo-convert inspect FILE says what a file is.")
def command(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Folder with config.json, safetensors and tokenizer files; or OWNER/NAME of one on Hugging "
            "Face, which is fetched.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="GGUF file to write, or folder with --layout; without it, --requantize IN_GGUF --voice adds "
            "to IN_GGUF itself.",
        ),
    ] = None,
    layout: Annotated[
        LayoutName | None,
        typer.Option(
            help="One file, or a folder of files: for llama.cpp-omni, or the pair that llama.cpp takes.",
            show_default=SINGLE,
        ),
    ] = None,
    type: Annotated[
        TypeName | None,
        typer.Option(
            "--type",
            "-t",
            help="Type of the language model's matrices; --requantize with --voice alone keeps types.",
            show_default=DEFAULT,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--requantize", metavar="IN_GGUF", help="Converted file to start from instead."),
    ] = None,
    pair: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--merge",
            metavar="LLM_GGUF VISION_GGUF",
            help="Published language model and vision file (mmproj) to join as they are instead.",
        ),
    ] = None,
    token2wav: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of flow and vocoder files beside the checkpoint's own; may be repeated.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With --merge: tokenizer files that replace the vocabulary of LLM_GGUF."
        ),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Importance of inputs, of llama-imatrix, for types of fewer bits than 16."
        ),
    ] = None,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Recording that becomes a reference voice in the file; may be repeated. "
            "A voice of that name is replaced.",
        ),
    ] = None,
) -> None:
    """Convert a MiniCPM-o checkpoint to one GGUF file, or requantize such a file, or merge published ones."""
    if (checkpoint is not None) + (source is not None) + (pair is not None) != 1:
        raise typer.BadParameter(
            "give one of CHECKPOINT, --requantize IN_GGUF and --merge LLM_GGUF VISION_GGUF"
        )
    if pair is not None and type is not None:
        raise typer.BadParameter(
            "--merge keeps the types of the files; give no --type, or --requantize the result"
        )
    if pair is None and tokenizer is not None:
        raise typer.BadParameter("--tokenizer goes with --merge")
    if checkpoint is None and token2wav:
        raise typer.BadParameter("--token2wav goes with CHECKPOINT")
    if pair is not None and voice:
        raise typer.BadParameter("--voice goes with CHECKPOINT or --requantize")
    is_split = layout is not None and layout.value != SINGLE
    if is_split and checkpoint is None:
        raise typer.BadParameter("--layout goes with CHECKPOINT")
    if voice and layout is not None and layout.value == "mmproj":
        raise typer.BadParameter("--voice goes with another --layout: a pair does not speak")
    if imatrix is not None and (pair is not None or (source is not None and type is None)):
        raise typer.BadParameter("--imatrix goes with CHECKPOINT, or with --requantize and --type")
    keeps_types = source is not None and type is None and bool(voice)
    if output is None and keeps_types:
        output = source
    if output is None:
        raise typer.BadParameter("give --output, the GGUF file to write")
    kind = type.value if type is not None else DEFAULT
    try:
        voices = parse(voice or ())
        folder = None if checkpoint is None else find_checkpoint(checkpoint)
        if folder is not None and layout is not None and is_split:
            size = write_folder(
                folder, output, kind, layout.value, typer.echo, token2wav or (), voices, imatrix
            )
        elif folder is not None:
            size = convert(folder, output, kind, typer.echo, token2wav or (), voices, imatrix)
        elif source is not None and keeps_types:
            size = add_voices(source, output, voices)
            kind = "types as they were"
        elif source is not None:
            size = requantize(source, output, kind, typer.echo, voices, imatrix)
        else:
            assert pair is not None
            size = merge(*pair, output, tokenizer, lambda line: typer.echo(line, err=True))
            kind = "merged"
    except (ConvertError, OSError, MemoryError) as error:
        _stop(str(error) or error.__class__.__name__, 1)
    except KeyboardInterrupt:
        _stop("interrupted, nothing written", 130)
    typer.echo(f"{output}: {size / 1e9:.2f} GB, {kind}")


def _stop(message: str, status: int) -> NoReturn:
    line = " ".join(message.split())
    typer.echo("minicpmo-convert: " + "".join(c if c.isprintable() else "?" for c in line), err=True)
    raise typer.Exit(status)


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    signal.signal(signal.SIGTERM, _interrupt)  # clean up as after Ctrl-C
    app()


if __name__ == "__main__":
    main()
