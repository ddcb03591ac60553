"""Lines over time as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias
from xml.sax.saxutils import escape

Lines: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]  # (x, y) by name

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 48  # margins
STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #444 } .title { font-size: 15px; fill: #111 } "
    ".grid { stroke: #ddd } .line { fill: none; stroke-width: 2 }"
)
COLOURS = ("#1f6feb", "#bf4b00", "#2da44e", "#8250df")


def svg(title: str, x_label: str, y_label: str, lines: Lines) -> str:
    """Both axes begin at 0, so that what looks flat is. Names stand beside the title."""
    return "\n".join(_lines(title, x_label, y_label, lines)) + "\n"


def _lines(title: str, x_label: str, y_label: str, lines: Lines) -> Iterator[str]:
    points = [point for line in lines.values() for point in line]
    x_step, x_end = _steps(max(x for x, _ in points))
    y_step, y_end = _steps(max(y for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / x_end * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / y_end * (HEIGHT - TOP - BOTTOM)

    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    yield f"<title>{escape(title)}</title><style>{STYLE}</style>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fff"/>'
    yield _text(LEFT, 28, title, "start", "title")
    for value in _ticks(y_step, y_end):
        x, y = at(0, value)
        yield f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(x - 8, y + 4, f"{value:g}", "end")
    for value in _ticks(x_step, x_end):
        x, y = at(value, 0)
        yield _text(x, y + 18, f"{value:g}", "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, "middle")
    yield (
        f'<text transform="rotate(-90)" x="{-(TOP + HEIGHT - BOTTOM) / 2:.1f}" y="18" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        pairs = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in line)
        yield f'<polyline class="line" stroke="{colour}" points="{pairs}"/>'
        x = WIDTH - RIGHT - 80 * (len(lines) - 1 - i)
        yield f'<text x="{x}" y="28" text-anchor="end" style="fill: {colour}">{escape(name)}</text>'
    yield "</svg>"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{chosen}>{escape(text)}</text>'


def _steps(most: float) -> tuple[float, float]:
    """Between four and ten round steps up to `most` or a little more: (step, end)."""
    most = max(most, 1e-9)
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * part for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if most / (power * part) <= 8)
    return step, math.ceil(most / step - 1e-9) * step


def _ticks(step: float, end: float) -> Iterator[float]:
    yield from (step * i for i in range(round(end / step) + 1))
