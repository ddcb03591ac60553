"""One coloured shape: its outline, drawn with smooth edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import ImageDraw

from demo.lexicon import Rgb
from demo.pictures.canvas import SMOOTH, Canvas
from demo.pictures.label import label

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    kind: str  # of lexicon.SHAPES
    colour: str  # of lexicon.COLOURS
    rgb: Rgb  # as drawn: a shade of the colour
    x: float  # centre, pixels
    y: float
    radius: float  # of the circle around it, pixels
    angle: float  # radians


def draw(canvas: Canvas, shape: Shape) -> None:
    x, y, r = shape.x * SMOOTH, shape.y * SMOOTH, shape.radius * SMOOTH

    def paint(pen: ImageDraw.ImageDraw, rgb: Rgb) -> None:
        if shape.kind == "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=rgb)
        elif shape.kind == "ring":
            pen.ellipse((x - r, y - r, x + r, y + r), outline=rgb, width=round(0.38 * r))
        else:
            pen.polygon(_turned(_outline(shape.kind), x, y, r, shape.angle), fill=rgb)

    canvas.draw(shape.rgb, label(shape.kind, shape.colour), paint)


def inside(shape: Shape) -> Point:
    """A point that surely has the shape's colour."""
    if shape.kind == "ring":
        return shape.x + 0.81 * shape.radius, shape.y
    return shape.x, shape.y


def _outline(kind: str) -> list[Point]:
    """Corners in a circle of radius 1."""
    if kind == "square":
        return _circle(4, math.pi / 4)
    if kind == "triangle":
        return _circle(3, -math.pi / 2)
    if kind == "star":
        outer, inner = _circle(5, -math.pi / 2), _circle(5, -math.pi / 2 + math.pi / 5)
        return [p for a, (bx, by) in zip(outer, inner, strict=True) for p in (a, (0.42 * bx, 0.42 * by))]
    if kind == "cross":
        a, b = 0.32, 0.94
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    raise ValueError(f"[shape] expected a kind of shape, got {kind!r}")


def _circle(n: int, first: float) -> list[Point]:
    return [(math.cos(first + 2 * math.pi * i / n), math.sin(first + 2 * math.pi * i / n)) for i in range(n)]


def _turned(points: list[Point], x: float, y: float, r: float, angle: float) -> list[Point]:
    c, s = math.cos(angle), math.sin(angle)
    return [(x + r * (c * px - s * py), y + r * (s * px + c * py)) for px, py in points]
