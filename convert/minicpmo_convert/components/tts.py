"""The language model of speech codes: driven by embeddings, it continues a condition with codes."""

from __future__ import annotations

from minicpmo_convert import names, speech_names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.folding import computed, normed_weight
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

PREFIX = "tts."
# Never used by the reference: embeddings drive the backbone, the speaker's part of a condition is empty.
IGNORED = ("tts.model.embed_tokens.", "tts.projector_spk.")
ATTENTION_TYPES = ("full_attention", "sliding_window", "sliding_recompute", "reindex")
_TEXT, _CODE = "tts.emb_text.weight", "tts.emb_code.0.weight"
_HEAD = "tts.head_code.0"


def is_in(checkpoint: Checkpoint) -> bool:
    return any(name.startswith(PREFIX) for name in checkpoint.names())


def lm_sizes(tts: Facts, checkpoint: Checkpoint, n_embd_llm: int) -> dict[str, int]:
    """What every model of codes has. What config.json leaves out is as in the published checkpoint; rows of
    tables are counted.
    """
    return {
        "n_embd": tts.integer("hidden_size", 768),
        "n_ff": tts.integer("intermediate_size", 3072),
        "n_layer": tts.integer("num_hidden_layers", 20, high=4096),
        "n_head": tts.integer("num_attention_heads", 12, high=4096),
        "n_embd_llm": n_embd_llm,
        "n_text": next(iter(checkpoint.shape(_TEXT)), 0),
        "n_code": next(iter(checkpoint.shape(_CODE)), 0),
    }


def read_sizes(config: Facts, checkpoint: Checkpoint, n_embd_llm: int) -> dict[str, int]:
    tts = config.section("tts_config")
    tts.require("num_vq", tts.integer("num_vq", 1), 1)
    sizes = lm_sizes(tts, checkpoint, n_embd_llm)
    n_head_kv = tts.integer("num_key_value_heads", sizes["n_head"], high=4096)
    good = sizes["n_embd"] % (2 * sizes["n_head"]) == 0 and sizes["n_head"] % n_head_kv == 0
    check(
        good,
        f"[config] expected {sizes['n_head']} and {n_head_kv} heads to divide {sizes['n_embd']} (tts_config)",
    )
    for key, size in (("num_text_tokens", "n_text"), ("num_audio_tokens", "n_code")):
        tts.require(key, tts.integer(key, sizes[size]), sizes[size])
    check(sizes["n_code"] >= 2, f"[checkpoint] expected codes and their end, got {sizes['n_code']} ({_CODE})")
    d_head = sizes["n_embd"] // sizes["n_head"]
    return {**sizes, "n_head_kv": n_head_kv, "d_head": d_head, "n_kv": n_head_kv * d_head}


def take_tensors(checkpoint: Checkpoint, sizes: dict[str, int]) -> list[Tensor]:
    shape = (sizes["n_code"], sizes["n_embd"])
    head = computed("tts.head_code.weight", shape, normed_weight(checkpoint, _HEAD, shape))
    return [*names.take_all(speech_names.TTS, checkpoint, sizes, sizes["n_layer"]), head]


def write_keys(keys: Metadata, config: Facts, sizes: dict[str, int]) -> None:
    tts = config.section("tts_config")
    for key, value in {
        **{"backbone_model": "llama", "projector_type": "mlp", "hidden_act": "silu"},
        **{"condition_type": "hidden_text_merge"},
    }.items():
        tts.require(key, tts.text(key, value), value)
    tts.require("interleaved", tts.flag("interleaved", False), False)
    attention = tts.text("attention_type", ATTENTION_TYPES[0])
    check(
        attention in ATTENTION_TYPES,
        f"[config] expected one of {', '.join(ATTENTION_TYPES)}, got {attention!r} (tts_config)",
    )
    keys.u32("minicpmo.tts.block_count", sizes["n_layer"])
    keys.u32("minicpmo.tts.embedding_length", sizes["n_embd"])
    keys.u32("minicpmo.tts.feed_forward_length", sizes["n_ff"])
    keys.u32("minicpmo.tts.attention.head_count", sizes["n_head"])
    keys.u32("minicpmo.tts.attention.head_count_kv", sizes["n_head_kv"])
    keys.u32("minicpmo.tts.attention.key_length", sizes["d_head"])
    epsilon = tts.number("rms_norm_eps", 1e-6, low=1e-12, high=1e-2)
    keys.f32("minicpmo.tts.attention.layer_norm_rms_epsilon", epsilon)
    keys.f32("minicpmo.tts.rope.freq_base", tts.number("rope_theta", 10000.0, low=1.0))
    keys.u32("minicpmo.tts.context_length", tts.integer("max_position_embeddings", 4096))
    keys.u32("minicpmo.tts.llm_embedding_length", sizes["n_embd_llm"])
    keys.u32("minicpmo.tts.num_vq", 1)
    keys.u32("minicpmo.tts.num_audio_tokens", sizes["n_code"])
    keys.u32("minicpmo.tts.num_text_tokens", sizes["n_text"])
    for role, default in (("audio_bos_token_id", 151687), ("text_eos_token_id", 151692)):
        keys.u32(f"minicpmo.tts.{role}", tts.integer(role, default, low=0, high=sizes["n_text"] - 1))
    keys.u32("minicpmo.tts.audio_eos_code", sizes["n_code"] - 1)
    normalize = tts.flag("normalize_projected_hidden", True)
    keys.flag("minicpmo.tts.normalize_projected_hidden", normalize)
    keys.text("minicpmo.tts.condition_type", "hidden_text_merge")
    keys.text("minicpmo.tts.attention_type", attention)
    keys.u32("minicpmo.tts.window_size", tts.integer("window_size", 2, high=65536))
    keys.u32("minicpmo.tts.recomputed_chunks", tts.integer("recomputed_chunks", 1, low=0, high=65536))
    _write_sampling(keys, tts)


def _write_sampling(keys: Metadata, tts: Facts) -> None:
    keys.u32("minicpmo.tts.sampling.top_k", tts.integer("top_k", 25, high=1 << 20))
    keys.f32("minicpmo.tts.sampling.top_p", tts.number("top_p", 0.85, high=1.0))
    keys.f32("minicpmo.tts.sampling.temperature", tts.number("temperature", 0.8, low=1e-3, high=100.0))
    penalty = tts.number("repetition_penalty", 1.05, low=1e-3, high=100.0)
    keys.f32("minicpmo.tts.sampling.repetition_penalty", penalty)
    keys.u32("minicpmo.tts.sampling.repetition_window", 16)
    keys.u32("minicpmo.tts.sampling.min_keep", 3)
