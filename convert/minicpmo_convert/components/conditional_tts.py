"""The language model of speech codes that reads text as text, and the speaker in a state of the large one.

Several code books are said at once, whose tables and heads are stacked here; of a text that grows, audio sees
a window. Tensors of the backbone are named as in components/tts.py.
"""

from __future__ import annotations

import numpy as np

from minicpmo_convert import names, speech_names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components.tts import PREFIX, lm_sizes
from minicpmo_convert.components.word_pieces import tts_facts
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.folding import computed, exact, normed_weight
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

CONDITION = "text_and_speaker"  # minicpmo.tts.condition_type
MIN_CODES = 10  # of each call, before speech may end; the reference writes it into its code
MAX_CODES = 2048  # of a part of an answer; likewise
TEMPERATURES = (0.1, 0.3)  # of the code books in turn; likewise


def is_in(checkpoint: Checkpoint) -> bool:
    """Whether speech has more than one code book."""
    return f"{PREFIX}emb_code.1.weight" in checkpoint.names()


def read_sizes(config: Facts, checkpoint: Checkpoint, n_embd_llm: int) -> dict[str, int]:
    tts = tts_facts(config)
    sizes = {**lm_sizes(tts, checkpoint, n_embd_llm), "n_vq": tts.integer("num_vq", 4, high=64)}
    check(
        sizes["n_embd"] % (2 * sizes["n_head"]) == 0,
        f"[config] expected {sizes['n_head']} heads to divide {sizes['n_embd']} (tts_config)",
    )
    counted = (("num_text_tokens", "n_text"), ("num_audio_tokens", "n_code"), ("llm_dim", "n_embd_llm"))
    for key, size in counted:
        tts.require(key, tts.integer(key, sizes[size]), sizes[size])
    check(sizes["n_code"] >= 4, f"[checkpoint] expected codes and their end, got {sizes['n_code']}")
    return {**sizes, "n_kv": sizes["n_embd"], "d_head": sizes["n_embd"] // sizes["n_head"]}


def take_tensors(checkpoint: Checkpoint, sizes: dict[str, int]) -> list[Tensor]:
    tensors = names.take_all(speech_names.CONDITIONAL_TTS, checkpoint, sizes, sizes["n_layer"])
    shape, n_vq = (sizes["n_code"], sizes["n_embd"]), sizes["n_vq"]
    books = [checkpoint.take(f"{PREFIX}emb_code.{q}.weight", shape) for q in range(n_vq)]
    heads = [normed_weight(checkpoint, f"{PREFIX}head_code.{q}", shape) for q in range(n_vq)]
    stacked = (n_vq * shape[0], shape[1])
    tensors.append(
        computed("tts.emb_code.weight", stacked, lambda: np.concatenate([exact(book) for book in books]))
    )
    tensors.append(
        computed("tts.head_code.weight", stacked, lambda: np.concatenate([make() for make in heads]))
    )
    return tensors


def write_keys(keys: Metadata, config: Facts, sizes: dict[str, int]) -> None:
    tts = tts_facts(config)
    for key in ("use_speaker_embedding", "use_mlp", "use_text", "streaming"):
        tts.require(key, tts.flag(key, True), True)
    tts.require("use_llm_hidden_state", tts.flag("use_llm_hidden_state", False), False)
    tts.require("num_spk_embs", tts.integer("num_spk_embs", 1), 1)
    p = "minicpmo.tts."
    keys.text(f"{p}condition_type", CONDITION)
    keys.text(f"{p}attention_type", "text_window")
    keys.u32(f"{p}block_count", sizes["n_layer"])
    keys.u32(f"{p}embedding_length", sizes["n_embd"])
    keys.u32(f"{p}feed_forward_length", sizes["n_ff"])
    keys.u32(f"{p}attention.head_count", sizes["n_head"])
    keys.u32(f"{p}attention.head_count_kv", sizes["n_head"])
    keys.u32(f"{p}attention.key_length", sizes["d_head"])
    # LlamaConfig's own: the reference hands it neither.
    keys.f32(f"{p}attention.layer_norm_rms_epsilon", 1e-6)
    keys.f32(f"{p}rope.freq_base", 10000.0)
    keys.u32(f"{p}context_length", tts.integer("max_position_embeddings", 4096))
    keys.u32(f"{p}llm_embedding_length", sizes["n_embd_llm"])
    keys.u32(f"{p}num_vq", sizes["n_vq"])
    keys.u32(f"{p}num_audio_tokens", sizes["n_code"])
    keys.u32(f"{p}num_text_tokens", sizes["n_text"])
    keys.u32(f"{p}audio_eos_code", sizes["n_code"] - 1)
    keys.u32(f"{p}text_reserved_length", tts.integer("streaming_text_reserved_len", 300, high=65536))
    keys.u32(f"{p}text_chunk_length", tts.integer("streaming_text_chunk_size", 10, high=65536))
    keys.u32(f"{p}audio_chunk_length", tts.integer("streaming_audio_chunk_size", 50, high=65536))
    keys.u32(f"{p}min_codes", MIN_CODES)
    keys.u32(f"{p}max_codes", MAX_CODES)
    temperatures = [TEMPERATURES[q % len(TEMPERATURES)] for q in range(sizes["n_vq"])]
    keys.f32s(f"{p}sampling.temperatures", temperatures)
    keys.u32(f"{p}sampling.top_k", tts.integer("top_k", 20, low=0, high=1 << 20))
    keys.f32(f"{p}sampling.top_p", tts.number("top_p", 0.7, high=1.0))
    penalty = tts.number("repetition_penalty", 1.0, low=1e-3, high=100.0)
    keys.f32(f"{p}sampling.repetition_penalty", penalty)
    keys.u32(f"{p}sampling.repetition_window", 16)
    keys.u32(f"{p}sampling.min_keep", 3)
