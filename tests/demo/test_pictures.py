"""Pictures from seeds: the same every time, and what is said about them is what the pixels show."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby

import numpy as np
import pytest
from numpy.typing import NDArray

from demo import lexicon
from demo.example import Pixels, Sight
from demo.pictures import chart, pair
from demo.pictures.label import COLOUR, WHAT, label, to_labels
from demo.pictures.lettering import draw_text
from demo.pictures.maker import KINDS, SIZES, make_sight
from demo.pictures.page import MOST
from demo.pictures.scene import Scene, ask, draw_scene, place_of
from demo.pictures.shape import inside
from demo.pictures.slices import cut, to_patches
from demo.split import rng_for

# Noise of three standard deviations and the shade a colour strays by, together less than half the distance
# of the two colours that are most alike.
NEAR = 45.0
LEAST = 40  # pixels of a shape; smaller are smooth edges between two other colours


def patches_of(pixels: Pixels, colour: str) -> list[NDArray[np.intp]]:
    """Connected pixels near a colour: [n, (row, column)] each."""
    distance = np.linalg.norm(pixels.astype(float) - lexicon.COLOURS[colour][1], axis=2)
    left = {(int(r), int(c)) for r, c in np.argwhere(distance < NEAR)}
    found = []
    while left:
        edge, seen = [left.pop()], []
        while edge:
            r, c = edge.pop()
            seen.append((r, c))
            for next_to in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if next_to in left:
                    left.remove(next_to)
                    edge.append(next_to)
        if len(seen) >= LEAST:
            found.append(np.array(seen))
    return found


def scenes(count: int) -> list[Scene]:
    return [draw_scene(rng_for("held_out", "test", i), *SIZES[i % 4]) for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_number_makes_the_same_sight_every_time(kind: str, size: tuple[int, int]) -> None:
    def same(a: Sight, b: Sight) -> bool:
        alike = all(np.array_equal(x, y) for x, y in zip(a.pictures, b.pictures, strict=True))
        return alike and a.questions == b.questions

    first = make_sight("train", kind, 5, size, 4)
    assert same(first, make_sight("train", kind, 5, size, 4))
    assert not same(first, make_sight("train", kind, 6, size, 4))
    assert not same(first, make_sight("held_out", kind, 5, size, 4))
    assert len(first.questions) == 4
    for pixels in first.pictures:
        assert pixels.shape == (size[1], size[0], 3)
        assert pixels.dtype == np.uint8


def test_a_scene_has_as_many_shapes_of_each_colour_as_it_says() -> None:
    for scene in scenes(24):
        counts = Counter(s.colour for s in scene.shapes)
        assert 1 <= len(scene.shapes) <= 5
        for colour, n in counts.items():
            assert len(patches_of(scene.pixels, colour)) == n, (scene.shapes, colour)


def test_a_shape_is_where_it_says_and_as_large() -> None:
    for scene in scenes(24):
        blobs = [(c, p) for c in {s.colour for s in scene.shapes} for p in patches_of(scene.pixels, c)]
        for shape in scene.shapes:
            col, row = (round(v - 0.5) for v in inside(shape))
            mine = [p for c, p in blobs if c == shape.colour and [row, col] in p.tolist()]
            assert len(mine) == 1, shape
            # The farthest corner lies on the circle around the shape, but for smooth edges and rounding.
            far = np.hypot(mine[0][:, 1] + 0.5 - shape.x, mine[0][:, 0] + 0.5 - shape.y).max()
            assert 0.85 * shape.radius - 2 < far < shape.radius + 1.5, shape


def test_answers_about_scenes_are_what_the_pixels_show() -> None:
    answered: Counter[str] = Counter()
    for i, scene in enumerate(scenes(60)):
        blobs = {
            c: patches_of(scene.pixels, c)
            for c in lexicon.COLOURS
            if any(s.colour == c for s in scene.shapes)
        }
        centres: dict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
        for shape in scene.shapes:
            col, row = (round(v - 0.5) for v in inside(shape))
            blob = next(p for p in blobs[shape.colour] if [row, col] in p.tolist())
            height, width = scene.pixels.shape[:2]
            y, x = (float(v) for v in (blob.min(axis=0) + blob.max(axis=0)) / 2 / (height, width))
            centres[shape.colour, shape.kind].append((x, y, len(blob)))
        for question in ask(rng_for("held_out", "ask", i), scene, 8):
            if question.text == "How many shapes are there?":
                assert question.answer == str(sum(map(len, blobs.values())))
                answered["count"] += 1
            for (colour, kind), places in centres.items():
                name = f"{colour} {kind}"
                if question.text == f"Where is the {name}?":
                    x, y, _ = places[0]
                    expected = lexicon.PLACES["centre"].en
                    if max(abs(x - 0.5), abs(y - 0.5)) > 0.1:
                        expected = f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
                    assert question.answer == expected
                    answered["place"] += 1
                if question.text.startswith(f"Is the {name} left or right"):
                    other = next(k for k in centres if question.text.endswith(f"of the {k[0]} {k[1]}?"))
                    assert question.answer == ("left" if places[0][0] < centres[other][0][0] else "right")
                    answered["side"] += 1
            if question.text == "What is in the picture?":
                assert all(f"{c} {k}" in question.answer for c, k in centres)
                answered["describe"] += 1
            if question.task == "presence" and question.text.startswith("Is there"):
                is_there = any(question.text.endswith(f"{c} {k}?") for c, k in centres)
                assert question.answer == ("yes" if is_there else "no")
                answered["presence"] += 1
    assert min(answered.values()) > 5, answered


def test_labels_lie_where_the_pixels_have_their_colours() -> None:
    for i in range(12):
        for kind in ("scene", "lettering", "text", "chart"):
            sight = make_sight("held_out", kind, i, SIZES[i % 4], 1)
            pixels, labels = sight.pictures[0].astype(float), sight.labels[0]
            assert labels.shape == pixels.shape
            numbers = set(np.unique(labels[..., 1]).tolist())
            assert 0 in numbers
            assert len(numbers) > 1
            for n in numbers - {0}:
                rgb = lexicon.COLOURS[COLOUR[n]][1]
                near = np.linalg.norm(pixels - rgb, axis=2) < NEAR
                # All of the colour has its label, but for smooth edges and the nearly black line below bars;
                # of letters the label is the box.
                assert (labels[..., 1][near] == n).mean() > 0.9
                assert near[labels[..., 1] == n].mean() > (0.1 if kind in ("lettering", "text") else 0.7)


def test_letters_are_labelled_in_the_order_they_are_read() -> None:
    made = draw_text(rng_for("train", "order of letters", 0), "train", "CAT", *SIZES[0])
    columns = [float(np.argwhere(made.labels[..., 0] == WHAT.index(c))[:, 1].mean()) for c in "CAT"]
    assert columns == sorted(columns)


def test_a_text_is_read_from_top_to_bottom() -> None:
    for i in range(20):
        sight = make_sight("held_out", "text", i, SIZES[i % 4], 2)
        rows = sight.questions[0].answer.split(" ")
        assert 1 <= len(rows) <= MOST
        what = sight.labels[0][..., 0]
        written = np.flatnonzero(what.any(axis=1))
        bands = np.split(written, np.flatnonzero(np.diff(written) > 1) + 1)
        assert len(bands) == len(rows)
        for row, band in zip(rows, bands, strict=True):
            signs = [WHAT[n] for n in what[band[len(band) // 2]] if n]
            assert [sign for sign, _ in groupby(signs)] == [sign for sign, _ in groupby(row)]


def test_a_page_is_full_and_nothing_is_asked_about_it() -> None:
    pages = [make_sight("train", "page", i, SIZES[0], 0) for i in range(30)]
    assert all(page.questions == () for page in pages)
    named = np.concatenate([to_labels(page.labels[0]) for page in pages])
    assert (named[:, 0] > 0).mean() > 0.6
    assert set(named[:, 0].tolist()) == set(range(len(WHAT))) - {WHAT.index("bar")}


def test_a_patch_is_what_most_of_it_shows() -> None:
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[:14, :14] = label("star", "red")
    picture[:4, 14:] = label("A", "blue")
    picture[4:9, 14:] = label("B", "white")
    picture[14:16, :14] = label("ring", "green")  # 28 pixels: too few to be seen
    found = [(WHAT[what], COLOUR[colour]) for what, colour in to_labels(picture)]
    assert found == [("star", "red"), ("B", "white"), ("", ""), ("", "")]


def test_questions_whose_answer_people_would_dispute_are_not_asked() -> None:
    for scene in scenes(60):
        for shape in scene.shapes:
            x, y = shape.x / scene.width - 0.5, shape.y / scene.height - 0.5
            if 0.07 <= max(abs(x), abs(y)) and min(abs(x), abs(y)) < 0.12:
                assert place_of(scene, shape) is None


def test_the_tallest_bar_is_the_tallest() -> None:
    for i in range(20):
        made = chart.draw_chart(rng_for("held_out", "chart test", i), *SIZES[i % 4])
        tall = {}
        for colour in made.colours:
            rows = [blob[:, 0] for blob in patches_of(made.pixels, colour) if len(blob) > 100]
            tall[colour] = max(int(r.max() - r.min()) for r in rows)
        answers = {q.text: q.answer for q in chart.ask(made)}
        assert answers["Which bar is the tallest?"] == max(tall, key=tall.__getitem__)
        assert answers["Which bar is the shortest?"] == min(tall, key=tall.__getitem__)
        assert answers["How many bars are there?"] == str(len(tall))
        assert min(abs(a - b) for a in tall.values() for b in tall.values() if a != b) > 8


def test_the_picture_with_more_shapes_has_more_of_them() -> None:
    for i in range(10):
        rng = rng_for("held_out", "pair test", i)
        first, second = (draw_scene(rng, *SIZES[0]) for _ in range(2))
        n = [sum(len(patches_of(s.pixels, c)) for c in {x.colour for x in s.shapes}) for s in (first, second)]
        answers = {q.text: q.answer for q in pair.ask(first, second)}
        expected = "both have the same" if n[0] == n[1] else ("the first" if n[0] > n[1] else "the second")
        assert answers["Which picture has more shapes?"] == expected


def test_a_text_is_written_whole_in_the_colour_it_says() -> None:
    for i, text in enumerate(["W", "CAT", "RIVER", "8888", "WOMMO"]):
        for k in range(4):
            made = draw_text(rng_for("train", f"text {i}", k), "train", text, *SIZES[k])
            pixels, colour = made.pixels, made.colour
            ink = np.argwhere(
                np.linalg.norm(pixels.astype(float) - lexicon.COLOURS[colour][1], axis=2) < NEAR
            )
            assert len(ink) > 20
            # Nothing is cut off at an edge.
            assert ink.min() > 0
            assert (ink.max(axis=0) < np.array(pixels.shape[:2]) - 1).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((168, 168), (1, 144)), ((192, 144), (1, 140)), ((336, 168), (3, 136))]
)
def test_pictures_are_cut_into_slices_of_whole_patches(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    tiles = cut(make_sight("train", "scene", 0, size, 1).pictures[0], 168, 4)
    patches = to_patches(tiles[0])
    assert (len(tiles), len(patches)) == expected
    assert patches.shape[1] == 3 * 14 * 14
    assert np.abs(patches).max() <= 1
