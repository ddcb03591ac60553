"""Which type a tensor gets: by GGUF name, shape and range, so that converting and requantizing agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from minicpmo_convert.encoding import F16_MAX, block_size
from minicpmo_convert.tensor import Tensor

# A row that a type's blocks do not divide takes the next one.
_FALLBACK = {
    "q2_k": "q4_0",
    "q3_k": "q4_0",
    "iq4_xs": "iq4_nl",
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    "q4_0": "f16",
    "q4_1": "f16",
    "iq4_nl": "f16",
    "q5_0": "f16",
    "q5_1": "f16",
    "q8_0": "f16",
}
_LAYER = re.compile(r"blk\.([0-9]+)\.(attn_v|attn_output|ffn_down)\.weight")
_LLM = re.compile(r"(blk\.[0-9]+\.|token_embd\.|output\.|output_norm\.|rope_factors_)")
# No matrix products of blocks.
_TABLES = ("v.patch_embd.weight", "v.position_embd.weight", "a.conv1.weight", "a.conv2.weight")
_EXACT = ("resampler.query", "a.position_embd.weight")  # added or normalised before any product
# The speech side: what is looked up, decides about samples, starts or ends the flow, or is a convolution.
_SPEECH_TABLES = re.compile(
    r"tts\.(emb_code|head_code|projector)\.|t2w\.(input_embd|spk_affine|enc_proj|enc\.lookahead|enc\.up_conv)"
    r"|t2w\.dit\.(time|in\.|out\.|final_adaln|blk\.[0-9]+\.conv)|s3\.conv|spk\."
)
# Vocoders make phases, the DVAE is small, the tokenizer rounds, the others are factors and terms without a
# product.
_SPEECH_EXACT = re.compile(
    r"t2w\.hift|dvae\.|vocos\.|s3\.quant\.|s3\..*\.attn_fsmn\.|t2w\..*\.attn_pos_bias_"
)
_TEXT = "tts.emb_text.weight"
_PREFIXES = ("v.", "resampler.", "a.", "mm.a.", "tts.", "t2w.", "s3.", "spk.", "dvae.", "vocos.")

Where: TypeAlias = Callable[[int, int], bool]  # (layer, layers) -> whether it is one of them


def _all(layer: int, n_layer: int) -> bool:
    return True


def is_sensitive(layer: int, n_layer: int) -> bool:
    """The first and last eighth of the layers, and every third between them."""
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2


def _first(count: int) -> Where:
    return lambda layer, n_layer: layer < count


def _first_part(parts: int) -> Where:
    return lambda layer, n_layer: layer < n_layer // parts


@dataclass(frozen=True)
class Recipe:
    name: str
    file_type: int  # general.file_type, as llama.cpp numbers the mixes
    llm: str  # matrices of the language model
    media: str  # matrices of all other modules
    table: str = "f16"
    text: str | None = None  # embeddings of text in the model of speech codes, where they differ from media
    output: str | None = None  # the language model's head, where it differs
    # Matrices of layers that differ: the first type whose layers these are. As llama-quantize mixes them for
    # models where four or more heads share their keys and values.
    layers: Mapping[str, tuple[tuple[str, Where], ...]] = field(default_factory=dict)
    media_file_type: int = 7

    def file_type_of(self, module: str) -> int:
        """What `minicpmo.<module>.file_type` says."""
        if module == "spk":  # convolutions only
            return 0 if self.table == "f32" else 1
        return self.file_type if module == "llm" else self.media_file_type


_MEDIUM = {name: (("q6_k", is_sensitive),) for name in ("attn_v", "ffn_down")}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("f32", 0, "f32", "f32", table="f32", media_file_type=0),
        Recipe("f16", 1, "f16", "f16", media_file_type=1),
        Recipe("bf16", 32, "bf16", "bf16", media_file_type=32),
        Recipe("q8_0", 7, "q8_0", "q8_0"),
        Recipe("q6_k", 18, "q6_k", "q8_0"),
        Recipe("q5_k_m", 17, "q5_k", "q8_0", output="q6_k", layers=_MEDIUM),
        Recipe("q5_k_s", 16, "q5_k", "q8_0", output="q6_k"),
        Recipe("q5_1", 9, "q5_1", "q8_0", output="q6_k"),
        Recipe("q5_0", 8, "q5_0", "q8_0", output="q6_k"),
        Recipe("q4_k_m", 15, "q4_k", "q8_0", output="q6_k", layers=_MEDIUM),
        Recipe(
            *("q4_k_s", 14, "q4_k", "q8_0"),
            output="q6_k",
            layers={"attn_v": (("q5_k", _first(4)),), "ffn_down": (("q5_k", _first_part(8)),)},
        ),
        Recipe("q4_1", 3, "q4_1", "q8_0", output="q6_k"),
        Recipe("q4_0", 2, "q4_0", "q8_0", text="q4_0", output="q6_k"),
        *(
            Recipe(
                *(name, file_type, name, "q8_0"),
                output="q6_k",
                layers={"attn_v": (("q5_k", _all),), "ffn_down": (("q5_k", _first_part(8)),)},
            )
            for name, file_type in (("iq4_nl", 25), ("iq4_xs", 30))
        ),
        Recipe(
            *("q3_k_l", 13, "q3_k", "q8_0"),
            text="q4_0",
            output="q6_k",
            layers={name: (("q5_k", _all),) for name in ("attn_v", "ffn_down", "attn_output")},
        ),
        Recipe(
            *("q3_k_m", 12, "q3_k", "q8_0"),
            text="q4_0",
            output="q6_k",
            layers={
                "attn_v": (("q5_k", _first(2)), ("q4_k", _all)),
                "ffn_down": (("q5_k", _first_part(16)), ("q4_k", _all)),
                "attn_output": (("q4_k", _all),),
            },
        ),
        Recipe("q3_k_s", 11, "q3_k", "q8_0", text="q4_0", output="q6_k"),
        Recipe(
            *("q2_k", 10, "q2_k", "q8_0"),
            text="q4_0",
            output="q6_k",
            layers={
                "attn_v": (("q4_k", _all),),
                "ffn_down": (("q3_k", _all),),
                "attn_output": (("q3_k", _all),),
            },
        ),
    )
}


def knows(name: str) -> bool:
    """Whether the tensor belongs to a component that recipes speak of."""
    return _LLM.match(name) is not None or name.startswith(_PREFIXES)


def type_of(recipe: Recipe, tensor: Tensor, n_layer: int, tied: bool) -> str:
    kind = _wanted(recipe, tensor, n_layer, tied)
    while tensor.n_col % block_size(kind) != 0:
        kind = _FALLBACK[kind]
    if kind == "f16" and tensor.max_abs() > F16_MAX:
        return "bf16"
    return kind


def _wanted(recipe: Recipe, tensor: Tensor, n_layer: int, tied: bool) -> str:
    if len(tensor.shape) < 2 or tensor.name in _EXACT or _SPEECH_EXACT.match(tensor.name):
        return "f32"
    if tensor.name in _TABLES or _SPEECH_TABLES.match(tensor.name):
        return recipe.table
    if tensor.name == _TEXT:
        return recipe.text or recipe.media
    if not _LLM.match(tensor.name):
        return recipe.media
    if tensor.name == ("token_embd.weight" if tied else "output.weight"):
        return recipe.output or recipe.llm
    layer = _LAYER.fullmatch(tensor.name)
    choices = recipe.layers.get(layer[2], ()) if layer else ()
    here = int(layer[1]) if layer else 0
    return next((kind for kind, where in choices if where(here, n_layer)), recipe.llm)
