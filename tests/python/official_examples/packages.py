"""Stand-ins for packages that the examples import and the tests do without: only what is called of them.

torch and librosa are half a gigabyte and more. minicpmo-utils wants a Pillow and a librosa of its own, and
the ffmpeg command; what it does here is ours.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from minicpmo_cpp import official
from minicpmo_cpp.audio import to_samples


class Tensor(np.ndarray):
    """As much of a torch tensor as the examples use."""

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return np.asarray(self)


def _load(path: str, sr: int, mono: bool = True) -> tuple[np.ndarray, int]:
    assert sr == 16000
    assert mono
    return to_samples(path), sr


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    return module


def stand_ins() -> dict[str, ModuleType]:
    """By name, as sys.modules has them."""
    utils = _module(
        "minicpmo.utils",
        get_video_frame_audio_segments=official.get_video_frame_audio_segments,
        generate_duplex_video=official.generate_duplex_video,
    )
    torch = _module(
        "torch",
        Tensor=Tensor,
        bfloat16="bfloat16",
        from_numpy=lambda array: array.view(Tensor),
        cat=lambda tensors, dim: np.concatenate(tensors, axis=dim).view(Tensor),
    )
    return {
        "librosa": _module("librosa", load=_load),
        "torch": torch,
        "minicpmo": _module("minicpmo", utils=utils),
        "minicpmo.utils": utils,
    }
