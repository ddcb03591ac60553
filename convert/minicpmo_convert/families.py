"""Members of the family as rows of facts. Code branches on a fact, never on a member's name."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Family:
    model: str  # minicpmo.model
    title: str  # general.name
    file_name: str  # what published files begin with
    architecture: str
    llm_arch: str
    slice_style: str
    temporal_ids: bool
    tokens: dict[str, str]
    # What config.json may leave out, as the reference's configuration class fills it in.
    llm_defaults: dict[str, int | float]
    vision_defaults: dict[str, int | float]
    audio_defaults: dict[str, int]
    # clip.minicpmv_version in published vision files: their two writers number the member differently.
    projector_versions: tuple[int, ...] = ()
    # Tensors that carry nothing: tables that the runtime computes.
    ignored: tuple[str, ...] = ()


O_4_5 = Family(
    model="o-4.5",
    title="MiniCPM-o 4.5",
    file_name="MiniCPM-o-4_5",
    architecture="minicpmo",
    llm_arch="qwen3",
    slice_style="2.6",
    temporal_ids=False,
    tokens=TOKENS,
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
    vision_defaults={
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 980,
        "num_channels": 3,
        "layer_norm_eps": 1e-6,
        "query_num": 64,
    },
    audio_defaults={
        "d_model": 384,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "encoder_ffn_dim": 1536,
        "num_mel_bins": 80,
        "max_source_positions": 1500,
    },
    projector_versions=(451, 100045),
    ignored=("resampler.pos_embed",),
)

_MEMBERS = {("minicpmo", "4.5"): O_4_5}


def recognise(config: Facts, preprocessor: Facts) -> Family:
    """The member that a checkpoint belongs to, by model_type and version of its configuration."""
    kind = config.text("model_type")
    version = config.raw("version") if config.has("version") else preprocessor.raw("version")
    family = _MEMBERS.get((kind, str(version)))
    if family is None:
        known = ", ".join(f"{name} {number}" for name, number in _MEMBERS)
        raise ConvertError(
            f"[config] expected model_type and version of {known}, got {kind!r} {version!r} (config.json)"
        )
    return family
