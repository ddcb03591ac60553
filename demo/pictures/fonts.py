"""Fonts that words are written in: those of the Debian package fonts-dejavu, and the one inside Pillow."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

from demo.split import Split

_FOLDER = Path("/usr/share/fonts/truetype/dejavu")
_HELD_OUT = ("DejaVuSans-Oblique", "DejaVuSerifCondensed-Bold")  # never seen in training
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font_names(split: Split) -> list[str]:
    """Names for `open_font`; "" is Pillow's own, which is always there, and for training."""
    found = sorted(p.stem for p in _FOLDER.glob("DejaVuS*.ttf") if "ExtraLight" not in p.stem)
    if split == "held_out":
        return [name for name in found if name in _HELD_OUT] or [""]
    return ["", *(name for name in found if name not in _HELD_OUT)]


@cache
def open_font(name: str, size: int) -> Font:
    """A font at a height of `size` pixels."""
    return ImageFont.truetype(_FOLDER / f"{name}.ttf", size) if name else ImageFont.load_default(size)
