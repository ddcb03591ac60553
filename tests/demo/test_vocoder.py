"""The vocoder in PyTorch against what the converted file means, and its training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_convert.components.vocoder import Generator, read_sizes, take_tensors, write_keys
from minicpmo_convert.facts import Facts
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.torch_file import TorchFile

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))
import speech_reference as reference

pytestmark = pytest.mark.train


@pytest.fixture
def vocoder() -> Any:
    import torch

    from demo.speech.vocoder import Vocoder

    torch.manual_seed(5)
    made = Vocoder()
    with torch.no_grad():
        for name, values in made.named_parameters():
            # So that every part matters: slopes of snakes that differ, biases that are not near zero.
            if name.endswith("alpha"):
                values.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                values.normal_(0, 0.1)
    return made.requires_grad_(False)


def test_it_computes_what_the_converted_file_means(tmp_path: Path, vocoder: Any) -> None:
    import torch

    from demo.speech.export import write_state
    from demo.speech.spectrum import FRAME
    from demo.speech.vocoder import N_HARMONIC

    write_state(vocoder.state_dict(), tmp_path / "hift.pt")
    generator = Generator(TorchFile(tmp_path / "hift.pt"))
    sizes = read_sizes(generator, Facts({}, "config.yaml"))
    assert not sizes.causal
    tensors = {t.name: t.values(0, t.n_row).reshape(t.shape) for t in take_tensors(generator, sizes)}
    keys = Metadata()
    write_keys(keys, sizes, Facts({}, "config.yaml"))
    stored = {key: entry.value for key, entry in keys.items()}
    hift = reference.Part(tensors, stored, "t2w.hift.", "minicpmo.hift.")
    rng = np.random.default_rng(3)
    mel = rng.normal(-3, 2, (12, 80)).astype(np.float32)
    # Both sides but for float32.
    pitch = vocoder.f0_predictor(torch.from_numpy(mel.T.copy())[None])
    np.testing.assert_allclose(reference.find_pitch(hift, mel), pitch[0].numpy(), rtol=1e-4, atol=1e-5)
    pitch = torch.linspace(90, 240, 12)[None]
    noise = torch.zeros(1, 12 * FRAME, N_HARMONIC)
    source = vocoder.m_source(pitch, noise)[0].numpy().astype(np.float64)
    wave = vocoder(torch.from_numpy(mel.T.copy())[None], pitch, noise)[0].numpy()
    expected = reference.vocode(hift, mel, source)
    assert wave.shape == expected.shape == (12 * FRAME,)
    assert np.linalg.norm(wave - expected) < 1e-3 * np.linalg.norm(expected)


def test_a_wave_is_nearest_to_itself() -> None:
    import torch

    from demo.speech.vocoder_lesson import distance

    torch.manual_seed(1)
    wave = 0.1 * torch.randn(2, 9600)
    assert distance(wave, wave).item() == 0
    assert 0 < distance(wave, wave + 0.001).item() < distance(0.5 * wave, wave).item()
    assert distance(0 * wave, wave).isfinite()


def test_pieces_of_a_step_are_the_same_every_time_and_of_its_split() -> None:
    import torch

    from demo.speech.spectrum import log_mel
    from demo.speech.vocoder_lesson import N_FRAME, N_PIECE, N_UTTERANCE, pieces

    first, again, other = pieces("train", 3), pieces("train", 3), pieces("held_out", 3)
    assert first.mel.shape == (N_UTTERANCE * N_PIECE, 80, N_FRAME)
    assert torch.equal(first.wave, again.wave)
    assert not torch.equal(first.wave, other.wave)
    # The spectrum is of that wave: away from its ends, where it saw more.
    for mel, wave in zip(first.mel, first.wave, strict=True):
        np.testing.assert_allclose(log_mel(wave.numpy())[2:-2], mel.T.numpy()[2:-2], atol=1e-3)


def test_a_run_goes_on_where_it_stopped_and_learns(tmp_path: Path, monkeypatch: Any) -> None:
    import torch

    from demo.speech import vocoder_lesson
    from demo.speech.run import vocoder_run

    torch.set_num_threads(1)
    same = vocoder_lesson.pieces("train", 0)
    monkeypatch.setattr(vocoder_lesson, "pieces", lambda split, step: same)
    run = vocoder_run(tmp_path)
    first = [run.learn(1000) for _ in range(6)]
    assert first[-1]["spectrum"] < first[0]["spectrum"]
    run.save()
    expected = run.learn(1000)
    assert vocoder_run(tmp_path).learn(1000) == expected
