"""The vision tower: patches with learned positions through layers of SigLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import SelfAttention
from demo.network.position import plane
from demo.sizes import PATCH, V_EPS, Sizes

_BEGIN, _LEAST_VARIANCE = 0.5, 0.02  # of what a patch begins as


class Embeddings(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.grid = sizes.v_grid
        self.patch_embedding = nn.Conv2d(3, sizes.v_embd, PATCH, stride=PATCH)
        self.position_embedding = nn.Embedding(self.grid**2, sizes.v_embd)
        rows, cols = (
            torch.arange(self.grid).repeat_interleave(self.grid),
            torch.arange(self.grid).repeat(self.grid),
        )
        with torch.no_grad():
            self.position_embedding.weight.copy_(0.3 * plane(rows / 2, cols / 2, sizes.v_embd))

    def forward(self, patches: Tensor, rows: int, cols: int) -> Tensor:
        """patches [n_batch, rows * cols, 3 * 14 * 14]"""
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        place = self._buckets(rows)[:, None] * self.grid + self._buckets(cols)[None, :]
        return x + self.position_embedding(place.flatten())

    @torch.no_grad()
    def look_at(self, patches: Tensor) -> None:
        """Lets rows begin with what patches [n, 3 * 14 * 14] differ in most, each in equal measure.

        Otherwise brightness drowns the edges that letters are made of.
        """
        x = patches.double()
        mean = x.mean(dim=0)
        variance, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        n = len(self.patch_embedding.weight)
        rows = (_BEGIN * axes / (variance + _LEAST_VARIANCE).sqrt()).T.flip(0)[:n]
        self.patch_embedding.weight.copy_(rows.float().view_as(self.patch_embedding.weight))
        self.patch_embedding.bias.copy_(-(rows @ mean).float())

    def _buckets(self, n: int) -> Tensor:
        """Which of the learned positions of a side each of n patches takes."""
        bounds = torch.arange(1 / self.grid, 1.0, 1 / self.grid)
        return torch.bucketize(torch.arange(0, 1 - 1e-6, 1 / n), bounds, right=True)


class Mlp(nn.Module):
    def __init__(self, n_embd: int, n_ff: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_embd, n_ff)
        self.fc2 = nn.Linear(n_ff, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(sizes.v_embd, V_EPS)
        self.self_attn = SelfAttention(sizes.v_embd, sizes.v_head, key_bias=True)
        self.layer_norm2 = nn.LayerNorm(sizes.v_embd, V_EPS)
        self.mlp = Mlp(sizes.v_embd, sizes.v_ff)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.v_layer))


class VisionTower(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = Encoder(sizes)
        self.post_layernorm = nn.LayerNorm(sizes.v_embd, V_EPS)

    def forward(self, patches: Tensor, rows: int, cols: int) -> Tensor:
        """Slices of one shape: [n_slice, rows * cols, 3 * 14 * 14] -> [n_slice, rows * cols, v_embd]"""
        x = self.embeddings(patches, rows, cols)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)
