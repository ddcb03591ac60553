"""Members of the family as rows of facts. Code branches on a fact, never on a member's name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from minicpmo_convert.error import ConvertError
from minicpmo_convert.facts import Facts

# Role -> token. The runtime looks ids up under minicpmo.tokens.<role>.
TOKENS = {
    "unk": "<unk>",
    "endoftext": "<|endoftext|>",
    "im_start": "<|im_start|>",
    "im_end": "<|im_end|>",
    "think_start": "<think>",
    "think_end": "</think>",
    "image_start": "<image>",
    "image_end": "</image>",
    "slice_start": "<slice>",
    "slice_end": "</slice>",
    "image_id_start": "<image_id>",
    "image_id_end": "</image_id>",
    "unit_start": "<unit>",
    "unit_end": "</unit>",
    "audio_start": "<|audio_start|>",
    "audio": "<|audio|>",
    "audio_end": "<|audio_end|>",
    "spk_bos": "<|spk_bos|>",
    "spk": "<|spk|>",
    "spk_eos": "<|spk_eos|>",
    "tts_bos": "<|tts_bos|>",
    "tts_eos": "<|tts_eos|>",
    "tts_pad": "<|tts_pad|>",
    "listen": "<|listen|>",
    "speak": "<|speak|>",
    "interrupt": "<|interrupt|>",
    "turn_bos": "<|turn_bos|>",
    "turn_eos": "<|turn_eos|>",
    "chunk_bos": "<|chunk_bos|>",
    "chunk_eos": "<|chunk_eos|>",
    "chunk_tts_bos": "<|chunk_tts_bos|>",
    "chunk_tts_eos": "<|chunk_tts_eos|>",
}


# What no member can do without.
_IMAGE_ROLES = ("image_start", "image_end", "slice_start", "slice_end")
_CHAT_ROLES = ("unk", "endoftext", "im_start", "im_end")
_SPEAKER_ROLES = ("spk_bos", "spk", "spk_eos")
_AUDIO_ROLES = ("audio_start", "audio_end", "tts_bos", "tts_eos")

_SIGLIP = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 980,
    "num_channels": 3,
    "layer_norm_eps": 1e-6,
    "query_num": 64,
}
_WHISPER = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
}


@dataclass(frozen=True)
class Family:
    model: str  # minicpmo.model
    title: str  # general.name
    file_name: str  # what published files begin with
    llm_arch: str
    # What config.json may leave out, as the reference's configuration class fills it in.
    llm_defaults: dict[str, int | float]
    vision_defaults: dict[str, int | float]
    audio_defaults: dict[str, int] = field(default_factory=dict)
    pool_step: int = 5  # positions of sound that become one embedding
    tags_chunks: bool = False  # each second of sound has tags of its own in a prompt
    roles: tuple[str, ...] = (*_CHAT_ROLES, *_IMAGE_ROLES)  # of TOKENS, which its vocabulary must have
    tokens: dict[str, str] = field(default_factory=lambda: TOKENS)
    stops: tuple[str, ...] = ("<|im_end|>", "<|endoftext|>")
    chunks_stand_alone: bool = False  # a stream's seconds of sound have each a spectrum of their own
    spoken_begin: str = "<|tts_bos|>"  # opens an answer that is to be said
    user_instructs: bool = False  # a session's first message says how to answer, though it is a user's
    slice_style: str = "2.6"
    rows_are_joined: bool = False  # the tower takes the patches of a slice for one row of them
    use_image_id: bool = True  # where preprocessor_config.json leaves it open
    temporal_ids: bool = False  # the resampler takes several frames with their times as one picture
    qk_norm: bool = False
    attention_bias: bool = False  # of queries, keys and values
    # How speech of one code book is made: "flow", or None where this converter leaves it out. Of several code
    # books, the checkpoint says it all.
    speech: str | None = None
    # clip.minicpmv_version in published vision files; the last one is written.
    projector_versions: tuple[int, ...] = ()
    # Tensors that carry nothing: tables that the runtime computes.
    ignored: tuple[str, ...] = ("resampler.pos_embed",)

    architecture = "minicpmo"


O_4_5 = Family(
    model="o-4.5",
    title="MiniCPM-o 4.5",
    file_name="MiniCPM-o-4_5",
    llm_arch="qwen3",
    llm_defaults={
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 12288,
        "vocab_size": 151748,
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
    },
    vision_defaults=_SIGLIP,
    audio_defaults=_WHISPER,
    roles=tuple(TOKENS),
    use_image_id=False,
    qk_norm=True,
    speech="flow",
    projector_versions=(451, 100045),
)

_QWEN2_7B: dict[str, int | float] = {
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 151666,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
}

O_2_6 = Family(
    model="o-2.6",
    title="MiniCPM-o 2.6",
    file_name="MiniCPM-o-2_6",
    llm_arch="qwen2",
    llm_defaults={**_QWEN2_7B, "vocab_size": 151700},
    vision_defaults=_SIGLIP,
    audio_defaults=_WHISPER,
    pool_step=2,
    tags_chunks=True,
    chunks_stand_alone=True,
    roles=(*_CHAT_ROLES, *_IMAGE_ROLES, *_AUDIO_ROLES, *_SPEAKER_ROLES),
    spoken_begin="<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>",
    user_instructs=True,
    attention_bias=True,
    projector_versions=(26, 4),
)

V_2_6 = Family(
    model="v-2.6",
    title="MiniCPM-V 2.6",
    file_name="MiniCPM-V-2_6",
    llm_arch="qwen2",
    llm_defaults=_QWEN2_7B,
    vision_defaults=_SIGLIP,
    attention_bias=True,
    projector_versions=(26, 3),
)

V_4_5 = Family(
    model="v-4.5",
    title="MiniCPM-V 4.5",
    file_name="MiniCPM-V-4_5",
    llm_arch="qwen3",
    llm_defaults=O_4_5.llm_defaults,
    vision_defaults=_SIGLIP,
    temporal_ids=True,
    qk_norm=True,
    projector_versions=(45, 6),
)

V_4_0 = Family(
    model="v-4.0",
    title="MiniCPM-V 4.0",
    file_name="MiniCPM-V-4",
    llm_arch="llama",
    llm_defaults={
        "hidden_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "intermediate_size": 10240,
        "vocab_size": 73448,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    vision_defaults=_SIGLIP,
    roles=("unk", "im_start", "im_end", *_IMAGE_ROLES),
    stops=("<|im_end|>", "</s>"),
    projector_versions=(40, 5),
)

V_2_5 = Family(
    model="v-2.5",
    title="MiniCPM-Llama3-V 2.5",
    file_name="MiniCPM-Llama3-V-2_5",
    llm_arch="llama",
    llm_defaults={
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
    },
    vision_defaults={**_SIGLIP, "query_num": 96},
    roles=("unk", "im_end", *_IMAGE_ROLES),
    tokens={**TOKENS, "im_start": "<|start_header_id|>", "im_end": "<|eot_id|>"},
    stops=("<|eot_id|>", "<|end_of_text|>"),
    slice_style="2.5",
    rows_are_joined=True,
    use_image_id=False,
    projector_versions=(25, 2),
)

_MEMBERS = {
    ("minicpmo", "4.5"): O_4_5,
    ("minicpmo", "2.6"): O_2_6,
    ("minicpmv", "4.5"): V_4_5,
    ("minicpmv", "4.0"): V_4_0,
    ("minicpmv", "2.6"): V_2_6,
    ("minicpmv", "2.5"): V_2_5,
}
_SCALES = ("scale_emb", "scale_depth", "dim_model_base")
FAMILIES = tuple(_MEMBERS.values())


def recognise(config: Facts, preprocessor: Facts) -> Family:
    """The member that a checkpoint belongs to, by model_type and version of its configuration.

    A language model of Llama's form with scales of its own is of the architecture that has a place for them.
    """
    kind = config.text("model_type")
    version = config.raw("version") if config.has("version") else preprocessor.raw("version")
    family = _MEMBERS.get((kind, _spelled(version, config)))
    if family is None:
        known = ", ".join(f"{name} {number}" for name, number in _MEMBERS)
        raise ConvertError(
            f"[config] expected model_type and version of {known}, got {kind!r} {version!r} (config.json)"
        )
    if family.llm_arch == "llama" and any(config.has(key) for key in _SCALES):
        return replace(family, llm_arch="minicpm")
    return family


def _spelled(version: Any, config: Facts) -> str:
    """4.0, "4.0" and 4 are one version. The first checkpoint states none, and has queries that tell."""
    if version is None and config.raw("query_num") == V_2_5.vision_defaults["query_num"]:
        return "2.5"
    is_number = isinstance(version, int | float) and not isinstance(version, bool)
    return f"{float(version):.1f}" if is_number else str(version)
