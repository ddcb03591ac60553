"""One picture, or two, by its kind and number in a split."""

from __future__ import annotations

from demo.example import Sight
from demo.pictures import chart, lettering, page, pair, scene
from demo.split import Split, rng_for

KINDS = ("scene", "lettering", "text", "chart", "pair")
# Sizes of pictures, pixels [width, height]. The first three are seen whole, the last in slices.
SIZES = ((168, 168), (192, 144), (144, 192), (336, 168))


def make_sight(split: Split, kind: str, index: int, size: tuple[int, int], count: int) -> Sight:
    """The example `index` of a kind, with `count` questions.

    A "page" has none. A split never makes another's example.
    """
    rng = rng_for(split, f"{kind} {size[0]}x{size[1]}", index)
    if kind == "scene":
        return scene.make(rng, *size, count)
    if kind == "lettering":
        return lettering.make(rng, split, *size, count)
    if kind == "chart":
        return chart.make(rng, *size, count)
    if kind == "text":
        return page.make_text(rng, split, *size, count)
    if kind == "page":
        return page.make_page(rng, split, *size)
    if kind == "pair":
        return pair.make(rng, *size, count)
    raise ValueError(f"[pictures] expected one of {KINDS}, got {kind!r}")
