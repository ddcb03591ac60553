"""Whisper's encoder, which hears a second at a time and all before it, and the projector behind it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import SelfAttention
from demo.network.position import line
from demo.sizes import A_EPS, BLOCK, POOL, Sizes


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        n = sizes.a_embd
        self.self_attn_layer_norm = nn.LayerNorm(n, A_EPS)
        self.self_attn = SelfAttention(n, sizes.a_head, key_bias=False)
        self.final_layer_norm = nn.LayerNorm(n, A_EPS)
        self.fc1 = nn.Linear(n, sizes.a_ff)
        self.fc2 = nn.Linear(sizes.a_ff, n)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        n = sizes.a_embd
        self.conv1 = nn.Conv1d(sizes.n_mel, n, 3, padding=1)
        self.conv2 = nn.Conv1d(n, n, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(sizes.a_position, n)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.a_layer))
        self.layer_norm = nn.LayerNorm(n, A_EPS)
        with torch.no_grad():
            self.embed_positions.weight.copy_(line(sizes.a_position, n))

    def forward(self, mel: Tensor) -> Tensor:
        """mel [n_batch, n_mel, n_frame] -> [n_batch, ceil(n_frame / 2), a_embd]"""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        block = torch.arange(x.shape[1]) // BLOCK
        mask = block[None, :] <= block[:, None]
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        return self.layer_norm(x)


class Projector(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear1 = nn.Linear(sizes.a_embd, sizes.n_embd)
        self.linear2 = nn.Linear(sizes.n_embd, sizes.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """[n_batch, n, a_embd] -> [n_batch, n / 5, n_embd]"""
        x = self.linear2(F.relu(self.linear1(x)))
        n = x.shape[1] // POOL
        return x[:, : n * POOL].unflatten(1, (n, POOL)).mean(dim=2)
