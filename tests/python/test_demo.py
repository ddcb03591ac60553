"""The built-in demo model against the official code: the part of parity that needs no data from outside."""

from pathlib import Path

import minicpmo_cpp
import numpy as np
import pytest
from minicpmo_cpp import Model, _core

DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
OFFICIAL = np.load(Path(__file__).resolve().parents[1] / "data" / "official.npz")


@pytest.fixture(scope="module")
def demo() -> Model:
    return Model.load(DEMO, device="cpu")


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def test_a_picture_becomes_the_official_embedding(demo: Model) -> None:
    ours = demo.encode_image(OFFICIAL["image_97x61"], max_slice_nums=1)
    # The weights are exact. Without our kernels ggml rounds activations to bfloat16, steps of 2^-8.
    assert relative_error(ours, OFFICIAL["resampled_97x61"]) < 2e-2


@pytest.mark.parametrize(("name", "think"), [("text", False), ("text_think", True)])
def test_a_prompt_has_the_official_ids_and_logits(demo: Model, name: str, think: bool) -> None:
    prompt = demo.build_prompt("Hello, who are you?", enable_thinking=think)
    assert prompt.text == str(OFFICIAL[f"{name}_prompt"])
    assert prompt.ids.tolist() == OFFICIAL[f"{name}_input_ids"].tolist()
    logits = demo.forward(ids=prompt.ids).logits
    # Products of one row with bfloat16 weights round the row to bfloat16: steps of 2^-8, averaged over 256.
    assert relative_error(logits, OFFICIAL[f"{name}_last_logits"]) < 2e-2
    assert logits.argmax() == OFFICIAL[f"{name}_greedy_ids"][0]


def test_the_voice_in_the_file_is_what_is_heard_in_its_recording() -> None:
    model = _core.Model.load(str(DEMO), device="cpu")
    assert _core.voices(model) == ["demo"]
    voice = _core.voice(model, "")
    assert 2.5 < len(voice.pcm) / 16000 < 3.5
    again = _core.encode_voice(model, voice.pcm / np.float32(32768))
    # Another machine adds in another order, which may round a code to its neighbour.
    assert len(again.codes) == len(voice.codes)
    assert np.mean(again.codes == voice.codes) > 0.9
    assert relative_error(again.speaker, voice.speaker) < 2e-2
    assert relative_error(again.mel, voice.mel) < 1e-3
