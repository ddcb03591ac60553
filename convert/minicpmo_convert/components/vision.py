"""The vision tower (SigLIP with free image sizes) and the resampler to a fixed count of embeddings."""

from __future__ import annotations

import math
import re

from minicpmo_convert import names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

POSITION_TABLE = "vpm.embeddings.position_embedding.weight"
D_HEAD_RESAMPLER = 128  # the reference: num_heads = embed_dim // 128
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
_LAYER = re.compile(r"vpm\.encoder\.layers\.([0-9]{1,4})\.")


def read_sizes(config: Facts, family: Family, n_position: int, n_embd_llm: int) -> dict[str, int]:
    """The sizes that shapes are made of; n_position is the rows of the stored position table."""
    vision, default = config.section("vision_config"), family.vision_defaults
    n_layer = vision.integer("num_hidden_layers", default["num_hidden_layers"], high=4096)
    # The reference drops the last layer at construction unless the configuration says otherwise.
    n_run = n_layer - int(config.flag("drop_vision_last_layer", True))
    check(
        n_run >= 1,
        f"[config] expected a vision layer to remain, got num_hidden_layers {n_layer} (config.json)",
    )
    sizes = {
        "n_embd": vision.integer("hidden_size", default["hidden_size"]),
        "n_ff": vision.integer("intermediate_size", default["intermediate_size"]),
        "n_head": vision.integer("num_attention_heads", default["num_attention_heads"], high=4096),
        "n_channel": vision.integer("num_channels", default["num_channels"], high=3, low=3),
        "patch_size": vision.integer("patch_size", default["patch_size"], high=256),
        "n_query": config.integer("query_num", default["query_num"], high=65536),
        "n_embd_llm": n_embd_llm,
        "n_layer": n_layer,
        "n_run": n_run,
    }
    check(
        sizes["n_embd"] % sizes["n_head"] == 0,
        f"[config] expected {sizes['n_head']} heads to divide {sizes['n_embd']} (vision_config)",
    )
    check(
        n_embd_llm % D_HEAD_RESAMPLER == 0,
        f"[config] expected hidden_size in heads of {D_HEAD_RESAMPLER}, got {n_embd_llm} (config.json)",
    )
    grid = vision.integer("image_size", default["image_size"]) // sizes["patch_size"]
    check(
        n_position == grid * grid > 0,
        f"[checkpoint] expected {grid} x {grid} positions, got {n_position} ({POSITION_TABLE})",
    )
    return {**sizes, "n_position": n_position}


def count_positions(checkpoint: Checkpoint) -> int:
    return next(iter(checkpoint.shape(POSITION_TABLE)), 0)


def write_keys(
    keys: Metadata, config: Facts, preprocessor: Facts, family: Family, sizes: dict[str, int]
) -> None:
    vision = config.section("vision_config")
    preprocessor.require("slice_mode", preprocessor.flag("slice_mode", True), True)
    patch_size = sizes["patch_size"]
    preprocessor.require("patch_size", preprocessor.integer("patch_size", patch_size), patch_size)
    n_query = sizes["n_query"]
    preprocessor.require("image_feature_size", preprocessor.integer("image_feature_size", n_query), n_query)
    activation = vision.text("hidden_act", "gelu_pytorch_tanh")
    check(
        activation in _ACTIVATIONS,
        f"[config] expected one of {', '.join(_ACTIVATIONS)}, got {activation!r} (vision_config: hidden_act)",
    )
    keys.u32("minicpmo.vision.embedding_length", sizes["n_embd"])
    keys.u32("minicpmo.vision.feed_forward_length", sizes["n_ff"])
    keys.u32("minicpmo.vision.block_count", sizes["n_run"])
    keys.u32("minicpmo.vision.attention.head_count", sizes["n_head"])
    epsilon = vision.number("layer_norm_eps", family.vision_defaults["layer_norm_eps"], low=1e-12, high=1e-2)
    keys.f32("minicpmo.vision.attention.layer_norm_epsilon", epsilon)
    keys.u32("minicpmo.vision.patch_size", patch_size)
    keys.u32("minicpmo.vision.position_grid", math.isqrt(sizes["n_position"]))
    keys.u32(
        "minicpmo.vision.scale_resolution", preprocessor.integer("scale_resolution", 448, patch_size, 65536)
    )
    keys.u32("minicpmo.vision.max_slice_nums", preprocessor.integer("max_slice_nums", 9, high=4096))
    keys.f32s("minicpmo.vision.image_mean", preprocessor.numbers("norm_mean", 3, [0.5] * 3))
    std = preprocessor.numbers("norm_std", 3, [0.5] * 3)
    check(min(std) > 0, f"[config] expected norm_std above 0, got {std} (preprocessor_config.json)")
    keys.f32s("minicpmo.vision.image_std", std)
    keys.text("minicpmo.vision.hidden_act", _ACTIVATIONS[activation])
    keys.flag("minicpmo.vision.use_image_id", preprocessor.flag("use_image_id", family.use_image_id))
    keys.text("minicpmo.vision.slice_style", family.slice_style)
    keys.flag("minicpmo.vision.rows_are_joined", family.rows_are_joined)
    keys.text("minicpmo.vision.projector", "resampler")
    keys.u32("minicpmo.resampler.query_num", n_query)
    keys.u32("minicpmo.resampler.embedding_length", sizes["n_embd_llm"])
    keys.u32("minicpmo.resampler.attention.head_count", sizes["n_embd_llm"] // D_HEAD_RESAMPLER)
    keys.flag("minicpmo.resampler.temporal_ids", family.temporal_ids)
    keys.f32("minicpmo.resampler.embedding_scale_folded", 1.0)


def take_tensors(checkpoint: Checkpoint, sizes: dict[str, int]) -> list[Tensor]:
    tower = names.take_all(names.VISION, checkpoint, sizes, sizes["n_run"])
    widen = (names.RESAMPLER_WIDEN,) if sizes["n_embd"] != sizes["n_embd_llm"] else ()
    return tower + names.take_all(names.RESAMPLER + widen, checkpoint, sizes)


def is_dropped(name: str, sizes: dict[str, int]) -> bool:
    """Whether a tensor belongs to the layer that the configuration drops."""
    match = _LAYER.match(name)
    return match is not None and sizes["n_run"] <= int(match[1]) < sizes["n_layer"]
