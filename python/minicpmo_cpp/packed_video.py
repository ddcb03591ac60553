"""Videos for a model with positions in time: several frames, each with its time, become one picture."""

from __future__ import annotations

import os

from minicpmo_cpp.source import Source
from minicpmo_cpp.types import Packed
from minicpmo_cpp.video import read_frames

MAX_PACKED = 180  # pictures of several frames each, as the example of MiniCPM-V 4.5 has it
_MAX_PACK = 6  # frames that the resampler has learned to take as one picture


def read_packed(
    source: str | os.PathLike[str] | bytes | Source,
    *,
    pack: int,
    fps: float = 1.0,
    max_units: int = 3600,
    name: str | None = None,
) -> list[Packed]:
    """A video as a model with positions in time reads it: so many frames to a picture, without sound.

    Args:
        source: path or bytes of a file.
        pack: frames of a picture, 1 to 6; the last one has what is left.
        fps: frames per second. A video of more than 180 pictures is sampled, evenly.
        max_units: a video of more frames than these is refused.
        name: what messages call the file.

    Returns:
        uint8 [h, w, 3] and the time in tenths of a second of each frame, by picture.

    Raises:
        FileNotFoundError, ValueError, ImportError: as read_units.
    """
    if not 1 <= pack <= _MAX_PACK:
        raise ValueError(f"[video] expected 1 to {_MAX_PACK} frames to a picture, got {pack}")
    frames, starts = read_frames(
        source, fps=fps, max_units=max_units, max_frames=MAX_PACKED * pack, name=name
    )
    times = [round(start * 10) for start in starts]
    return [Packed(frames[i : i + pack], times[i : i + pack]) for i in range(0, len(frames), pack)]
