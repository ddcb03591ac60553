"""The vision tower and the resampler in a file of their own, which llama.cpp calls mmproj.

Its feed-forward matrices have each other's names, as in every published file; readers expect that.
"""

from __future__ import annotations

import math

import numpy as np

from minicpmo_convert.convert import Conversion
from minicpmo_convert.folding import Exact, computed, exact
from minicpmo_convert.layouts.split_file import SplitFile, file_type, halved, header
from minicpmo_convert.tensor import Tensor

_SWAPPED = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"}
_OURS = "minicpmo.vision."
# What the layout has no place for, and other readers do not look at.
_OUR_FACTS = (
    *(_OURS + key for key in ("max_slice_nums", "use_image_id", "slice_style", "rows_are_joined")),
    "minicpmo.resampler.temporal_ids",
)


def vision_file(model: Conversion, place: str) -> SplitFile:
    sizes, get = model.vision_sizes, model.keys.get
    keys = header("clip", "image encoder for " + model.family.title)
    keys.u32("general.file_type", file_type(model))
    keys.flag("clip.has_text_encoder", False)
    keys.flag("clip.has_vision_encoder", True)
    keys.flag("clip.has_minicpmv_projector", True)
    keys.text("clip.projector_type", "resampler")
    keys.i32("clip.minicpmv_version", model.family.projector_versions[-1])
    keys.u32("clip.minicpmv_query_num", sizes["n_query"])
    keys.u32("clip.vision.image_size", get(_OURS + "scale_resolution"))
    keys.u32("clip.vision.patch_size", sizes["patch_size"])
    keys.u32("clip.vision.embedding_length", sizes["n_embd"])
    keys.u32("clip.vision.feed_forward_length", sizes["n_ff"])
    keys.u32("clip.vision.projection_dim", 0)
    keys.u32("clip.vision.attention.head_count", sizes["n_head"])
    epsilon = "attention.layer_norm_epsilon"
    keys.f32("clip.vision." + epsilon, get(_OURS + epsilon))
    keys.u32("clip.vision.block_count", sizes["n_run"])
    keys.f32s("clip.vision.image_mean", get(_OURS + "image_mean"))
    keys.f32s("clip.vision.image_std", get(_OURS + "image_std"))
    keys.flag("clip.use_gelu", True)
    for key, entry in model.keys.items():
        if key in _OUR_FACTS:
            keys.put(key, entry)
    scale = get(f"{model.family.llm_arch}.embedding_scale") or 1.0
    stored = [_renamed(_divided(t, scale)) for t in model.tensors if t.name.startswith(("v.", "resampler."))]
    tensors = [*stored, _position_table(sizes)]
    return SplitFile(place, keys, halved(model, tensors))


def _divided(tensor: Tensor, scale: float) -> Tensor:
    """llama.cpp scales all rows that a scaled language model reads, those of pictures among them."""
    if tensor.name != "resampler.proj.weight" or scale == 1.0:
        return tensor
    return computed(tensor.name, tensor.shape, lambda: exact(tensor) / scale)


def _renamed(tensor: Tensor) -> Tensor:
    part = tensor.name.split(".")[3] if tensor.name.startswith("v.blk.") else ""
    return tensor.renamed(tensor.name.replace(part, _SWAPPED[part])) if part in _SWAPPED else tensor


def _position_table(sizes: dict[str, int]) -> Tensor:
    """Sines and cosines of each place of the grid: readers want the table and compute it all the same."""
    grid, width = math.isqrt(sizes["n_position"]), sizes["n_embd_llm"]

    def make() -> Exact:
        quarter = width // 4
        angles = np.arange(grid)[:, None] / 10000.0 ** (np.arange(quarter) / quarter)
        axis = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [grid, width / 2]
        across, down = np.tile(axis, (grid, 1)), np.repeat(axis, grid, axis=0)
        return np.concatenate([across, down], axis=1)

    return computed("resampler.pos_embed_k", (grid * grid, width), make)
