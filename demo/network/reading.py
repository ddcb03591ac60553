"""One prompt as the engine reads it: media, ids and the logits behind the last of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo import prompts
from demo.example import Pixels
from demo.lexicon import Language
from demo.network.omni import Omni
from demo.pictures.slices import cut, to_patches
from demo.sizes import PATCH
from demo.sounds.mel import log_mel
from demo.vocabulary import Encoder


def read_pictures(
    omni: Omni, encoder: Encoder, pictures: Sequence[Pixels], question: str
) -> tuple[Tensor, Tensor]:
    """(slices of all pictures [n_slice, n_query, n_embd], logits [n_vocab])"""
    cuts = [cut(pixels, omni.sizes.scale, omni.sizes.max_slices) for pixels in pictures]
    seen = torch.cat([_see(omni, tile) for each in cuts for tile in each])
    prefix = prompts.picture_prefix(tuple(len(each) - 1 for each in cuts), omni.sizes.n_query)
    return seen, _last_logits(omni, encoder, prefix + prompts.asked(question), seen.flatten(0, 1))


def read_sound(
    omni: Omni, encoder: Encoder, samples: NDArray[np.float32], language: Language
) -> tuple[Tensor, Tensor]:
    """(embeddings of a sound of up to 30 s [n_token, n_embd], logits [n_vocab])"""
    heard = omni.hear(torch.from_numpy(log_mel(samples, omni.sizes.n_mel))[None])[0]
    text = prompts.USER + prompts.HEAR[language] + prompts.heard(len(heard))
    return heard, _last_logits(omni, encoder, text + prompts.asked("", is_spoken=True), heard)


def _see(omni: Omni, tile: Pixels) -> Tensor:
    patches = torch.from_numpy(to_patches(tile))[None]
    return omni.see(patches, tile.shape[0] // PATCH, tile.shape[1] // PATCH)


def _last_logits(omni: Omni, encoder: Encoder, text: str, media: Tensor) -> Tensor:
    ids = torch.tensor([encoder.encode(text)])
    return omni.logits(omni.embed(ids, encoder.special["<unk>"], media[None]))[0, -1]
