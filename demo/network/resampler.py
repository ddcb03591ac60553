"""The resampler: so many learned queries look at the patches of a slice."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import attend, joined, split
from demo.network.position import plane
from demo.sizes import V_EPS, Sizes

D_HEAD = 128


class PackedAttention(nn.Module):
    """Parameters under the names of torch.nn.MultiheadAttention."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * n_embd, n_embd))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * n_embd))
        self.out_proj = nn.Linear(n_embd, n_embd)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [n_query, n], k and v [n_batch, n_patch, n] -> [n_batch, n_query, n]"""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        n_head = q.shape[-1] // D_HEAD
        q, k, v = (
            split(F.linear(x, w, b), n_head)
            for x, w, b in zip((q.expand(len(k), -1, -1), k, v), weights, biases, strict=True)
        )
        return self.out_proj(joined(attend(q, k, v)))


class Resampler(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        n = sizes.n_embd
        self.query = nn.Parameter(0.02 * torch.randn(sizes.n_query, n))
        self.kv_proj = nn.Linear(sizes.v_embd, n, bias=False)
        self.attn = PackedAttention(n)
        self.ln_q = nn.LayerNorm(n, V_EPS)
        self.ln_kv = nn.LayerNorm(n, V_EPS)
        self.ln_post = nn.LayerNorm(n, V_EPS)
        self.proj = nn.Parameter(n**-0.5 * torch.randn(n, n))
        self._look_around(sizes)

    def forward(self, x: Tensor, rows: int, cols: int) -> Tensor:
        """x [n_slice, rows * cols, v_embd] -> [n_slice, n_query, n_embd]"""
        kv = self.ln_kv(self.kv_proj(x))
        place = torch.arange(rows).repeat_interleave(cols), torch.arange(cols).repeat(rows)
        keys = kv + plane(*place, kv.shape[-1])
        return self.ln_post(self.attn(self.ln_q(self.query), keys, kv)) @ self.proj

    @torch.no_grad()
    def _look_around(self, sizes: Sizes) -> None:
        """Lets each query begin with a spot of the slice of its own.

        Each head takes sines and cosines of rows and of columns, where they are fast enough to tell
        neighbours apart; a query's are those of its spot.
        """
        n, side = sizes.n_embd, round(math.sqrt(sizes.n_query))
        spots = (torch.arange(side) + 0.5) * (sizes.scale / 14 / side) - 0.5
        i = torch.arange(sizes.n_query)
        self.query.copy_(plane(spots[(i // side) % side], spots[i % side], n))
        n_head = n // D_HEAD
        quarter = n // 4
        speed = torch.arange(quarter) / quarter
        gain = torch.where(speed < 0.3, 2.2, 0.15)
        w = torch.zeros(n, n)
        for at in range(n):
            part, k = divmod(at, quarter)
            row = (k % n_head) * D_HEAD + part * (quarter // n_head) + k // n_head
            w[row, at] = gain[k]
        self.attn.in_proj_weight[:n] = w
        self.attn.in_proj_weight[n : 2 * n] = w
        self.ln_kv.weight.fill_(0.3)
