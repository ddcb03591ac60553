"""Writes tests/data/demo_network.npz: what demo/network computes, in float32, from weights that numpy makes.

PYTHONPATH=.:tests/demo python tests/oracles/demo_network.py (torch)
"""

from pathlib import Path

import numpy as np
import tiny_network as tiny
import torch

from demo.network.omni import Omni
from demo.network.reading import read_pictures, read_sound
from demo.vocabulary import Encoder

TARGET = Path(__file__).resolve().parents[1] / "data" / "demo_network.npz"


def main() -> None:
    omni = Omni(tiny.SIZES)
    shapes = {name: tuple(values.shape) for name, values in omni.state_dict().items()}
    omni.load_state_dict({name: torch.from_numpy(v) for name, v in tiny.weights(shapes).items()})
    encoder = Encoder(tiny.VOCABULARY)
    found: dict[str, np.ndarray] = {
        "names": np.array(list(shapes)),
        "shapes": np.array([",".join(map(str, shape)) for shape in shapes.values()]),
    }
    with torch.no_grad():
        for name, pictures in tiny.PICTURES.items():
            seen, logits = read_pictures(omni, encoder, pictures, tiny.QUESTION)
            found |= {f"{name}_seen": seen.numpy(), f"{name}_logits": logits.numpy()}
        heard, logits = read_sound(omni, encoder, tiny.sound(), "en")
        found |= {"sound_heard": heard.numpy(), "sound_logits": logits.numpy()}
    np.savez_compressed(TARGET, **found)


if __name__ == "__main__":
    main()
