"""The audio tower (Whisper's encoder) and the projector to the language model's width."""

from __future__ import annotations

from typing import Any

from minicpmo_convert import names
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor

PREFIXES = ("apm.", "audio_projection_layer.")
LAYER_NORM_EPSILON = 1e-5  # torch's default: no configuration states it
N_FFT, HOP_LENGTH, SAMPLE_RATE = 400, 160, 16000
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH // 2  # the second convolution halves them
MAX_CHUNK_S = 30.0  # what is encoded at a time
# Spectrograms are made in one way; a preprocessor file may state these, and no others.
_FEATURES: dict[str, Any] = {
    **{"n_fft": N_FFT, "hop_length": HOP_LENGTH, "sampling_rate": SAMPLE_RATE, "chunk_length": 30},
    **{"padding_value": 0.0, "dither": 0.0},
    **{"dynamic_log_norm": True, "dynamic_range_db": 8},
}


def is_in(checkpoint: Checkpoint) -> bool:
    return any(name.startswith(PREFIXES) for name in checkpoint.names())


def read_sizes(config: Facts, family: Family, n_embd_llm: int) -> dict[str, int]:
    """The sizes that shapes are made of."""
    audio, default = config.section("audio_config"), family.audio_defaults
    sizes = {
        "n_embd": audio.integer("d_model", default["d_model"]),
        "n_ff": audio.integer("encoder_ffn_dim", default["encoder_ffn_dim"]),
        "n_head": audio.integer("encoder_attention_heads", default["encoder_attention_heads"], high=4096),
        "n_layer": audio.integer("encoder_layers", default["encoder_layers"], high=4096),
        "n_mel": audio.integer("num_mel_bins", default["num_mel_bins"], high=N_FFT // 2 + 1),
        "n_position": audio.integer("max_source_positions", default["max_source_positions"], low=2),
        "n_tap": 3,
        "n_embd_llm": n_embd_llm,
    }
    check(
        sizes["n_embd"] % sizes["n_head"] == 0,
        f"[config] expected {sizes['n_head']} heads to divide {sizes['n_embd']} "
        "(config.json: audio_config: encoder_attention_heads)",
    )
    return sizes


def write_keys(
    keys: Metadata, config: Facts, preprocessor: Facts, family: Family, sizes: dict[str, int]
) -> None:
    audio = config.section("audio_config")
    activation = audio.text("activation_function", "gelu")
    audio.require("activation_function", activation, "gelu")
    audio.require("scale_embedding", audio.flag("scale_embedding", False), False)
    for key, value in {**_FEATURES, "feature_size": sizes["n_mel"]}.items():
        if preprocessor.has(key):
            preprocessor.require(key, preprocessor.raw(key), value)
    pool_step = config.integer("audio_pool_step", family.pool_step, high=min(sizes["n_position"], 1024))
    preprocessor.require(
        "audio_pool_step", preprocessor.integer("audio_pool_step", pool_step), pool_step
    )  # the reference counts places for embeddings with the one, embeddings with the other
    keys.u32("minicpmo.audio.embedding_length", sizes["n_embd"])
    keys.u32("minicpmo.audio.feed_forward_length", sizes["n_ff"])
    keys.u32("minicpmo.audio.block_count", sizes["n_layer"])
    keys.u32("minicpmo.audio.attention.head_count", sizes["n_head"])
    keys.f32("minicpmo.audio.layer_norm_epsilon", LAYER_NORM_EPSILON)
    keys.u32("minicpmo.audio.n_mel", sizes["n_mel"])
    keys.u32("minicpmo.audio.n_fft", N_FFT)
    keys.u32("minicpmo.audio.hop_length", HOP_LENGTH)
    keys.u32("minicpmo.audio.sample_rate", SAMPLE_RATE)
    keys.u32("minicpmo.audio.max_positions", sizes["n_position"])
    keys.u32("minicpmo.audio.pool_step", pool_step)
    chunk = config.number("audio_chunk_length", 1.0, low=1 / FRAMES_PER_SECOND, high=MAX_CHUNK_S)
    keys.f32("minicpmo.audio.chunk_length_s", chunk)
    keys.text("minicpmo.audio.hidden_act", activation)
    keys.flag("minicpmo.audio.stream_input", config.flag("stream_input", False))
    keys.flag("minicpmo.audio.tags_chunks", config.flag("chunk_input", family.tags_chunks))
    keys.flag("minicpmo.audio.chunks_stand_alone", family.chunks_stand_alone)


def take_tensors(checkpoint: Checkpoint, sizes: dict[str, int]) -> list[Tensor]:
    tower = names.take_all(names.AUDIO, checkpoint, sizes, sizes["n_layer"])
    return tower + names.take_all(names.AUDIO_PROJECTOR, checkpoint, sizes)
