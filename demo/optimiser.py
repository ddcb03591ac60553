"""How a step changes the weights: matrices of layers by Muon, all else by AdamW.

A step of Muon changes all directions of a matrix alike. On pages of letters it needs half the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_MATRIX_RATE, _RATE = 3e-3, 1.2e-3  # learning rates at their peak
_DECAY = 0.03  # of weights
_KEPT = ("embed", "lm_head", "query", "proj_out")  # parts of names of what is no map between states


class Optimiser:
    def __init__(self, body: nn.Module, heads: nn.Module) -> None:
        """`body` is the model; `heads` are the second ones."""
        named = list(body.named_parameters())
        maps = [p for name, p in named if p.ndim == 2 and not any(part in name for part in _KEPT)]
        chosen = {id(p) for p in maps}
        others = [p for p in (*(p for _, p in named), *heads.parameters()) if id(p) not in chosen]
        groups: Iterable[dict[str, Any]] = (
            {"params": [p for p in others if p.ndim > 1], "weight_decay": _DECAY},
            {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
        )
        self._muon = torch.optim.Muon(
            maps, lr=_MATRIX_RATE, weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw"
        )
        self._adam = torch.optim.AdamW(list(groups), lr=_RATE, betas=(0.9, 0.98))

    def step(self, share: float) -> None:
        """Changes the weights by their gradients, which it then forgets, at a share of the highest rate."""
        for optimiser, rate in ((self._muon, _MATRIX_RATE), (self._adam, _RATE)):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            optimiser.step()
            optimiser.zero_grad()

    def state(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
