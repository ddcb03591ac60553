"""Two scenes side by side in one conversation: which has more shapes, and is a thing in both?"""

from __future__ import annotations

import numpy as np

from demo import lexicon
from demo.example import Question, Sight
from demo.lexicon import LANGUAGES
from demo.pictures.scene import Scene, draw_scene


def ask(first: Scene, second: Scene) -> list[Question]:
    found = []
    a, b = len(first.shapes), len(second.shapes)
    if a != b:
        more = 1 if a > b else 2
        found += [
            Question("compare", "Which picture has more shapes?", "the first" if more == 1 else "the second"),
            Question("compare", "哪张图的图形多？", "第一张" if more == 1 else "第二张"),
        ]
    else:
        found += [
            Question("compare", "Which picture has more shapes?", "both have the same"),
            Question("compare", "哪张图的图形多？", "一样多"),
        ]
    colours = [{s.colour for s in scene.shapes} for scene in (first, second)]
    for name in sorted(colours[0] ^ colours[1]):
        word = lexicon.colour(name)
        where = name in colours[0]
        for language in LANGUAGES:
            text = f"Which picture has something {word.en}?" if language == "en" else f"哪张图里有{word.zh}？"
            said = ("the first" if where else "the second", "第一张" if where else "第二张")
            found.append(Question("compare", text, said[language == "zh"]))
    return found


def make(rng: np.random.Generator, width: int, height: int, count: int) -> Sight:
    first, second = (draw_scene(rng, width, height) for _ in range(2))
    pool = ask(first, second)
    order = rng.permutation(len(pool))
    questions = tuple(pool[order[i % len(pool)]] for i in range(count))
    return Sight((first.pixels, second.pixels), (first.labels, second.labels), questions)
