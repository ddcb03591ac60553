"""The whole model, whose state has the official names, and what reads a prompt with media in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from demo.network.hearing import Projector, WhisperEncoder
from demo.network.language import LanguageModel
from demo.network.resampler import Resampler
from demo.network.vision import VisionTower
from demo.sizes import Sizes


class Omni(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.llm = LanguageModel(sizes)
        self.vpm = VisionTower(sizes)
        self.resampler = Resampler(sizes)
        self.apm = WhisperEncoder(sizes)
        self.audio_projection_layer = Projector(sizes)
        for module in (*self.llm.modules(), *self.vpm.modules(), *self.apm.modules()):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.7)
        nn.init.normal_(self.llm.model.embed_tokens.weight, std=0.5)

    def see(self, patches: Tensor, rows: int, cols: int) -> Tensor:
        """Slices of one shape [n, rows * cols, 3 * 14 * 14] -> [n, n_query, n_embd]"""
        return self.resampler(self.vpm(patches, rows, cols), rows, cols)

    def hear(self, mel: Tensor) -> Tensor:
        """[n, n_mel, n_frame] -> [n, n_token, n_embd]"""
        return self.audio_projection_layer(self.apm(mel))

    def embed(self, ids: Tensor, unk: int, media: Tensor | None) -> Tensor:
        """Embeddings of ids [n_batch, n]; rows of `unk` are those of media [n_batch, n_unk, n_embd]."""
        x = self.llm.model.embed_tokens(ids)
        if media is None:
            return x
        return x.masked_scatter((ids == unk)[..., None], media.to(x.dtype))

    def logits(self, x: Tensor) -> Tensor:
        """Of every row of one sequence of embeddings [1, n, n_embd]."""
        n = x.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        return self.llm.lm_head(self.llm(x, torch.arange(n), mask))


def branch_mask(n_prefix: int, n_branch: int, n_each: int) -> tuple[Tensor, Tensor]:
    """(mask, positions) of a prefix and branches, each of which sees the prefix and itself, as if alone."""
    n = n_prefix + n_branch * n_each
    branch = torch.cat([torch.full((n_prefix,), -1), torch.arange(n_branch).repeat_interleave(n_each)])
    mask = torch.ones(n, n, dtype=torch.bool).tril() & ((branch == branch[:, None]) | (branch == -1)[None, :])
    positions = torch.cat([torch.arange(n_prefix), n_prefix + torch.arange(n_each).repeat(n_branch)])
    return mask, positions


def n_parameter(modules: Sequence[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
