"""Attention of several heads with biases, as vision towers and Whisper have it."""

from __future__ import annotations

from torch import Tensor, nn


class SelfAttention(nn.Module):
    def __init__(self, n_embd: int, n_head: int, *, key_bias: bool) -> None:
        super().__init__()
        self.n_head = n_head
        self.q_proj = nn.Linear(n_embd, n_embd)
        self.k_proj = nn.Linear(n_embd, n_embd, bias=key_bias)
        self.v_proj = nn.Linear(n_embd, n_embd)
        self.out_proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [n_batch, n, n_embd]; mask, true where a position may look: [n, n]."""
        q, k, v = (split(proj(x), self.n_head) for proj in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(joined(attend(q, k, v, mask)))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Written out: torch's fused one takes three times as long backwards in bfloat16 on a CPU."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def split(x: Tensor, n_head: int) -> Tensor:
    """[n_batch, n, n_head * d] -> [n_batch, n_head, n, d]"""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """[n_batch, n_head, n, d] -> [n_batch, n, n_head * d]"""
    return x.transpose(1, 2).flatten(2)
