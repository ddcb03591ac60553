"""The model of speech codes and what gives codes a sound, as llama.cpp-omni reads them.

token2wav files hold nothing but float32: their reader takes no other type and asks for no key.
"""

from __future__ import annotations

import numpy as np

from minicpmo_convert.components import vocoder
from minicpmo_convert.convert import Conversion
from minicpmo_convert.folding import Exact, computed
from minicpmo_convert.folding import exact as all_values
from minicpmo_convert.layouts.split_file import SplitFile, exact, file_type, halved, header
from minicpmo_convert.speech import FlowSpeech
from minicpmo_convert.tensor import Tensor

_DIT = "decoder."  # what the names of the estimator begin with in a checkpoint
_ENCODER = "encoder."
_EXTRA = ("input_embedding.", "spk_embed_affine_layer.", "encoder_proj.")
_PROJECTOR = "tts.projector."
_SPEAKER_PROJECTOR = "tts.projector_spk."


def tts_file(model: Conversion, place: str) -> SplitFile:
    """A llama by its keys, with the tables and heads of codes beside it."""
    sizes = _flow_speech(model).codes or {}
    keys = header("llama")
    keys.text("general.name", f"{model.family.title} speech codes")
    keys.u32("general.file_type", file_type(model))
    n_vocab = model.llm_sizes["n_vocab"]
    for key, number in {
        **{"block_count": sizes["n_layer"], "embedding_length": sizes["n_embd"]},
        **{"feed_forward_length": sizes["n_ff"], "attention.head_count": sizes["n_head"]},
        **{"attention.head_count_kv": sizes["n_head_kv"], "rope.dimension_count": sizes["d_head"]},
        **{"context_length": model.keys.get("minicpmo.tts.context_length"), "vocab_size": n_vocab},
    }.items():
        keys.u32(f"llama.{key}", number)
    for key in ("rope.freq_base", "attention.layer_norm_rms_epsilon"):
        keys.f32(f"llama.{key}", model.keys.get(f"minicpmo.tts.{key}"))
    for key, entry in model.keys.items():
        if key.startswith("tokenizer.ggml."):
            keys.put(key, entry)
    tensors = [_published(t, sizes) for t in model.tensors if t.name.startswith("tts.")]
    tensors += [_unused_table(model, n_vocab), *_speaker_projector(model, sizes)]
    tables = [t.name for t in tensors if t.name.startswith(("emb_", "head_", "projector_semantic."))]
    return SplitFile(place, keys, halved(model, tensors, keep=tables))


def _flow_speech(model: Conversion) -> FlowSpeech:
    assert isinstance(model.speech, FlowSpeech)
    return model.speech


def projector_file(model: Conversion, place: str) -> SplitFile:
    tensors = [
        tensor.renamed(tensor.name.removeprefix(_PROJECTOR))
        for tensor in model.tensors
        if tensor.name.startswith(_PROJECTOR)
    ]
    return SplitFile(place, header("projector"), exact(tensors))


def token2wav_files(model: Conversion, folder: str) -> list[SplitFile]:
    """The flow in three files, and the original vocoder, which is the only one there is a layout for."""
    sound = model.speech.sound if isinstance(model.speech, FlowSpeech) else None
    if sound is None:
        return []
    stored = sound.flow.stored()

    def file(name: str, tensors: list[Tensor]) -> SplitFile:
        return SplitFile(f"{folder}/{name}.gguf", header(name), exact(tensors))

    extra = [tensor for tensor in stored if tensor.name.startswith(_EXTRA)]
    files = [
        file("encoder", _without(_ENCODER, [t for t in stored if t not in extra])),
        file("flow_matching", _without(_DIT, stored)),
        file("flow_extra", extra),
    ]
    original = [each for each in sound.vocoders if not each.sizes.causal]
    return files + [file("hifigan2", vocoder.folded(each.generator)) for each in original]


def _without(prefix: str, tensors: list[Tensor]) -> list[Tensor]:
    return [t.renamed(t.name.removeprefix(prefix)) for t in tensors if t.name.startswith(prefix)]


def _published(tensor: Tensor, sizes: dict[str, int]) -> Tensor:
    name = tensor.name.removeprefix("tts.").replace("projector.", "projector_semantic.")
    for table in ("emb_code.", "head_code."):
        name = name.replace(table, f"{table}0.")
    tensor = tensor.renamed(name)
    if name.startswith("head_code."):
        return tensor.transposed()
    if name.endswith((".attn_q.weight", ".attn_k.weight")):
        return tensor.halves_to_neighbours(sizes["n_head" if "_q." in name else "n_head_kv"])
    return tensor


def _unused_table(model: Conversion, n_vocab: int) -> Tensor:
    """llama.cpp wants as many rows as the vocabulary has tokens. Nobody looks at them."""
    name, n_embd = "tts.model.embed_tokens.weight", (_flow_speech(model).codes or {})["n_embd"]
    checkpoint = model.checkpoint
    rows = checkpoint.take(name, checkpoint.shape(name)) if name in checkpoint.names() else None

    def make() -> Exact:
        table = np.zeros((n_vocab, n_embd))
        if rows is not None and rows.shape[1:] == (n_embd,):
            n = min(n_vocab, rows.n_row)
            table[:n] = all_values(rows)[:n]
        return table

    return computed("token_embd.weight", (n_vocab, n_embd), make)


def _speaker_projector(model: Conversion, sizes: dict[str, int]) -> list[Tensor]:
    """Of no use to the reference either, and in the published file all the same."""
    checkpoint = model.checkpoint
    names = [name for name in checkpoint.names() if name.startswith(_SPEAKER_PROJECTOR)]
    return [checkpoint.take(n, checkpoint.shape(n)).renamed(n.removeprefix("tts.")) for n in names]
