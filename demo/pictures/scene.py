"""Scenes of coloured shapes that do not touch, and questions about colour, shape, number, place and size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from demo import lexicon
from demo.example import Pixels, Question, Sight
from demo.lexicon import LANGUAGES, Language
from demo.pictures.canvas import Canvas, shade
from demo.pictures.shape import Shape, draw

MOST = 5  # shapes
_GAP = 4.0  # pixels between circles around shapes


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    shapes: tuple[Shape, ...]
    pixels: Pixels
    labels: Pixels


def draw_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    canvas = Canvas(rng, width, height)
    kinds = list(lexicon.SHAPES)
    n = int(rng.integers(1, MOST + 1))
    colours = canvas.draw_colours(rng, int(rng.integers(1, 4)))
    chosen = [kinds[i] for i in rng.permutation(len(kinds))[: int(rng.integers(1, 4))]]
    scale = min(width, height)
    shapes: list[Shape] = []
    for _ in range(200):
        if len(shapes) == n:
            break
        r = scale * float(rng.uniform(0.09, 0.2 if n > 2 else 0.26))
        x, y = (float(rng.uniform(r + 3, size - r - 3)) for size in (width, height))
        if all(np.hypot(x - s.x, y - s.y) > r + s.radius + _GAP for s in shapes):
            name = colours[rng.integers(len(colours))]
            shapes.append(
                Shape(
                    chosen[rng.integers(len(chosen))],
                    name,
                    shade(rng, lexicon.COLOURS[name][1]),
                    x,
                    y,
                    r,
                    float(rng.uniform(-0.25, 0.25)),
                )
            )
    for shape in shapes:
        draw(canvas, shape)
    return Scene(width, height, tuple(shapes), *canvas.finish(rng))


def ask(rng: np.random.Generator, scene: Scene, count: int) -> tuple[Question, ...]:
    """`count` questions, of different tasks as far as the scene has answers to them."""
    pools: dict[str, list[Question]] = {}
    for language in LANGUAGES:
        for question in _all(scene, language):
            pools.setdefault(question.task, []).append(question)
    tasks = [list(pools)[i] for i in rng.permutation(len(pools))]
    found = []
    for i in range(count):
        pool = pools[tasks[i % len(tasks)]]
        found.append(pool[rng.integers(len(pool))])
    return tuple(found)


def make(rng: np.random.Generator, width: int, height: int, count: int) -> Sight:
    scene = draw_scene(rng, width, height)
    return Sight((scene.pixels,), (scene.labels,), ask(rng, scene, count))


def describe(scene: Scene, language: Language) -> str:
    """What is there, from the most to the fewest; of as many, as the lexicon has them."""
    counts = Counter((s.colour, s.kind) for s in scene.shapes)
    order = {pair: i for i, pair in enumerate((c, k) for c in lexicon.COLOURS for k in lexicon.SHAPES)}
    parts = sorted(counts, key=lambda pair: (-counts[pair], order[pair]))
    return lexicon.listed([lexicon.thing(c, k, language, counts[c, k]) for c, k in parts], language)


def place_of(scene: Scene, shape: Shape) -> str | None:
    """A name of lexicon.PLACES, or None where people would disagree."""
    x, y = shape.x / scene.width, shape.y / scene.height
    if max(abs(x - 0.5), abs(y - 0.5)) < 0.07:
        return "centre"
    if min(abs(x - 0.5), abs(y - 0.5)) < 0.12:
        return None
    return f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"


def _all(scene: Scene, language: Language) -> list[Question]:
    return [
        *_colour_and_shape(scene, language),
        *_counts(scene, language),
        *_places(scene, language),
        *_sizes(scene, language),
        *_presence(scene, language),
        Question(
            "describe", _say(language, "What is in the picture?", "图里有什么？"), describe(scene, language)
        ),
    ]


def _say(language: Language, en: str, zh: str) -> str:
    return en if language == "en" else zh


def _colour_and_shape(scene: Scene, language: Language) -> list[Question]:
    found = []
    for kind in {s.kind: None for s in scene.shapes}:
        colours = {s.colour for s in scene.shapes if s.kind == kind}
        if len(colours) == 1:
            name, one = lexicon.SHAPES[kind], sum(s.kind == kind for s in scene.shapes) == 1
            text = f"What colour is the {name.en}?" if one else f"What colour are the {name.plural}?"
            answer = lexicon.colour(colours.pop())[language]
            found.append(Question("colour", _say(language, text, f"{name.zh}是什么颜色？"), answer))
    for colour in {s.colour: None for s in scene.shapes}:
        kinds = [s.kind for s in scene.shapes if s.colour == colour]
        if len(kinds) == 1:
            word = lexicon.colour(colour)
            text = _say(language, f"What shape is {word.en}?", f"{word.zh}的是什么形状？")
            found.append(Question("shape", text, lexicon.SHAPES[kinds[0]][language]))
    return found


def _counts(scene: Scene, language: Language) -> list[Question]:
    asked = [(_say(language, "How many shapes are there?", "一共有几个图形？"), len(scene.shapes))]
    for kind in {s.kind: None for s in scene.shapes}:
        n, name = sum(s.kind == kind for s in scene.shapes), lexicon.SHAPES[kind]
        asked.append((_say(language, f"How many {name.plural} are there?", f"有几个{name.zh}？"), n))
    for colour in {s.colour: None for s in scene.shapes}:
        n, word = sum(s.colour == colour for s in scene.shapes), lexicon.colour(colour)
        asked.append((_say(language, f"How many shapes are {word.en}?", f"有几个{word.zh}的图形？"), n))
    return [Question("count", text, str(n)) for text, n in asked]


def _single(scene: Scene) -> list[Shape]:
    counts = Counter((s.colour, s.kind) for s in scene.shapes)
    return [s for s in scene.shapes if counts[s.colour, s.kind] == 1]


def _name(shape: Shape, language: Language) -> str:
    c, kind = lexicon.colour(shape.colour)[language], lexicon.SHAPES[shape.kind][language]
    return f"the {c} {kind}" if language == "en" else f"{c}{kind}"


def _places(scene: Scene, language: Language) -> list[Question]:
    found = []
    single = _single(scene)
    for shape in single:
        place, name = place_of(scene, shape), _name(shape, language)
        if place is not None:
            text = _say(language, f"Where is {name}?", f"{name}在哪里？")
            found.append(Question("position", text, lexicon.PLACES[place][language]))
    for a in single:
        for b in single:
            if abs(a.x - b.x) > 0.15 * scene.width:
                x, y = _name(a, language), _name(b, language)
                text = _say(language, f"Is {x} left or right of {y}?", f"{x}在{y}的左边还是右边？")
                side = lexicon.SIDES["left" if a.x < b.x else "right"]
                found.append(Question("position", text, side[language]))
    return found


def _sizes(scene: Scene, language: Language) -> list[Question]:
    found = []
    single = _single(scene)
    for a in single:
        for b in single:
            if a is not b and max(a.radius / b.radius, b.radius / a.radius) > 1.35:
                x, y = _name(a, language), _name(b, language)
                text = _say(language, f"Which is larger, {x} or {y}?", f"{x}和{y}哪个大？")
                found.append(Question("size", text, x if a.radius > b.radius else y))
    return found


def _presence(scene: Scene, language: Language) -> list[Question]:
    there = list({(s.colour, s.kind): None for s in scene.shapes})
    colours, kinds = {c: None for c, _ in there}, {k: None for _, k in there}
    absent = [(c, k) for c in colours for k in kinds if (c, k) not in there]
    others = [(c, there[0][1]) for c in lexicon.COLOURS if c not in colours][:1]
    found = []
    for pairs, answer in ((there[:2], lexicon.YES), ((absent or others)[:2], lexicon.NO)):
        for c, k in pairs:
            name = lexicon.thing(c, k, language)
            text = _say(
                language, f"Is there {name}?", f"图里有没有{lexicon.colour(c).zh}{lexicon.SHAPES[k].zh}？"
            )
            said = answer.en if language == "en" else ("有" if answer is lexicon.YES else "没有")
            found.append(Question("presence", text, said))
    return found
