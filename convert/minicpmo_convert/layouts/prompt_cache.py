"""A voice as llama.cpp-omni wants it: not the recording, but what the flow remembers after having heard it.

It is good for this flow and this number of steps alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minicpmo_convert.error import ConvertError
from minicpmo_convert.layouts.split_file import SplitFile, exact, header
from minicpmo_convert.voices import array_tensor, open_core

STEPS = 5  # llama.cpp-omni runs no other number
_CODES, _LOOKAHEAD = 25, 3  # of a window
_UP_RATE = 2
_PREFIX = "prompt_cache."
_KEYS = "mtmd.prompt_cache."


def prompt_cache(folder: Path, voice: Any, place: str) -> SplitFile:
    """The cache of a voice that the runtime encoded, by the model in `folder`."""
    core = open_core()
    try:
        model = core.Model.load(str(folder), device="cpu")
        found = core.remember_voice(model, voice, STEPS)
    except (core.MiniCPMOError, ValueError) as error:
        raise ConvertError(str(error)) from None
    keys = header("prompt_cache")
    for key, number in {
        **{"version": 2, "n_timesteps": STEPS, "pre_lookahead": _LOOKAHEAD, "up_rate": _UP_RATE},
        **{"chunk_main": _CODES, "chunk_total": _CODES + _LOOKAHEAD},
    }.items():
        keys.i32(_KEYS + key, number)
    keys.f32(_KEYS + "temperature", 1.0)
    arrays = {"spk_cb": voice.speaker, **found}
    return SplitFile(
        place, keys, exact(array_tensor(_PREFIX + name, "f32", array) for name, array in arrays.items())
    )
