"""How codes are learned: what they suggest is near the spectrum, and the flow leads from noise to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from demo.sounds.mel import RATE as HEARD_RATE
from demo.sounds.voice import resample
from demo.speech.codec import Codec
from demo.speech.spectrum import FRAME, N_MEL, RATE, log_mel
from demo.speech.spoken import spoken
from demo.speech.tokenizer import N_MEL as N_HEARD
from demo.speech.tokenizer_mel import tokenizer_mel
from demo.split import Split, rng_for

N_UTTERANCE, N_CODE = 8, 32  # of a step; codes of a piece
_FORGET_SHARE = 0.2  # of pieces about which the flow is told nothing: guidance compares with it
_PROMPT_SHARE = 0.5  # of pieces whose beginning it is told


@dataclass(frozen=True)
class Pieces:
    heard: Tensor  # what the tokenizer hears, [n, 128, 4 * n_code]
    mel: Tensor  # what is to be said, [n, 2 * n_code, 80]


def pieces(split: Split, step: int) -> Pieces:
    """What is learned from in a step. Needs the program espeak-ng."""
    heard, mels = [], []
    n = N_CODE * 2 * FRAME
    for i in range(N_UTTERANCE):
        said, rng = spoken(split, step * N_UTTERANCE + i)
        said = np.pad(said, (FRAME, n))
        begin = int(rng.integers(0, len(said) - n))
        piece = said[begin : begin + n]
        heard.append(tokenizer_mel(resample(piece.astype(np.float64), RATE, HEARD_RATE)).T)
        mels.append(log_mel(piece))
    assert heard[0].shape == (N_HEARD, 4 * N_CODE)
    return Pieces(*(torch.from_numpy(np.ascontiguousarray(np.stack(each))) for each in (heard, mels)))


def losses(codec: Codec, step: int) -> dict[str, Tensor]:
    """Of what codes suggest, and of the flow's direction at a time between noise and spectrum."""
    learned = pieces("train", step)
    suggested = codec.flow.suggest(codec.tokenizer(learned.heard))
    rng = rng_for("train", "flow", step)
    n, n_frame, _ = learned.mel.shape
    noise = torch.from_numpy(rng.standard_normal(learned.mel.shape, np.float32))
    # As many times near the noise as the official steps spend there.
    time = torch.from_numpy(1 - np.cos(rng.random(n, np.float32) * np.float32(math.pi / 2)))
    at = (1 - time[:, None, None]) * noise + time[:, None, None] * learned.mel
    n_prompt = torch.from_numpy(rng.integers(0, n_frame // 2, n) * (rng.random(n) < _PROMPT_SHARE))
    prompt = learned.mel * (torch.arange(n_frame) < n_prompt[:, None])[..., None]
    speaker = codec.flow.spk_embed_affine_layer.bias.expand(n, n_frame, N_MEL)
    given = torch.cat([suggested.detach(), speaker, prompt], dim=2)
    given = given * torch.from_numpy(rng.random(n) >= _FORGET_SHARE)[:, None, None]
    velocity = codec.flow.decoder.estimator(at, given, time)
    return {
        "suggested": F.l1_loss(suggested, learned.mel),
        "flow": F.mse_loss(velocity, learned.mel - noise),
    }
