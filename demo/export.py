"""`python -m demo.export OUT`: a run's latest checkpoint in the official layout, for minicpmo-convert."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from demo.checkpoint import write_checkpoint
from demo.sizes import Sizes
from demo.train import Run
from demo.vocabulary import Vocabulary


def export(sizes: Sizes, vocabulary: Vocabulary, weights: Mapping[str, Tensor], folder: Path) -> None:
    """`weights` by their official names."""
    tensors = {name: values.detach().float().numpy() for name, values in weights.items()}
    write_checkpoint(folder, sizes, vocabulary, tensors)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.export", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path, default=Path("demo_run"), help="the run's folder")
    given = parser.parse_args()
    run = Run(given.run)
    export(run.omni.sizes, run.vocabulary, run.mean, given.out)
    print(f"{given.out}: step {run.step}; next: minicpmo-convert {given.out} -o demo.gguf --type q8_0")


if __name__ == "__main__":
    main()
