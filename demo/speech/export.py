"""`python -m demo.speech.export OUT`: flow and vocoder of a run as the files of `assets/token2wav`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from demo.speech.run import codec_run, vocoder_run


def write_state(tensors: Mapping[str, Tensor], path: Path) -> None:
    """As minicpmo-convert reads `hift.pt` and `flow.pt`."""
    torch.save({name: values.detach().clone() for name, values in tensors.items()}, path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.speech.export", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path, default=Path("demo_run"), help="the run's folder")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    codec, vocoder = codec_run(given.run / "codec"), vocoder_run(given.run / "vocoder")
    write_state(codec.part.flow.official_state(), given.out / "flow.pt")
    write_state(vocoder.part.state_dict(), given.out / "hift.pt")
    print(f"{given.out}: flow.pt of step {codec.step}, hift.pt of step {vocoder.step}")


if __name__ == "__main__":
    main()
