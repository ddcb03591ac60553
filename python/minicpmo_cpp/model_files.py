"""The files of a model that comes in several: what Model.load and the command line call them."""

from __future__ import annotations

import os
from typing import Any

# Keyword of Model.load -> what lies there. The engine tells files apart by what is in them.
PARTS = {
    "mmproj": "vision tower and resampler",
    "audio_model": "audio encoder",
    "tts_model": "model of speech codes",
    "projector": "projector beside it, where it has none inside",
    "token2wav": "folder of flow and vocoder",
}


def part_paths(**parts: Any) -> list[str]:
    """The paths of those of PARTS that were given.

    Raises:
        TypeError: something else than a path.
    """
    for name, path in parts.items():
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"[model] expected a path, got {type(path).__name__} ({name})")
    return [os.fsdecode(path) for path in parts.values() if path is not None]
