"""The flow's diffusion transformer: from noise to a spectrum, step by step. Names are the official ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import attend, joined, split
from demo.speech.spectrum import N_MEL

N_EMBD, N_FF, N_HEAD, D_HEAD, N_BLOCK, N_TIME = 128, 256, 2, 64, 3, 256
_TIME_SCALE = 1000.0


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.proj = (nn.Linear(N_EMBD, N_EMBD) for _ in range(4))
        self.q_norm, self.k_norm = (nn.LayerNorm(D_HEAD, 1e-5) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split(proj(x), N_HEAD) for proj in (self.to_q, self.to_k, self.to_v))
        return self.proj(joined(attend(self.q_norm(q), self.k_norm(k), v)))


class Turn(nn.Module):
    """[n_batch, a, b] -> [n_batch, b, a]"""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv1d(N_EMBD, N_EMBD, 3) for _ in range(2)]
        before = nn.ConstantPad1d((2, 0), 0.0)  # causal
        norm = nn.LayerNorm(N_EMBD, 1e-5)
        self.block = nn.Sequential(before, convs[0], Turn(), norm, nn.Mish(), _TurnAndPad(), convs[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.transpose(1, 2)).transpose(1, 2)


class _TurnAndPad(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x.transpose(1, 2), (2, 0))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(N_EMBD, N_FF), nn.Linear(N_FF, N_EMBD)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.conv, self.mlp = Attention(), Convolution(), Mlp()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(N_EMBD, 9 * N_EMBD))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        parts = self.adaLN_modulation(time)[:, None].chunk(9, dim=2)
        # Attention first, then the convolution, whose modulation lies last.
        for part, (shift, scale, gate) in (
            (self.attn, parts[:3]),
            (self.conv, parts[6:]),
            (self.mlp, parts[3:6]),
        ):
            x = x + gate * part(_modulated(x, shift, scale))
        return x


class TimeEmbedder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(N_TIME, N_EMBD), nn.SiLU(), nn.Linear(N_EMBD, N_EMBD))

    def forward(self, time: Tensor) -> Tensor:
        """[n_batch], 0 to 1 -> [n_batch, n_embd]"""
        half = N_TIME // 2
        frequency = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32))
        angle = _TIME_SCALE * time[:, None] * frequency
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=1))


class FinalLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(N_EMBD, 2 * N_EMBD))
        self.linear = nn.Linear(N_EMBD, N_MEL)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(time)[:, None].chunk(2, dim=2)
        return self.linear(_modulated(x, shift, scale))


class Estimator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.t_embedder = TimeEmbedder()
        self.in_proj = nn.Linear(4 * N_MEL, N_EMBD)
        self.blocks = nn.ModuleList(Block() for _ in range(N_BLOCK))
        self.final_layer = FinalLayer()

    def forward(self, x: Tensor, given: Tensor, time: Tensor) -> Tensor:
        """x [n_batch, n_frame, 80] at `time` [n_batch] -> velocity, as x.

        given [n_batch, n_frame, 240] is what the codes suggest, the speaker and the condition.
        """
        time = self.t_embedder(time)
        y = self.in_proj(torch.cat([x, given], dim=2))
        for block in self.blocks:
            y = block(y, time)
        return self.final_layer(y, time)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
