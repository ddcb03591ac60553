"""The flow's encoder: a conformer over codes, one over twice as many frames. Names are the official ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.network.attention import joined, split

N_INPUT, N_EMBD, N_FF, N_HEAD, D_HEAD = 32, 128, 256, 2, 64
N_LAYER, N_UP_LAYER, AHEAD, UP_RATE = 2, 1, 3, 2  # codes seen ahead, frames of a code


class RelativeAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (
            nn.Linear(N_EMBD, N_EMBD) for _ in range(4)
        )
        self.linear_pos = nn.Linear(N_EMBD, N_EMBD, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(N_HEAD, D_HEAD))
        self.pos_bias_v = nn.Parameter(torch.zeros(N_HEAD, D_HEAD))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        q, k, v = (split(proj(x), N_HEAD) for proj in (self.linear_q, self.linear_k, self.linear_v))
        places = split(self.linear_pos(sinusoid(n))[None], N_HEAD)  # [1, n_head, 2n - 1, d]
        content = (q + self.pos_bias_u[:, None]) @ k.transpose(-1, -2)
        place = (q + self.pos_bias_v[:, None]) @ places.transpose(-1, -2)
        rows = torch.arange(n)
        # Column n - 1 - (i - j) is the distance from key j to query i.
        which = (n - 1 - rows[:, None] + rows[None]).expand(*place.shape[:2], n, n)
        scores = (content + place.gather(3, which)) * D_HEAD**-0.5
        return self.linear_out(joined(scores.softmax(dim=-1) @ v))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(N_EMBD, N_FF), nn.Linear(N_FF, N_EMBD)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.silu(self.w_1(x)))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_mha, self.norm_ff = (nn.LayerNorm(N_EMBD, 1e-12) for _ in range(2))
        self.self_attn = RelativeAttention()
        self.feed_forward = FeedForward()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x))
        return x + self.feed_forward(self.norm_ff(x))


class Embed(nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(n_in, N_EMBD), nn.LayerNorm(N_EMBD, 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * N_EMBD**0.5


class Lookahead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(N_EMBD, N_EMBD, AHEAD + 1), nn.Conv1d(N_EMBD, N_EMBD, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(F.pad(x.transpose(1, 2), (0, AHEAD))), 0.01)
        return x + self.conv2(F.pad(y, (2, 0))).transpose(1, 2)


class Upsampling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(N_EMBD, N_EMBD, 5)

    def forward(self, x: Tensor) -> Tensor:
        twice = x.repeat_interleave(UP_RATE, dim=1).transpose(1, 2)
        return self.conv(F.pad(twice, (4, 0))).transpose(1, 2)


class Conformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up_embed = Embed(N_INPUT), Embed(N_EMBD)
        self.pre_lookahead_layer = Lookahead()
        self.encoders = nn.ModuleList(Layer() for _ in range(N_LAYER))
        self.up_layer = Upsampling()
        self.up_encoders = nn.ModuleList(Layer() for _ in range(N_UP_LAYER))
        self.after_norm = nn.LayerNorm(N_EMBD, 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence [n_batch, n_code, n_input] -> [n_batch, 2 * n_code, n_embd]"""
        x = self.pre_lookahead_layer(self.embed(x))
        for layer in self.encoders:
            x = layer(x)
        x = self.up_embed(self.up_layer(x))
        for layer in self.up_encoders:
            x = layer(x)
        return self.after_norm(x)


def sinusoid(n: int) -> Tensor:
    """Of distances from n - 1 down to -(n - 1): [2n - 1, n_embd], sines and cosines in turn."""
    distance = torch.arange(n - 1, -n, -1, dtype=torch.float32)
    omega = 10000 ** (-torch.arange(0, N_EMBD, 2, dtype=torch.float32) / N_EMBD)
    angle = distance[:, None] * omega
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
