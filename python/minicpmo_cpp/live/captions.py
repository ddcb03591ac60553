"""Captions: subtitles in the pictures of a film. Pillow draws: pip install 'minicpmo-cpp[cli]'."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minicpmo_cpp.live.said_track import Cue
from minicpmo_cpp.types import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

# Tried in this order, those with Chinese characters first; Pillow looks where the system keeps its fonts.
_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf", "msyh.ttc", "simhei.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf", "DejaVuSans.ttf", "arial.ttf",
)  # fmt: skip
_NOBODYS = "\U0010fffe"  # a character that no font has: shows what stands for those that are missing
# What a line may end after: a word with its spaces, or a Chinese, Japanese or Korean character.
_EAST = r"\u2e80-\ua4cf\uac00-\ud7ff\uff00-\uffef"
_WORD = re.compile(rf"[{_EAST}]\s*|[^\s{_EAST}]+\s*")
_HEIGHT = 0.4  # of the picture, at most
_WIDTH = 0.9


class Captions:
    """White with a black edge, at the bottom; the end of a text that is too long."""

    def __init__(self, cues: Iterable[Cue], font: str | None = None) -> None:
        """
        Args:
            cues: in the order of time.
            font: font file; if None the known one of this machine that lacks the fewest characters.

        Raises:
            ValueError: the file is no font.
        """
        self._cues = list(cues)
        if font is not None:
            _open_font(font, 16)
        text = "".join(cue.text for cue in self._cues)
        # `missing`: characters that no font at hand has.
        self._font, self.missing = _best_font(text, (*_FONTS, None) if font is None else (font,))
        self._strip: Image | None = None  # of the first cue

    def on(self, pixels: Pixels, time_s: float) -> Pixels:
        """A picture with what belongs to its time, which never goes back."""
        from PIL import Image

        while self._cues and time_s >= self._cues[0].end_s:
            self._cues.pop(0)
            self._strip = None
        if not self._cues or time_s < self._cues[0].begin_s:
            return pixels
        height, width, _ = pixels.shape
        if self._strip is None:
            self._strip = self._drawn(self._cues[0].text, width, height)
        image = Image.fromarray(pixels)
        image.paste(self._strip, (0, height - self._strip.height), self._strip)
        return np.asarray(image)

    def _drawn(self, text: str, width: int, height: int) -> Image:
        from PIL import Image, ImageDraw

        size = max(8, round(min(height / 16, width / 24)))
        font, edge = _open_font(self._font, size), max(1, size // 12)
        lines = _wrapped(text, font, _WIDTH * width)

        def height_of(lines: list[str]) -> float:
            box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
                (0, 0), "\n".join(lines), font, stroke_width=edge
            )
            return box[3] - box[1]

        while len(lines) > 1 and height_of(lines) > _HEIGHT * height:
            lines.pop(0)
        strip = Image.new("RGBA", (width, min(height, round(height_of(lines)) + 2 * size // 3)))
        ImageDraw.Draw(strip).multiline_text(
            (width / 2, strip.height - size / 3),
            "\n".join(lines),
            "white",
            font,
            anchor="md",  # the middle of the lowest line's foot
            align="center",
            stroke_width=edge,
            stroke_fill="black",
        )
        return strip


def _best_font(text: str, names: Sequence[str | None]) -> tuple[str | None, str]:
    """A name for Pillow, None for its own font, and the characters that this font lacks."""
    characters = sorted({c for c in text if not c.isspace()})
    found: list[tuple[str | None, str]] = []
    for name in names:
        try:
            font = _open_font(name, 16)
        except ValueError:  # not on this machine
            continue
        nothing = _shape(font, _NOBODYS)
        missing = "".join(c for c in characters if _shape(font, c) == nothing)
        if not missing:
            return name, ""
        found.append((name, missing))
    return min(found, key=lambda pair: len(pair[1]))


def _shape(font: Any, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _open_font(name: str | None, size: int) -> Any:
    try:
        from PIL import ImageFont
    except ImportError:
        raise ImportError("[output] burned subtitles need Pillow: pip install 'minicpmo-cpp[cli]'") from None
    if name is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError as error:
        raise ValueError(f"[output] expected a font file, got: {error} ({name})") from None


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """Lines no wider than `width` where a word or a character fits at all."""
    lines = [""]
    for word in _WORD.findall(text):
        pieces = [word] if font.getlength(word.rstrip()) <= width else list(word)
        for piece in pieces:
            if lines[-1] and font.getlength((lines[-1] + piece).rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]
