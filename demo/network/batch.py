"""Examples as tensors: media, the prefix they stand in, and questions as branches behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Resampling
from torch import Tensor, nn
from torch.nn import functional as F

from demo import prompts
from demo.example import Question, Sight
from demo.lexicon import Language
from demo.network.omni import Omni, branch_mask
from demo.pictures.label import COLOUR, WHAT, to_labels
from demo.pictures.slices import cut, to_patches
from demo.sizes import PATCH, POOL
from demo.vocabulary import Encoder

Floats = NDArray[np.float32]
_IGNORED = -100  # of cross_entropy
_N_LABEL = [len(WHAT), len(COLOUR)]
N_FLAG = 2 * sum(_N_LABEL)  # what may be in each half of a query's part
_GROUND_SHARE = 0.2  # weight of a patch that shows only ground: most do
_THERE_SHARE = 4.0  # weight of a thing that is there: most are not


@dataclass(frozen=True)
class Batch:
    """Of n_batch examples alike: pictures cut alike, equally many questions."""

    slices: tuple[tuple[Tensor, int, int], ...]  # [n_batch, rows * cols, 3 * 14 * 14], rows, cols in order
    prefix: Tensor  # ids [n_prefix], the same for all
    ids: Tensor  # [n_batch, n]: questions with answers, one behind the other, filled up
    branch: Tensor  # [n_batch, n]: which question each is of
    targets: Tensor  # [n_batch, n]: the next id where it is to be learned, else _IGNORED
    labels: tuple[Tensor, ...] = ()  # what lies in the patches of each slice, [n_batch, rows * cols, 2]


def sights_batch(encoder: Encoder, omni: Omni, sights: Sequence[Sight]) -> Batch:
    limits = omni.sizes.scale, omni.sizes.max_slices
    columns: list[list[Floats]] = []  # by example, then by slice
    named: list[list[NDArray[np.int64]]] = []  # the same
    shapes: list[tuple[int, int]] = []
    counts: tuple[int, ...] = ()
    for sight in sights:
        cuts = [cut(pixels, *limits) for pixels in sight.pictures]
        counts = tuple(len(each) - 1 for each in cuts)
        flat = [tile for each in cuts for tile in each]
        shapes = [(tile.shape[0] // PATCH, tile.shape[1] // PATCH) for tile in flat]
        columns.append([to_patches(tile) for tile in flat])
        kinds = [tile for each in sight.labels for tile in cut(each, *limits, Resampling.NEAREST)]
        named.append([to_labels(tile) for tile in kinds])
    slices = tuple(
        (torch.from_numpy(np.stack([row[i] for row in columns])), *shape) for i, shape in enumerate(shapes)
    )
    prefix = encoder.encode(prompts.picture_prefix(counts, omni.sizes.n_query))
    labels = tuple(torch.from_numpy(np.stack([row[i] for row in named])) for i in range(len(slices)))
    branches = _branches(encoder, [sight.questions for sight in sights])
    return Batch(slices, torch.tensor(prefix), *branches, labels)


def talk_batch(encoder: Encoder, questions: Sequence[Question]) -> Batch:
    prefix = torch.tensor(encoder.encode(prompts.USER))
    return Batch((), prefix, *_branches(encoder, [(question,) for question in questions]))


@dataclass(frozen=True)
class SoundBatch:
    """Of utterances in one language and of one length."""

    mel: Tensor  # [n_batch, n_mel, n_frame]
    words: Batch  # without pictures; its prefix has rows for the sound
    texts: tuple[Tensor, ...]  # ids of what is said


def sound_batch(
    encoder: Encoder, mels: Sequence[NDArray[np.float16]], texts: Sequence[str], language: Language
) -> SoundBatch:
    mel = torch.from_numpy(np.stack(mels)).float()
    n_token = -(-mel.shape[2] // 2) // POOL
    prefix = torch.tensor(encoder.encode(prompts.USER + prompts.HEAR[language] + prompts.heard(n_token)))
    asked = [(Question("hear", "", text),) for text in texts]
    words = Batch((), prefix, *_branches(encoder, asked, is_spoken=True))
    return SoundBatch(mel, words, tuple(torch.tensor(encoder.encode(text)) for text in texts))


def sound_loss(omni: Omni, batch: SoundBatch, states: Tensor, unk: int) -> Tensor:
    """Mean cross entropy of the answers' tokens, by the encoder's states of batch.mel."""
    return _loss(omni, batch.words, unk, omni.audio_projection_layer(states))


def ctc_loss(hint: nn.Linear, batch: SoundBatch, states: Tensor, blank: int) -> Tensor:
    """CTC of a second head on the encoder's states of batch.mel, a token."""
    named = hint(states).float().log_softmax(dim=2).transpose(0, 1)  # [n_position, n_batch, n_vocab]
    n_position = torch.full((len(batch.texts),), len(named))
    n_text = torch.tensor([len(text) for text in batch.texts])
    return F.ctc_loss(named, torch.cat(batch.texts), n_position, n_text, blank, zero_infinity=True)


