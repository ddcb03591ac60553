"""A run in which a part of speech learns, to go on with: its weights, its optimiser's state and its step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from demo.speech import codec_lesson, vocoder_lesson
from demo.speech.codec import Codec
from demo.speech.vocoder import Vocoder

SEED = 11
_RATE, _WARMUP, _DECAY = 2e-3, 50, 0.4  # learning rate, steps until it is reached, share in which it falls


class SpeechRun:
    """At the step it has come to. `losses` are those of a step, by name."""

    def __init__(self, path: Path, part: nn.Module, losses: Callable[[int], Mapping[str, Tensor]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.part, self._losses = path, part, losses
        self.optimiser = torch.optim.AdamW(part.parameters(), lr=_RATE, betas=(0.8, 0.99))
        self.step = 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            part.load_state_dict(state["part"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def learn(self, until: int) -> dict[str, float]:
        """One step of a run that ends at step `until`; returns its losses by name."""
        for group in self.optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (self.step + 1) / _WARMUP, (until - self.step) / (_DECAY * until))
        found = self._losses(self.step)
        self.optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.part.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return {name: loss.item() for name, loss in found.items()}

    def save(self) -> None:
        """Whole or not at all."""
        state = {
            "part": self.part.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.path.with_suffix(".next"))
        os.replace(self.path.with_suffix(".next"), self.path)


def vocoder_run(folder: Path) -> SpeechRun:
    torch.manual_seed(SEED)
    vocoder = Vocoder()
    return SpeechRun(folder / "vocoder.pt", vocoder, lambda step: vocoder_lesson.losses(vocoder, step))


def codec_run(folder: Path) -> SpeechRun:
    torch.manual_seed(SEED)
    codec = Codec()
    return SpeechRun(folder / "codec.pt", codec, lambda step: codec_lesson.losses(codec, step))
