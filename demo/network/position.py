"""Sines and cosines of positions, in a plane and along a line."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def plane(rows: Tensor, cols: Tensor, n_embd: int) -> Tensor:
    """[n, n_embd]: the first half of the columns, the second of the rows, in each sines before cosines."""
    quarter = n_embd // 4
    omega = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    halves = [positions.float()[:, None] * omega for positions in (cols, rows)]
    return torch.cat([f(half) for half in halves for f in (torch.sin, torch.cos)], dim=1)


def line(n: int, n_embd: int) -> Tensor:
    """Whisper's table, [n, n_embd]."""
    half = n_embd // 2
    omega = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, dtype=torch.float32))
    angle = torch.arange(n, dtype=torch.float32)[:, None] * omega
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
