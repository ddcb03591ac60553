"""The command line's streams: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import io
import os
import sys

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def prepare_streams() -> None:
    """What a terminal's encoding cannot show is replaced; nothing printed may raise for that."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def without_controls(text: str) -> str:
    """Text for a terminal: newlines and tabs stay, no other control character does."""
    return text.translate(_CONTROLS)


def write(text: str) -> None:
    """To stdout, at once. A terminal gets no control characters: the model must not steer it."""
    if sys.stdout is None:
        return
    sys.stdout.write(without_controls(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def say(line: str) -> None:
    """A line to stderr."""
    if sys.stderr is not None:
        print(without_controls(line), file=sys.stderr, flush=True)


def encodes_all() -> bool:
    """Whether stdout can write every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "").replace("_", "").startswith("utf")


def forget_stdout() -> None:
    """After a closed pipe: what is still buffered goes nowhere, so that leaving does not fail on it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def to_text(data: bytes | str) -> str:
    """Bytes of a pipe, or an argument with bytes in surrogates -> Unicode; no UTF-8 becomes U+FFFD."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return raw.decode("utf-8", "replace")
