"""How the vocoder learns: pieces of spoken sentences, and how far a wave is from one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from demo.speech.spectrum import FRAME, N_MEL, log_mel, pitch_of
from demo.speech.spoken import spoken
from demo.speech.vocoder import N_HARMONIC, Vocoder
from demo.split import Split, rng_for

N_UTTERANCE, N_PIECE, N_FRAME = 4, 2, 32  # of a step; pieces of an utterance, frames of a piece
_WINDOWS = (128, 512, 2048)  # samples that spectra are compared over
_FLOOR = 1e-3  # magnitude below which nothing is heard
_PITCH_UNIT = 100.0  # Hz


@dataclass(frozen=True)
class Pieces:
    mel: Tensor  # [n, 80, n_frame]
    pitch: Tensor  # Hz, [n, n_frame]
    wave: Tensor  # [n, n_frame * 480]


def pieces(split: Split, step: int) -> Pieces:
    """What the vocoder hears in a step. Needs the program espeak-ng."""
    mels, pitches, waves = [], [], []
    for i in range(N_UTTERANCE):
        said, rng = spoken(split, step * N_UTTERANCE + i)
        said = np.pad(said, (FRAME, N_FRAME * FRAME))
        mel, pitch = log_mel(said), pitch_of(said)
        for begin in rng.integers(0, len(mel) - N_FRAME, N_PIECE):
            mels.append(mel[begin : begin + N_FRAME].T)
            pitches.append(pitch[begin : begin + N_FRAME])
            waves.append(said[begin * FRAME : (begin + N_FRAME) * FRAME])
    assert mels[0].shape == (N_MEL, N_FRAME)
    return Pieces(*(torch.from_numpy(np.stack(each)) for each in (mels, pitches, waves)))


def losses(vocoder: Vocoder, step: int) -> dict[str, Tensor]:
    """By the pitch that is heard, so that sound and pitch are learned apart."""
    heard = pieces("train", step)
    shape = (*heard.wave.shape, N_HARMONIC)
    rng = rng_for("train", "source noise", step)
    noise = torch.from_numpy(rng.standard_normal(shape, np.float32))
    made = vocoder(heard.mel, heard.pitch, noise)
    guessed = vocoder.f0_predictor(heard.mel)
    pitch = F.smooth_l1_loss(guessed / _PITCH_UNIT, heard.pitch / _PITCH_UNIT)
    return {"spectrum": distance(made, heard.wave), "pitch": pitch}


def distance(made: Tensor, heard: Tensor) -> Tensor:
    """Of two waves [n, n_sample]: mean difference of logarithms of magnitudes, over windows of three lengths,
    and that of the magnitudes themselves, relative to what is heard."""
    total = torch.zeros(())
    for n in _WINDOWS:
        window = torch.hann_window(n)
        a, b = (
            torch.stft(x, n, n // 4, window=window, return_complex=True).abs() * (2 / n) ** 0.5
            for x in (made, heard)
        )
        logs = (a.clamp(min=_FLOOR).log() - b.clamp(min=_FLOOR).log()).abs().mean()
        total = total + logs + (a - b).norm() / b.norm().clamp(min=_FLOOR)
    return total / len(_WINDOWS)
