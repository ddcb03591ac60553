"""The language model: layers of Qwen3."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import attend, joined, split
from demo.sizes import LLM_EPS, ROPE_THETA, Sizes


class RmsNorm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        """In float32, whatever comes and goes."""
        return super().forward(x.float()).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        n, d = sizes.n_embd, sizes.d_head
        self.n_head, self.n_head_kv = sizes.n_head, sizes.n_head_kv
        self.q_proj = nn.Linear(n, self.n_head * d, bias=False)
        self.k_proj = nn.Linear(n, self.n_head_kv * d, bias=False)
        self.v_proj = nn.Linear(n, self.n_head_kv * d, bias=False)
        self.o_proj = nn.Linear(self.n_head * d, n, bias=False)
        self.q_norm = RmsNorm(d, LLM_EPS)
        self.k_norm = RmsNorm(d, LLM_EPS)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        q = turned(self.q_norm(split(self.q_proj(x), self.n_head)), turns)
        k = turned(self.k_norm(split(self.k_proj(x), self.n_head_kv)), turns)
        v = split(self.v_proj(x), self.n_head_kv)
        k, v = (each.repeat_interleave(self.n_head // self.n_head_kv, dim=1) for each in (k, v))
        return self.o_proj(joined(attend(q, k, v, mask)))


class Mlp(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes.n_embd, sizes.n_ff, bias=False)
        self.up_proj = nn.Linear(sizes.n_embd, sizes.n_ff, bias=False)
        self.down_proj = nn.Linear(sizes.n_ff, sizes.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(sizes.n_embd, LLM_EPS)
        self.self_attn = Attention(sizes)
        self.post_attention_layernorm = RmsNorm(sizes.n_embd, LLM_EPS)
        self.mlp = Mlp(sizes)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turns, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.n_vocab, sizes.n_embd)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.n_layer))
        self.norm = RmsNorm(sizes.n_embd, LLM_EPS)


class LanguageModel(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.d_head = sizes.d_head
        self.model = Body(sizes)
        self.lm_head = nn.Linear(sizes.n_embd, sizes.n_vocab, bias=False)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Embeddings [n_batch, n, n_embd], positions [n_batch, n] -> states behind the last norm.

        mask is [n, n] or [n_batch, 1, n, n].
        """
        omega = ROPE_THETA ** (-torch.arange(0, self.d_head, 2, dtype=torch.float32) / self.d_head)
        angle = (positions.float()[:, None, :, None] * omega).repeat(1, 1, 1, 2)
        for layer in self.model.layers:
            x = layer(x, (angle.cos(), angle.sin()), mask)
        return self.model.norm(x)


def turned(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions, the halves of a head as pairs."""
    cos, sin = turns
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin
