"""The language model: its own architecture's keys and llama.cpp's tensor names, so that it can be cut out."""

from __future__ import annotations

import math

from minicpmo_convert import names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import rope
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

# Turn features 2i and 2i + 1 together, where checkpoints have i and i + n / 2.
_NEIGHBOURS = ("llama", "minicpm")


def read_sizes(config: Facts, family: Family) -> dict[str, int]:
    default = family.llm_defaults
    n_head = config.integer("num_attention_heads", default["num_attention_heads"], high=4096)
    n_head_kv = config.integer("num_key_value_heads", default["num_key_value_heads"], high=4096)
    n_embd = config.integer("hidden_size", default["hidden_size"])
    d_head = config.integer("head_dim", default.get("head_dim", n_embd // n_head), high=4096)
    check(
        n_head % n_head_kv == 0,
        f"[config] expected heads in groups of {n_head_kv}, got {n_head} (config.json)",
    )
    check(d_head % 2 == 0, f"[config] expected an even head_dim, got {d_head} (config.json)")
    return {
        "n_vocab": config.integer("vocab_size", default["vocab_size"]),
        "n_embd": n_embd,
        "n_ff": config.integer("intermediate_size", default["intermediate_size"]),
        "n_layer": config.integer("num_hidden_layers", default["num_hidden_layers"], high=4096),
        "n_head": n_head,
        "n_head_kv": n_head_kv,
        "d_head": d_head,
        "n_q": n_head * d_head,
        "n_kv": n_head_kv * d_head,
    }


def write_keys(keys: Metadata, config: Facts, family: Family, sizes: dict[str, int]) -> None:
    config.require("hidden_act", config.text("hidden_act", "silu"), "silu")
    if not family.attention_bias:
        config.require("attention_bias", config.flag("attention_bias", False), False)
    config.require("use_sliding_window", config.flag("use_sliding_window", False), False)
    default, arch = family.llm_defaults, family.llm_arch
    keys.u32(f"{arch}.block_count", sizes["n_layer"])
    n_ctx = config.integer("max_position_embeddings", default["max_position_embeddings"])
    keys.u32(f"{arch}.context_length", n_ctx)
    keys.u32(f"{arch}.embedding_length", sizes["n_embd"])
    keys.u32(f"{arch}.feed_forward_length", sizes["n_ff"])
    keys.u32(f"{arch}.attention.head_count", sizes["n_head"])
    keys.u32(f"{arch}.attention.head_count_kv", sizes["n_head_kv"])
    keys.u32(f"{arch}.attention.key_length", sizes["d_head"])
    keys.u32(f"{arch}.attention.value_length", sizes["d_head"])
    epsilon = config.number("rms_norm_eps", default["rms_norm_eps"], low=1e-12, high=1e-2)
    keys.f32(f"{arch}.attention.layer_norm_rms_epsilon", epsilon)
    rope.write_keys(keys, config, arch, sizes["d_head"], n_ctx, default["rope_theta"])
    _write_scales(keys, config, arch, sizes)
    keys.u32(f"{arch}.vocab_size", sizes["n_vocab"])


def _write_scales(keys: Metadata, config: Facts, arch: str, sizes: dict[str, int]) -> None:
    """Of mu-P: of token embeddings, of each branch before it is added, and what divides the logits."""
    scale = config.number("scale_emb", 1.0, low=1e-6, high=1e6)
    if arch != "minicpm":
        config.require("scale_emb", scale, 1.0)
        return
    root = math.sqrt(sizes["n_layer"])
    keys.f32(f"{arch}.embedding_scale", scale)
    keys.f32(f"{arch}.residual_scale", config.number("scale_depth", root, low=1e-6, high=1e6) / root)
    base = config.integer("dim_model_base", sizes["n_embd"])
    keys.f32(f"{arch}.logit_scale", sizes["n_embd"] / base)


def book(family: Family) -> tuple[names.Page, ...]:
    """The pages of its language model but for the head."""
    layer = (*names.LLM_BIAS * family.attention_bias, *names.LLM_QK_NORM * family.qk_norm)
    return (*names.LLM[:-1], *layer, names.LLM[-1])


def take_tensors(
    checkpoint: Checkpoint, config: Facts, family: Family, sizes: dict[str, int]
) -> list[Tensor]:
    tensors = names.take_all(book(family), checkpoint, sizes, sizes["n_layer"])
    if family.llm_arch in _NEIGHBOURS:
        tensors = [_side_by_side(tensor, sizes) for tensor in tensors]
    tensors += rope.factors(config, sizes["d_head"])
    tied = config.flag("tie_word_embeddings", False)
    if not tied or names.LLM_HEAD.source in checkpoint.names():
        head = names.take(names.LLM_HEAD, checkpoint, sizes)
        if not tied:  # a tied model ignores a head that its checkpoint happens to hold
            tensors.append(head)
    return tensors


def _side_by_side(tensor: Tensor, sizes: dict[str, int]) -> Tensor:
    """Rows of queries and keys in the order in which llama.cpp turns them."""
    part = tensor.name.rpartition(".attn_")[2]
    n_head = {"q.weight": sizes["n_head"], "k.weight": sizes["n_head_kv"]}.get(part)
    return tensor if n_head is None else tensor.halves_to_neighbours(n_head)
