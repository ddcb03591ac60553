"""The command line: `minicpmo-convert CHECKPOINT_DIR -o out.gguf`, or `--requantize in.gguf -o out.gguf`."""

from __future__ import annotations

import signal
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.requantize import requantize

TypeName = Enum("TypeName", {name: name for name in RECIPES}, type=str)  # type: ignore[misc]
DEFAULT = TypeName("q4_k_m")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT_DIR", help="Folder with config.json, safetensors and tokenizer files."
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="GGUF file to write.")],
    type: Annotated[
        TypeName, typer.Option("--type", "-t", help="Type of the language model's matrices.")
    ] = DEFAULT,
    source: Annotated[
        Path | None,
        typer.Option("--requantize", metavar="IN_GGUF", help="Converted file to start from instead."),
    ] = None,
) -> None:
    """Convert a MiniCPM-o checkpoint to one GGUF file, or a converted file to another type."""
    if (checkpoint is None) == (source is None):
        raise typer.BadParameter("give either CHECKPOINT_DIR or --requantize IN_GGUF")
    try:
        if checkpoint is not None:
            size = convert(checkpoint, output, type.value, typer.echo)
        else:
            assert source is not None
            size = requantize(source, output, type.value, typer.echo)
    except (ConvertError, OSError, MemoryError) as error:
        _stop(str(error) or error.__class__.__name__, 1)
    except KeyboardInterrupt:
        _stop("interrupted, nothing written", 130)
    typer.echo(f"{output}: {size / 1e9:.2f} GB, {type.value}")


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
