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
        return self.llm.lm_head(self.llm(x, torch.arange(n)[None], mask))


def branch_mask(n_prefix: int, branch: Tensor) -> tuple[Tensor, Tensor]:
    """A prefix, and branches that see it and themselves, each as if it stood there alone.

    Args:
        branch: of which branch each token behind the prefix is, [n_batch, n], never falling.

    Returns:
        mask [n_batch, 1, n_prefix + n, n_prefix + n], positions [n_batch, n_prefix + n].
    """
    n_batch, n = branch.shape
    whole = torch.cat([torch.full((n_batch, n_prefix), -1), branch], dim=1)
    mask = (whole[:, :, None] == whole[:, None, :]) | (whole == -1)[:, None, :]
    mask &= torch.ones(mask.shape[1:], dtype=torch.bool).tril()
    begins = torch.searchsorted(branch.contiguous(), branch.contiguous())
    positions = n_prefix + torch.arange(n) - begins
    prefix = torch.arange(n_prefix).expand(n_batch, -1)
    return mask[:, None], torch.cat([prefix, positions], dim=1)


def n_parameter(modules: Sequence[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
