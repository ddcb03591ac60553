"""A tiny random checkpoint of each member of the family, in its own tensor names, settings and vocabulary.

Made of seeds with numpy alone: tests rebuild what the oracle (tests/oracles/members.py) has computed from.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors_file import write_safetensors

Values = NDArray[np.float32]
N_EMBD, N_FF, N_LAYER, N_HEAD = 128, 192, 2, 2
VISION, VISION_FF, VISION_LAYERS, GRID = 48, 80, 2, 70
AUDIO, AUDIO_FF, AUDIO_LAYERS, N_MEL = 32, 128, 2, 80

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
_TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
_PLAIN = (
    "{% for message in messages %}"
    + _TURN
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
)
_ASSISTANT = _PLAIN + "{% endif %}"
_WITH_SYSTEM = _ASSISTANT.replace(
    "{{'<|im_start|>' + m",
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are a helpful assistant.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + m",
)
_THINKING = (
    _PLAIN + "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% if enable_thinking is defined and enable_thinking is true %}{{ '<think>\\n' }}{% endif %}{% endif %}"
)
_LLAMA3_TURNS = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

_IMAGE_TOKENS = ["<image>", "</image>", "<slice>", "</slice>"]
_QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", *_IMAGE_TOKENS]
_ID_TOKENS = ["<image_id>", "</image_id>"]
_SPEECH_TOKENS = ["<|audio_start|>", "<|audio|>", "<|audio_end|>", "<|spk_bos|>", "<|spk|>", "<|spk_eos|>"]


@dataclass(frozen=True)
class Member:
    """What a tiny checkpoint of one is made of."""

    seed: int
    config: dict[str, Any]
    added: list[str]
    template: str
    vocabulary: str = "qwen2"  # or "llama3", "pieces"
    n_kv: int = 1
    d_head: int = 64
    n_query: int = 64
    bias: bool = False
    qk_norm: bool = False
    hears: bool = False
    preprocessor: dict[str, Any] = field(default_factory=dict)

    @property
    def hidden_vision_layers(self) -> int:
        """Layers in the file, the one that the reference drops among them."""
        return VISION_LAYERS + int(self.config.get("drop_vision_last_layer", True))


def _long_rope(d_head: int) -> dict[str, Any]:
    steps = np.linspace(0, 1, d_head // 2)
    return {
        "rope_type": "longrope",
        "factor": 4.0,
        "original_max_position_embeddings": 600,
        "short_factor": [round(float(1 + x), 6) for x in steps],
        "long_factor": [round(float(1 + 30 * x * x), 6) for x in steps],
    }


_V_4_0 = Member(
    seed=40,
    config={
        **{"model_type": "minicpmv", "version": 4.0, "drop_vision_last_layer": False, "head_dim": 128},
        **{"rope_theta": 1e4, "max_position_embeddings": 576, "tie_word_embeddings": False},
        "rope_scaling": _long_rope(128),
    },
    added=["<|im_start|>", "<|im_end|>", *_IMAGE_TOKENS, *_ID_TOKENS],
    template=_ASSISTANT,
    vocabulary="pieces",
    d_head=128,
)

MEMBERS = {
    "o-2.6": Member(
        seed=26,
        config={
            **{"model_type": "minicpmo", "version": 2.6, "rope_theta": 1e6, "audio_pool_step": 2},
            **{"audio_chunk_length": 1.0, "chunk_input": True, "stream_input": True},
            "audio_config": {
                **{"d_model": AUDIO, "encoder_ffn_dim": AUDIO_FF, "encoder_layers": AUDIO_LAYERS},
                **{"encoder_attention_heads": 2, "num_mel_bins": N_MEL, "max_source_positions": 1500},
            },
        },
        added=[*_QWEN_TOKENS, *_ID_TOKENS, *_SPEECH_TOKENS, "<|tts_bos|>", "<|tts_eos|>"],
        template=_WITH_SYSTEM,
        bias=True,
        hears=True,
        preprocessor={"version": 2.6},
    ),
    "v-2.6": Member(
        seed=27,
        config={"model_type": "minicpmv", "version": 2.6, "rope_theta": 1e6},
        added=[*_QWEN_TOKENS, *_ID_TOKENS],
        template=_WITH_SYSTEM,
        bias=True,
        preprocessor={"version": 2.6},
    ),
    "v-4.5": Member(
        seed=45,
        config={
            **{"model_type": "minicpmv", "version": "4.5", "rope_theta": 1e6, "head_dim": 64},
            **{"drop_vision_last_layer": False},
        },
        added=[*_QWEN_TOKENS, *_ID_TOKENS, "<think>", "</think>"],
        template=_THINKING,
        qk_norm=True,
        preprocessor={"version": 4.5},
    ),
    "v-4.0": _V_4_0,
    "v-4.0-long": Member(
        **{**_V_4_0.__dict__, "config": {**_V_4_0.config, "max_position_embeddings": 2400}},
    ),
    "v-4.0-scaled": Member(
        **{
            **_V_4_0.__dict__,
            "config": {**_V_4_0.config, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 32},
        },
    ),
    "v-2.5": Member(
        seed=25,
        config={
            **{"model_type": "minicpmv", "query_num": 96, "rope_theta": 5e5, "rms_norm_eps": 1e-5},
            "max_position_embeddings": 4096,
        },
        added=[
            *("<|begin_of_text|>", "<|end_of_text|>", "<unk>", "<|start_header_id|>", "<|end_header_id|>"),
            *("<|eot_id|>", *_IMAGE_TOKENS),
        ],
        template=_LLAMA3_TURNS,
        vocabulary="llama3",
        n_query=96,
        preprocessor={"version": 2.5, "use_image_id": None},
    ),
}


def write_member(
    name: str,
    folder: Path,
    more_config: dict[str, Any] | None = None,
    more_tensors: dict[str, Values] | None = None,
    more_tokens: tuple[str, ...] = (),
) -> Path:
    """Writes the checkpoint of that member into the folder, which it makes, with what else it is to hold."""
    member = replace(MEMBERS[name], added=[*MEMBERS[name].added, *more_tokens])
    folder.mkdir()
    tokens, files = _vocabulary(member)
    config = {
        **{"hidden_size": N_EMBD, "intermediate_size": N_FF, "num_hidden_layers": N_LAYER},
        **{"num_attention_heads": N_HEAD, "num_key_value_heads": member.n_kv, "vocab_size": len(tokens)},
        **{"max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "query_num": member.n_query},
        "vision_config": {
            **{"hidden_size": VISION, "intermediate_size": VISION_FF, "num_attention_heads": 2},
            **{"num_hidden_layers": member.hidden_vision_layers, "patch_size": 14, "image_size": 14 * GRID},
        },
        **member.config,
        **(more_config or {}),
    }
    preprocessor = {
        **{"max_slice_nums": 4, "scale_resolution": 112, "patch_size": 14, "use_image_id": True},
        **{"image_feature_size": member.n_query, "slice_mode": True},
        **{"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3},
        **member.preprocessor,
    }
    contents = {**files, "config.json": config, "preprocessor_config.json": preprocessor}
    for file, content in contents.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            (folder / file).write_text(json.dumps(content), encoding="utf-8")
    tensors = _tensors(member, len(tokens)) | (more_tensors or {})
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def _tensors(member: Member, n_vocab: int) -> dict[str, Values]:
    d, v, q, kv = N_EMBD, VISION, N_HEAD * member.d_head, member.n_kv * member.d_head
    shapes: dict[str, tuple[int, ...]] = {"llm.model.embed_tokens.weight": (n_vocab, d)}

    def add(name: str, *sizes: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = sizes
        if bias:
            shapes[f"{name}.bias"] = sizes[:1]

    for i in range(N_LAYER):
        p = f"llm.model.layers.{i}."
        add(f"{p}input_layernorm", d, bias=False)
        add(f"{p}post_attention_layernorm", d, bias=False)
        for part, n in (("q", q), ("k", kv), ("v", kv)):
            add(f"{p}self_attn.{part}_proj", n, d, bias=member.bias)
        add(f"{p}self_attn.o_proj", d, q, bias=False)
        for part in "qk" * member.qk_norm:
            add(f"{p}self_attn.{part}_norm", member.d_head, bias=False)
        add(f"{p}mlp.gate_proj", N_FF, d, bias=False)
        add(f"{p}mlp.up_proj", N_FF, d, bias=False)
        add(f"{p}mlp.down_proj", d, N_FF, bias=False)
    add("llm.model.norm", d, bias=False)
    add("llm.lm_head", n_vocab, d, bias=False)
    add("vpm.embeddings.patch_embedding", v, 3, 14, 14)
    add("vpm.embeddings.position_embedding", GRID * GRID, v, bias=False)
    for i in range(member.hidden_vision_layers):
        p = f"vpm.encoder.layers.{i}."
        for part in ("layer_norm1", "layer_norm2"):
            add(p + part, v)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"{p}self_attn.{part}", v, v)
        add(f"{p}mlp.fc1", VISION_FF, v)
        add(f"{p}mlp.fc2", v, VISION_FF)
    add("vpm.post_layernorm", v)
    shapes |= {"resampler.query": (member.n_query, d), "resampler.proj": (d, d)}
    shapes |= {"resampler.attn.in_proj_weight": (3 * d, d), "resampler.attn.in_proj_bias": (3 * d,)}
    add("resampler.kv_proj", d, v, bias=False)
    add("resampler.attn.out_proj", d, d)
    for part in ("ln_q", "ln_kv", "ln_post"):
        add(f"resampler.{part}", d)
    if member.hears:
        a = AUDIO
        add("apm.conv1", a, N_MEL, 3)
        add("apm.conv2", a, a, 3)
        add("apm.embed_positions", 1500, a, bias=False)
        for i in range(AUDIO_LAYERS):
            p = f"apm.layers.{i}."
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                add(f"{p}self_attn.{part}", a, a, bias=part != "k_proj")
            add(f"{p}fc1", AUDIO_FF, a)
            add(f"{p}fc2", a, AUDIO_FF)
            add(f"{p}self_attn_layer_norm", a)
            add(f"{p}final_layer_norm", a)
        add("apm.layer_norm", a)
        add("audio_projection_layer.linear1", d, a)
        add("audio_projection_layer.linear2", d, d)
    rng = np.random.default_rng(member.seed)
    return {name: _values(rng, name, shape) for name, shape in shapes.items()}


def _values(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Values:
    """Of a size that keeps a network's signals about as large as they came."""
    if "norm" in name or ".ln_" in name:
        middle = 1.0 if name.endswith("weight") else 0.0
        return (middle + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    n_in = int(np.prod(shape[1:])) if len(shape) > 1 else 25
    width = 1.0 if "embed" in name or name == "resampler.query" else 1.0 / np.sqrt(n_in)
    return (width * rng.standard_normal(shape)).astype(np.float32)


_MERGES = ["w h", "H e", "He l", "l o", "Hel lo", "Ġ t", "Ġt h", "Ġth e", "a t", "Ġ wh", "Ġwh at", "a n"]
_MERGES += ["1 2", "12 3", "3 4"]


def _letters() -> list[str]:
    """GPT-2's letters for the bytes 0 to 255."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = iter(range(0x100, 0x200))
    return [chr(b if b in itself else next(other)) for b in range(256)]


def _vocabulary(member: Member) -> tuple[list[str], dict[str, Any]]:
    """The tokens by id, and the files that say so."""
    if member.vocabulary == "pieces":
        return _pieces(member)
    letters = _letters()
    merges = list(_MERGES)
    words = [merge.replace(" ", "") for merge in merges]
    # A word that no merge makes: only a tokenizer that looks for whole words finds it.
    tokens = [*letters, *words, "whole" if member.vocabulary == "llama3" else "Ġwhole", *member.added]
    ids = {token: i for i, token in enumerate(tokens)}
    is_llama = member.vocabulary == "llama3"
    fast = {
        "added_tokens": [
            {
                **{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False},
                **{"normalized": False, "special": "think" not in t},
            }
            for t in member.added
        ],
        "normalizer": None if is_llama else {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    **{"type": "Split", "pattern": {"Regex": _LLAMA3 if is_llama else _QWEN2}},
                    **{"behavior": "Isolated", "invert": False},
                },
                {
                    **{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False},
                    "use_regex": False,
                },
            ],
        },
        "decoder": {
            **{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        },
        "model": {
            **{"type": "BPE", "vocab": {t: i for t, i in ids.items() if t not in member.added}},
            **{"merges": merges, "ignore_merges": is_llama},
        },
    }
    begin, end = ("<|begin_of_text|>", "<|eot_id|>") if is_llama else ("<|im_start|>", "<|im_end|>")
    return tokens, {"tokenizer.json": fast, "tokenizer_config.json": _settings(member, ids, begin, end)}


def _settings(member: Member, ids: dict[str, int], begin: str, end: str) -> dict[str, Any]:
    named = [*member.added, *(t for t in ("<unk>", "<s>", "</s>") if t in ids and t not in member.added)]
    return {
        "added_tokens_decoder": {
            str(ids[t]): {"content": t, "special": "think" not in t, "normalized": False} for t in named
        },
        **{"bos_token": begin, "eos_token": end, "unk_token": "<unk>", "chat_template": member.template},
    }


def _pieces(member: Member) -> tuple[list[str], dict[str, Any]]:
    """A SentencePiece vocabulary of byte pairs, in both of its spellings."""
    special = ["<unk>", "<s>", "</s>"]
    merged = ["▁H", "lo", "▁He", "▁Hel", "▁Hello", "▁t", "he", "▁the", "at", "wh", "▁what", "12", "▁w", "is"]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'\"", "é", "你"]
    data = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = [(token, 0.0, 2 if token == "<unk>" else 3) for token in special]
    pieces += [(token, 0.0, 6) for token in data]
    pieces += [(token, -float(i), 1) for i, token in enumerate(merged)]
    pieces += [(token, -float(len(merged) + i), 1) for i, token in enumerate(letters)]
    tokens = [piece[0] for piece in pieces]
    ids = {token: i for i, token in enumerate([*tokens, *member.added])}
    merges = [
        f"{token[:cut]} {token[cut:]}"
        for token in merged
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    fast = {
        "added_tokens": [
            {
                **{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False},
                **{"normalized": False, "special": True},
            }
            for t in [*special, *member.added]
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "decoder": None,
        "model": {
            **{"type": "BPE", "vocab": {t: ids[t] for t in tokens}, "merges": merges},
            **{"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
        },
    }
    settings = _settings(member, ids, "<s>", "</s>") | {"add_bos_token": True}
    model = b"".join(_field(1, _piece(*piece)) for piece in pieces)
    model += _field(2, _number(3, 2)) + _field(3, _number(3, 1))  # of byte pairs, with a space in front
    files = {"tokenizer.json": fast, "tokenizer.model": model, "tokenizer_config.json": settings}
    return [*tokens, *member.added], files


def _piece(text: str, score: float, kind: int) -> bytes:
    return _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind)


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def _field(number: int, data: bytes) -> bytes:
    size, out = len(data), bytearray([number << 3 | 2])
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + data
