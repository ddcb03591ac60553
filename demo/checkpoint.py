"""A checkpoint folder in the official layout, from arrays: what minicpmo-convert takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.sizes import LLM_EPS, PATCH, POOL, ROPE_THETA, V_EPS, Sizes
from demo.vocabulary import PLAIN, Vocabulary

Tensors = Mapping[str, NDArray[np.float32]]


def write_checkpoint(folder: Path, sizes: Sizes, vocabulary: Vocabulary, tensors: Tensors) -> None:
    """`tensors` by their official names, in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Any] = {
        "config.json": config(sizes, vocabulary),
        "preprocessor_config.json": _preprocessor(sizes),
        "generation_config.json": {"do_sample": False},
        "vocab.json": vocabulary.tokens,
        "added_tokens.json": vocabulary.special,
        "tokenizer_config.json": _tokenizer(vocabulary),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    merges = "".join(f"{a} {b}\n" for a, b in vocabulary.merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, "utf-8")
    _write_safetensors(folder / "model.safetensors", tensors)


def config(sizes: Sizes, vocabulary: Vocabulary) -> dict[str, Any]:
    """What config.json says. It has neither a voice nor what a voice is made of."""
    return {
        "architectures": ["MiniCPMO"],
        "model_type": "minicpmo",
        "version": "4.5",
        "init_vision": True,
        "init_audio": True,
        "init_tts": False,
        "hidden_size": sizes.n_embd,
        "num_hidden_layers": sizes.n_layer,
        "num_attention_heads": sizes.n_head,
        "num_key_value_heads": sizes.n_head_kv,
        "head_dim": sizes.d_head,
        "intermediate_size": sizes.n_ff,
        "vocab_size": sizes.n_vocab,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "attention_bias": False,
        "rms_norm_eps": LLM_EPS,
        "rope_theta": ROPE_THETA,
        "rope_scaling": None,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary.special["<|endoftext|>"],
        "eos_token_id": vocabulary.special["<|im_end|>"],
        "query_num": sizes.n_query,
        "drop_vision_last_layer": False,
        "slice_mode": True,
        "use_image_id": True,
        "patch_size": PATCH,
        "image_size": sizes.scale,
        "stream_input": True,
        "audio_pool_step": POOL,
        "audio_chunk_length": 1.0,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": sizes.v_embd,
            "intermediate_size": sizes.v_ff,
            "num_hidden_layers": sizes.v_layer,
            "num_attention_heads": sizes.v_head,
            "num_channels": 3,
            "patch_size": PATCH,
            "image_size": PATCH * sizes.v_grid,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": V_EPS,
        },
        "audio_config": {
            "model_type": "whisper",
            "d_model": sizes.a_embd,
            "encoder_layers": sizes.a_layer,
            "encoder_attention_heads": sizes.a_head,
            "encoder_ffn_dim": sizes.a_ff,
            "num_mel_bins": sizes.n_mel,
            "max_source_positions": sizes.a_position,
            "activation_function": "gelu",
            "scale_embedding": False,
        },
    }


def _preprocessor(sizes: Sizes) -> dict[str, Any]:
    return {
        "image_processor_type": "MiniCPMVImageProcessor",
        "feature_extractor_type": "MiniCPMAAudioProcessor",
        "processor_class": "MiniCPMOProcessor",
        "max_slice_nums": sizes.max_slices,
        "scale_resolution": sizes.scale,
        "patch_size": PATCH,
        "use_image_id": True,
        "image_feature_size": sizes.n_query,
        "slice_mode": True,
        "audio_pool_step": POOL,
        "norm_mean": [0.5] * 3,
        "norm_std": [0.5] * 3,
        "version": 4.5,
    }


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(i): {"content": token, "special": token not in PLAIN, **flags}
            for token, i in vocabulary.special.items()
        },
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "additional_special_tokens": [token for token in vocabulary.special if token not in PLAIN],
    }


def _write_safetensors(path: Path, tensors: Tensors) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, values in tensors.items():
        begin, end = end, end + 4 * values.size
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
