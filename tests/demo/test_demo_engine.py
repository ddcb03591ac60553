"""The engine on a checkpoint of the demo's layout: the same ids, embeddings and logits as demo/network has.

PyTorch's numbers are those of tests/oracles/demo_network.py; test_demo_network.py compares them with it.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_network as tiny
from minicpmo_convert.convert import convert
from minicpmo_cpp import TASKS, Model

from demo.checkpoint import write_checkpoint
from demo.corpus import texts
from demo.vocabulary import Encoder

TORCH = np.load(Path(__file__).resolve().parents[1] / "data" / "demo_network.npz")
ENCODER = Encoder(tiny.VOCABULARY)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("demo")
    shapes = {
        str(name): tuple(int(n) for n in str(shape).split(","))
        for name, shape in zip(TORCH["names"], TORCH["shapes"], strict=True)
    }
    write_checkpoint(folder / "checkpoint", tiny.SIZES, tiny.VOCABULARY, tiny.weights(shapes))
    convert(folder / "checkpoint", folder / "f32.gguf", "f32")
    return Model.load(folder / "f32.gguf", device="cpu", n_threads=1)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", tiny.PICTURES)
def test_a_prompt_with_pictures_has_the_ids_and_logits_of_the_network(model: Model, name: str) -> None:
    pictures = tiny.PICTURES[name]
    seen = [model.encode_image(pixels) for pixels in pictures]
    # Float32 on both sides: rounding of sums of some hundred products.
    assert relative_error(np.concatenate(seen), TORCH[f"{name}_seen"]) < 1e-5
    prompt = model.build_prompt([{"role": "user", "content": [*pictures, tiny.QUESTION]}])
    assert prompt.ids.tolist() == ENCODER.encode(tiny.picture_text(tuple(len(each) - 1 for each in seen)))
    assert relative_error(model.forward(embeds=prompt.embeds).logits, TORCH[f"{name}_logits"]) < 1e-4


def test_a_prompt_with_sound_has_the_ids_and_logits_of_the_network(model: Model) -> None:
    heard = model.encode_audio(tiny.sound())
    assert relative_error(heard, TORCH["sound_heard"]) < 1e-4  # logarithms of powers near their floor
    prompt = model.build_prompt([{"role": "user", "content": [TASKS["asr-en"], tiny.sound()]}])
    assert prompt.ids.tolist() == ENCODER.encode(tiny.sound_text(len(heard)))
    assert relative_error(model.forward(embeds=prompt.embeds).logits, TORCH["sound_logits"]) < 1e-4


def test_the_numbers_tell_pictures_apart() -> None:
    """What is compared above depends on what is seen, by far more than the tolerance."""
    assert relative_error(TORCH["whole_logits"], TORCH["sliced_logits"]) > 0.05
    assert relative_error(TORCH["whole_logits"], TORCH["pair_logits"]) > 0.05


def test_texts_become_the_ids_of_the_engine(model: Model) -> None:
    for text in {*texts(n_picture=4, n_sentence=20, n_talk=30), "It's 3,  \n\n x\t_y！", "caféÀ ok\r\n"}:
        assert ENCODER.encode(text) == model.tokenize(text), text
        assert ENCODER.decode(ENCODER.encode(text)) == text