def look_loss(omni: Omni, hint: nn.Linear, pages: Sequence[Sight]) -> Tensor:
    """Of naming what lies in each patch of pages of one size, each of which is one slice."""
    rows, cols = (side // PATCH for side in pages[0].pictures[0].shape[:2])
    patches = torch.from_numpy(np.stack([to_patches(page.pictures[0]) for page in pages]))
    labels = torch.from_numpy(np.stack([to_labels(page.labels[0]) for page in pages]))
    return _naming_loss(hint, omni.vpm(patches, rows, cols), labels)


def loss_of(omni: Omni, batch: Batch, unk: int) -> Tensor:
    """Mean cross entropy of the answers' tokens."""
    patches = _patches(omni, batch)
    return _loss(omni, batch, unk, _seen(omni, batch, patches))


def sight_loss(omni: Omni, hints: nn.ModuleDict, batch: Batch, unk: int) -> dict[str, Tensor]:
    """Mean cross entropy of the answers' tokens, and the losses of two more heads.

    `naming` says what lies in each patch, by what the tower makes of it; `finding` what lies in each query's
    part of a slice, by what the language model gets.
    """
    patches = _patches(omni, batch)
    seen = _seen(omni, batch, patches)
    naming = _naming_loss(hints["naming"], torch.cat(patches, dim=1), torch.cat(batch.labels, dim=1))
    found = hints["finding"](seen).float()
    there = [
        parts_of(each, rows, cols, omni.sizes.n_query)
        for each, (_, rows, cols) in zip(batch.labels, batch.slices, strict=True)
    ]
    weights = torch.full((N_FLAG,), _THERE_SHARE)
    missed = F.binary_cross_entropy_with_logits(
        found, torch.cat(there, dim=1), pos_weight=weights, reduction="none"
    )
    return {
        "answer": _loss(omni, batch, unk, seen),
        "naming": naming,
        "finding": missed.sum(dim=-1).mean(),
    }


def _naming_loss(hint: nn.Module, seen: Tensor, labels: Tensor) -> Tensor:
    """seen [n_batch, n_patch, v_embd], labels [n_batch, n_patch, 2]"""
    named = hint(seen.flatten(0, 1)).float()
    loss = torch.zeros(())
    for i, scores in enumerate(named.split(_N_LABEL, dim=1)):
        weights = torch.ones(scores.shape[1])
        weights[0] = _GROUND_SHARE
        loss = loss + F.cross_entropy(scores, labels[..., i].flatten(), weights)
    return loss


def parts_of(labels: Tensor, rows: int, cols: int, n_query: int) -> Tensor:
    """What of WHAT and COLOUR is in the left and the right half of each part of a square grid over a slice,
    a query's each: two letters side by side have an order.

    Labels of patches [n_batch, rows * cols, 2] -> ones and zeros [n_batch, n_query, N_FLAG].
    """
    side = math.isqrt(n_query)
    row, col = torch.arange(rows) * side // rows, torch.arange(cols) * 2 * side // cols
    part = (row[:, None] * 2 * side + col[None, :]).flatten()
    is_there = torch.cat([F.one_hot(labels[..., i], n) for i, n in enumerate(_N_LABEL)], dim=2)
    counts = torch.zeros(len(labels), 2 * n_query, is_there.shape[2], dtype=is_there.dtype)
    return (counts.index_add(1, part, is_there) > 0).float().unflatten(1, (n_query, 2)).flatten(2)


def _loss(omni: Omni, batch: Batch, unk: int, media: Tensor | None) -> Tensor:
    prefix = omni.embed(batch.prefix.expand(len(batch.ids), -1), unk, media)
    x = torch.cat([prefix, omni.embed(batch.ids, unk, None)], dim=1)
    mask, positions = branch_mask(len(batch.prefix), batch.branch)
    x = omni.llm(x, positions, mask)[:, len(batch.prefix) :]
    is_asked = batch.targets != _IGNORED
    return F.cross_entropy(omni.llm.lm_head(x[is_asked]).float(), batch.targets[is_asked])


def _patches(omni: Omni, batch: Batch) -> list[Tensor]:
    """What the tower makes of each slice, [n_batch, rows * cols, v_embd]; those of one shape in one go."""
    found: dict[int, Tensor] = {}
    for shape in {each[1:] for each in batch.slices}:
        which = [i for i, each in enumerate(batch.slices) if each[1:] == shape]
        seen = omni.vpm(torch.cat([batch.slices[i][0] for i in which]), *shape)
        found |= zip(which, seen.chunk(len(which)), strict=True)
    return [found[i] for i in range(len(batch.slices))]


def _seen(omni: Omni, batch: Batch, patches: Sequence[Tensor]) -> Tensor | None:
    """Embeddings of all slices in order, [n_batch, n_slice * n_query, n_embd]."""
    if not patches:
        return None
    each = [omni.resampler(x, *shape[1:]) for x, shape in zip(patches, batch.slices, strict=True)]
    return torch.cat(each, dim=1)


def _branches(
    encoder: Encoder, asked: Sequence[Sequence[Question]], *, is_spoken: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, branch, targets) of a Batch"""
    end = prompts.END_SPOKEN if is_spoken else prompts.END
    rows: list[tuple[list[int], list[int], list[int]]] = []
    for questions in asked:
        ids: list[int] = []
        branch: list[int] = []
        targets: list[int] = []
        for i, question in enumerate(questions):
            q = encoder.encode(prompts.asked(question.text, is_spoken=is_spoken))
            a = encoder.encode(question.answer + end)
            ids += q + a
            branch += [i] * (len(q) + len(a))
            targets += [_IGNORED] * (len(q) - 1) + a + [_IGNORED]
        rows.append((ids, branch, targets))
    n = max(len(ids) for ids, _, _ in rows)
    fills = (encoder.special["<|endoftext|>"], max(len(questions) for questions in asked), _IGNORED)
    found = [torch.tensor([row[i] + [fills[i]] * (n - len(row[i])) for row in rows]) for i in range(3)]
    return found[0], found[1], found[2]
