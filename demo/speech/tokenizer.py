"""The speech tokenizer (S3): 25 codes a second, each of eight digits of three levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import attend, joined, split
from demo.network.language import turned

N_MEL, N_EMBD, N_FF, N_LAYER, D_HEAD, N_FSMN = 128, 128, 256, 2, 64, 31
N_DIGIT, N_LEVEL = 8, 3
N_CODE = N_LEVEL**N_DIGIT
_THETA = 10000.0


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(N_EMBD, N_EMBD)
        self.key = nn.Linear(N_EMBD, N_EMBD, bias=False)
        self.value = nn.Linear(N_EMBD, N_EMBD)
        self.out = nn.Linear(N_EMBD, N_EMBD)
        self.fsmn_block = nn.Conv1d(N_EMBD, N_EMBD, N_FSMN, padding=N_FSMN // 2, groups=N_EMBD, bias=False)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        n_head = N_EMBD // D_HEAD
        v = self.value(x)
        q, k = (turned(split(proj(x), n_head), turns) for proj in (self.query, self.key))
        memory = self.fsmn_block(v.transpose(1, 2)).transpose(1, 2) + v
        return self.out(joined(attend(q, k, split(v, n_head)))) + memory


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn_ln = nn.LayerNorm(N_EMBD, 1e-6)
        self.attn = Attention()
        self.mlp_ln = nn.LayerNorm(N_EMBD, 1e-5)
        self.mlp = nn.Sequential(nn.Linear(N_EMBD, N_FF), nn.GELU(), nn.Linear(N_FF, N_EMBD))

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attn(self.attn_ln(x), turns)
        return x + self.mlp(self.mlp_ln(x))


class SpeechTokenizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(N_MEL, N_EMBD, 3, 2, 1)
        self.conv2 = nn.Conv1d(N_EMBD, N_EMBD, 3, 2, 1)
        self.blocks = nn.ModuleList(Block() for _ in range(N_LAYER))
        self.project_down = nn.Linear(N_EMBD, N_DIGIT)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [n_batch, 128, n_frame], 100 frames a second -> digits [n_batch, n_frame / 4, 8], -1 to 1.

        Rounded, but with the slope of what was rounded.
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        omega = _THETA ** (-torch.arange(0, D_HEAD, 2, dtype=torch.float32) / D_HEAD)
        angle = (torch.arange(x.shape[1])[:, None] * omega).repeat(1, 2)
        for block in self.blocks:
            x = block(x, (angle.cos(), angle.sin()))
        soft = self.project_down(x).tanh()
        return soft + (soft.round() - soft).detach()


def codes_of(digits: Tensor) -> Tensor:
    """[..., 8] -> numbers of codes, the first digit the least."""
    return ((digits.round().long() + 1) * N_LEVEL ** torch.arange(N_DIGIT)).sum(dim=-1)


def all_digits() -> Tensor:
    """Those of every code, [n_code, 8]."""
    return torch.arange(N_CODE)[:, None] // N_LEVEL ** torch.arange(N_DIGIT) % N_LEVEL - 1.0
