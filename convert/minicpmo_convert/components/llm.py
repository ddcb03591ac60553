"""The language model: its own architecture's keys and llama.cpp's tensor names, so that it can be cut out."""

from __future__ import annotations

from minicpmo_convert import names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor


def read_sizes(config: Facts, family: Family) -> dict[str, int]:
    default = family.llm_defaults
    n_head = config.integer("num_attention_heads", default["num_attention_heads"], high=4096)
    n_head_kv = config.integer("num_key_value_heads", default["num_key_value_heads"], high=4096)
    d_head = config.integer("head_dim", default["head_dim"], high=4096)
    check(
        n_head % n_head_kv == 0,
        f"[config] expected heads in groups of {n_head_kv}, got {n_head} (config.json)",
    )
    check(d_head % 2 == 0, f"[config] expected an even head_dim, got {d_head} (config.json)")
    return {
        "n_vocab": config.integer("vocab_size", default["vocab_size"]),
        "n_embd": config.integer("hidden_size", default["hidden_size"]),
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
    config.require("attention_bias", config.flag("attention_bias", False), False)
    config.require("use_sliding_window", config.flag("use_sliding_window", False), False)
    config.require("scale_emb", config.number("scale_emb", 1.0), 1.0)
    default, arch = family.llm_defaults, family.llm_arch
    keys.u32(f"{arch}.block_count", sizes["n_layer"])
    keys.u32(
        f"{arch}.context_length",
        config.integer("max_position_embeddings", default["max_position_embeddings"]),
    )
    keys.u32(f"{arch}.embedding_length", sizes["n_embd"])
    keys.u32(f"{arch}.feed_forward_length", sizes["n_ff"])
    keys.u32(f"{arch}.attention.head_count", sizes["n_head"])
    keys.u32(f"{arch}.attention.head_count_kv", sizes["n_head_kv"])
    keys.u32(f"{arch}.attention.key_length", sizes["d_head"])
    keys.u32(f"{arch}.attention.value_length", sizes["d_head"])
    epsilon = config.number("rms_norm_eps", default["rms_norm_eps"], low=1e-12, high=1e-2)
    keys.f32(f"{arch}.attention.layer_norm_rms_epsilon", epsilon)
    keys.f32(f"{arch}.rope.freq_base", _rope_theta(config, default["rope_theta"]))
    keys.u32(f"{arch}.vocab_size", sizes["n_vocab"])


def _rope_theta(config: Facts, default: float) -> float:
    """At the root, or in rope_parameters as newer transformers write it; scaled positions are refused."""
    for key in ("rope_scaling", "rope_parameters"):
        if config.has(key):
            rope = config.section(key)
            kind = rope.text("rope_type", rope.text("type", "default"))
            rope.require("rope_type", kind, "default")
            default = rope.number("rope_theta", default, low=1.0)
    return config.number("rope_theta", default, low=1.0)


def take_tensors(checkpoint: Checkpoint, config: Facts, sizes: dict[str, int]) -> list[Tensor]:
    tensors = names.take_all(names.LLM, checkpoint, sizes, sizes["n_layer"])
    tied = config.flag("tie_word_embeddings", False)
    if not tied or names.LLM_HEAD.source in checkpoint.names():
        head = names.take(names.LLM_HEAD, checkpoint, sizes)
        if not tied:  # a tied model ignores a head that its checkpoint happens to hold
            tensors.append(head)
    return tensors
