"""Which type a tensor gets: by GGUF name, shape and range, so that converting and requantizing agree."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minicpmo_convert.encoding import F16_MAX, block_size
from minicpmo_convert.tensor import Tensor

# A row that a type's blocks do not divide takes the next one.
_FALLBACK = {
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    "q4_0": "f16",
    "q5_0": "f16",
    "q5_1": "f16",
    "q8_0": "f16",
}
_LAYER = re.compile(r"blk\.([0-9]+)\.(attn_v|ffn_down)\.weight")
_LLM = re.compile(r"(blk\.[0-9]+\.|token_embd\.|output\.|output_norm\.)")
# No matrix products of blocks.
_TABLES = ("v.patch_embd.weight", "v.position_embd.weight", "a.conv1.weight", "a.conv2.weight")
_EXACT = ("resampler.query", "a.position_embd.weight")  # added or normalised before any product
# The speech side: what is looked up, decides about samples, starts or ends the flow, or is a convolution.
_SPEECH_TABLES = re.compile(
    r"tts\.(emb_code|head_code|projector)\.|t2w\.(input_embd|spk_affine|enc_proj|enc\.lookahead|enc\.up_conv)"
    r"|t2w\.dit\.(time|in\.|out\.|final_adaln|blk\.[0-9]+\.conv)|s3\.conv|spk\."
)
# A vocoder makes phases, the tokenizer rounds, the others are factors and terms without a product.
_SPEECH_EXACT = re.compile(r"t2w\.hift|s3\.quant\.|s3\..*\.attn_fsmn\.|t2w\..*\.attn_pos_bias_")
_TEXT = "tts.emb_text.weight"
_PREFIXES = ("v.", "resampler.", "a.", "mm.a.", "tts.", "t2w.", "s3.", "spk.")


@dataclass(frozen=True)
class Recipe:
    name: str
    file_type: int  # general.file_type, as llama.cpp numbers the mixes
    llm: str  # matrices of the language model
    media: str  # matrices of all other modules
    table: str = "f16"
    text: str | None = None  # embeddings of text in the model of speech codes, where they differ from media
    output: str | None = None  # the language model's head, where it differs
    sensitive: str | None = None  # attn_v and ffn_down of the layers that matter most, where they differ
    media_file_type: int = 7

    def file_type_of(self, module: str) -> int:
        """What `minicpmo.<module>.file_type` says."""
        if module == "spk":  # convolutions only
            return 0 if self.table == "f32" else 1
        return self.file_type if module == "llm" else self.media_file_type


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("f32", 0, "f32", "f32", table="f32", media_file_type=0),
        Recipe("f16", 1, "f16", "f16", media_file_type=1),
        Recipe("bf16", 32, "bf16", "bf16", media_file_type=32),
        Recipe("q8_0", 7, "q8_0", "q8_0"),
        Recipe("q4_0", 2, "q4_0", "q8_0", text="q4_0", output="q6_k"),
        Recipe("q4_k_m", 15, "q4_k", "q8_0", output="q6_k", sensitive="q6_k"),
        Recipe("q5_k_m", 17, "q5_k", "q8_0", output="q6_k", sensitive="q6_k"),
        Recipe("q6_k", 18, "q6_k", "q8_0"),
    )
}


def knows(name: str) -> bool:
    """Whether the tensor belongs to a component that recipes speak of."""
    return _LLM.match(name) is not None or name.startswith(_PREFIXES)


def is_sensitive(layer: int, n_layer: int) -> bool:
    """The first and last eighth of the layers, and every third between them."""
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2


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
    if layer and recipe.sensitive and is_sensitive(int(layer[1]), n_layer):
        return recipe.sensitive
    return recipe.llm
