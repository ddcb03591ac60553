"""What a GGUF file is, told from its tensors and keys: names of files say nothing, architectures little."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

Names = Collection[str]
Get = Callable[[str], Any]  # a key's value, or None


@dataclass(frozen=True)
class FileKind:
    name: str
    title: str  # for people
    layout: str
    module: str  # what its tensors are for; empty where they have prefixes that say so
    is_it: Callable[[Names, Get], bool]


def _holds(*names: str) -> Callable[[Names, Get], bool]:
    return lambda stored, get: all(name in stored for name in names)


def _is_ours(stored: Names, get: Get) -> bool:
    return get("general.architecture") in ("minicpmo", "minicpmv")


_SINGLE = "single file of minicpmo-convert"
_OMNI = "published folder (llama.cpp-omni)"
_LLAMA = "llama.cpp"
OTHER = FileKind("other", "a file of no known layout", "unknown", "", lambda stored, get: True)

# The first that fits: a model of speech codes calls itself a llama, token2wav files call themselves nothing.
KINDS = (
    FileKind(
        "model",
        "a whole model",
        _SINGLE,
        "",
        lambda stored, get: _is_ours(stored, get) and "token_embd.weight" in stored,
    ),
    FileKind("supplement", "what published layouts leave out", _SINGLE, "", _is_ours),
    FileKind(
        "voice", "voices", _SINGLE, "voices", lambda stored, get: get("general.architecture") == "voice"
    ),
    FileKind(
        "tts",
        "model of speech codes",
        _OMNI,
        "tts",
        lambda stored, get: "head_code.0.weight" in stored or "emb_code.0.weight" in stored,
    ),
    FileKind("llm", "language model", _LLAMA, "llm", _holds("token_embd.weight", "blk.0.attn_norm.weight")),
    FileKind(
        "vision",
        "vision tower and resampler (mmproj)",
        f"{_LLAMA} and {_OMNI}",
        "vision",
        _holds("v.patch_embd.weight", "resampler.query"),
    ),
    FileKind(
        "clip",
        "multimodal encoder of another family (mmproj)",
        _LLAMA,
        "",
        lambda stored, get: get("general.architecture") == "clip",
    ),
    FileKind("audio", "audio encoder and projector", _OMNI, "audio", _holds("encoder.conv1.weight")),
    FileKind(
        "projector",
        "projector of the language model's states",
        _OMNI,
        "tts",
        _holds("linear1.weight", "linear2.weight"),
    ),
    FileKind("flow_matching", "flow estimator", _OMNI, "t2w", _holds("estimator.in_proj.weight")),
    FileKind("flow_encoder", "flow encoder", _OMNI, "t2w", _holds("pre_lookahead_layer.conv1.weight")),
    FileKind("flow_extra", "flow tables", _OMNI, "t2w", _holds("spk_embed_affine_layer.weight")),
    FileKind("vocoder", "vocoder", _OMNI, "t2w", _holds("f0_predictor.condnet.0.weight")),
    FileKind(
        "prompt_cache",
        "voice as the flow remembers it",
        _OMNI,
        "voices",
        _holds("prompt_cache.spk_cb"),
    ),
    FileKind(
        "vocabulary",
        "vocabulary alone",
        _LLAMA,
        "",
        lambda stored, get: len(stored) == 0 and get("tokenizer.ggml.tokens") is not None,
    ),
    OTHER,
)

# Of the single file; what has none of these prefixes is the language model's.
_MODULES = {
    **{"v.": "vision", "resampler.": "vision", "a.": "audio", "mm.a.": "audio", "tts.": "tts"},
    **{"t2w.": "t2w", "s3.": "s3", "spk.": "spk", "voice.": "voices"},
    **{"dvae.": "dvae", "vocos.": "vocos"},
}


def classify(stored: Names, get: Get) -> FileKind:
    """The kind of a file with these tensors and keys; OTHER if it is none of them."""
    return next(kind for kind in KINDS if kind.is_it(stored, get))


def module_of(kind: FileKind, tensor: str) -> str:
    """The module that a tensor of such a file belongs to."""
    if kind.module or kind is OTHER:
        return kind.module or "tensors"
    return next((module for prefix, module in _MODULES.items() if tensor.startswith(prefix)), "llm")
