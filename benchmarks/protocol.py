"""How a measuring process talks with bench.py: a command as a line of JSON on stdin, its result on stdout.

Between commands a process waits for a line, so it takes no processor from the one that is measured.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from memory import peak_bytes

SIDE = 448  # pixels: a picture of one slice
WIDE, N_SLICE = 1344, 10  # and one of nine beside the overview
N_TEXT = 32  # tokens asked about a picture
SEED = 1


def serve(subject: Any) -> None:
    """Answers {"do": method, argument: value, ...} with what that method returns, until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        command = json.loads(line)
        try:
            result = _run(subject, command.pop("do"), command)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


def _run(subject: Any, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if method == "memory":
        return {"peak_bytes": peak_bytes()}
    result: dict[str, Any] = getattr(subject, method)(**arguments)
    return result
