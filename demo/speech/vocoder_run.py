"""A run in which the vocoder learns: `vocoder.pt` in its folder, to go on with, and official `hift.pt`."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from demo.speech.vocoder import Vocoder
from demo.speech.vocoder_lesson import losses, pieces

SEED = 11
_RATE, _WARMUP, _DECAY = 2e-3, 50, 0.4  # learning rate, steps until it is reached, share in which it falls


class VocoderRun:
    """At the step it has come to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        torch.manual_seed(SEED)
        self.vocoder = Vocoder()
        self.optimiser = torch.optim.AdamW(self.vocoder.parameters(), lr=_RATE, betas=(0.8, 0.99))
        self.step = 0
        if (folder / "vocoder.pt").exists():
            state = torch.load(folder / "vocoder.pt", weights_only=True)
            self.vocoder.load_state_dict(state["vocoder"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def learn(self, until: int) -> dict[str, float]:
        """One step of a run that ends at step `until`; returns its losses by name."""
        for group in self.optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (self.step + 1) / _WARMUP, (until - self.step) / (_DECAY * until))
        found = losses(self.vocoder, pieces("train", self.step), self.step)
        self.optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.vocoder.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return {name: loss.item() for name, loss in found.items()}

    def save(self) -> None:
        state = {
            "vocoder": self.vocoder.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.folder / "next.pt")
        os.replace(self.folder / "next.pt", self.folder / "vocoder.pt")
        write_vocoder(self.vocoder, self.folder / "hift.pt")


def write_vocoder(vocoder: Vocoder, path: Path) -> None:
    """As minicpmo-convert reads it in `assets/token2wav`."""
    torch.save({name: values.contiguous() for name, values in vocoder.state_dict().items()}, path)
