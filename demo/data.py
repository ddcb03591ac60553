"""`python -m demo.data sounds OUT` says what training hears; `pictures OUT` writes some to look at."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

from demo.pictures.maker import KINDS, SIZES, make_sight
from demo.sizes import Sizes
from demo.sounds.library import fill
from demo.split import SPLITS, Split


def write_pictures(folder: Path, split: Split, count: int) -> None:
    """`count` examples of each kind as PNG, with questions and answers in `questions.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as lines:
        for kind in KINDS:
            for i in range(count):
                sight = make_sight(split, kind, i, SIZES[i % len(SIZES)], 4)
                names = [f"{kind}-{i:04d}-{k}.png" for k in range(len(sight.pictures))]
                for name, pixels in zip(names, sight.pictures, strict=True):
                    Image.fromarray(pixels).save(folder / name)
                asked = [{"task": q.task, "question": q.text, "answer": q.answer} for q in sight.questions]
                lines.write(json.dumps({"pictures": names, "asked": asked}, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.data", description=__doc__)
    parser.add_argument("what", choices=["sounds", "pictures"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=20000, help="utterances, or pictures of each kind")
    parser.add_argument("--split", choices=SPLITS, default="train", help="of pictures")
    given = parser.parse_args()
    if given.what == "pictures":
        write_pictures(given.out, given.split, given.count)
    else:
        fill(given.out, given.count, Sizes(0).n_mel, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
