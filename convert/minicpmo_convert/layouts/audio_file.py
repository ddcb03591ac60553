"""The audio encoder and its projector in a file of their own, in the names of whisper.cpp."""

from __future__ import annotations

import re

from minicpmo_convert.components.audio import N_FFT, SAMPLE_RATE
from minicpmo_convert.convert import Conversion
from minicpmo_convert.layouts.mel_bank import mel_bank
from minicpmo_convert.layouts.split_file import SplitFile, file_type, halved, header
from minicpmo_convert.tensor import Tensor

_POSITIONS = "encoder.positional_embedding"
_PLACES = {
    **{"a.conv1": "encoder.conv1", "a.conv2": "encoder.conv2", "a.post_ln": "encoder.ln_post"},
    **{"mm.a.linear1": "audio_projector.linear1", "mm.a.linear2": "audio_projector.linear2"},
}
_LAYER_PLACES = {
    **{"ln1": "attn_ln", "ln2": "mlp_ln", "ffn_up": "mlp.0", "ffn_down": "mlp.2"},
    **{"attn_q": "attn.query", "attn_k": "attn.key", "attn_v": "attn.value", "attn_out": "attn.out"},
}
_LAYER = re.compile(r"a\.blk\.([0-9]+)\.([a-z_0-9]+)\.(weight|bias)")


def audio_file(model: Conversion, place: str) -> SplitFile:
    sizes = model.audio_sizes
    keys = header("whisper", "audio encoder for " + model.family.title)
    for key, number in {
        **{"general.file_type": file_type(model), "use_f16": file_type(model)},
        **{"encoder_attention_heads": sizes["n_head"], "encoder_ffn_dim": sizes["n_ff"]},
        **{"encoder_layers": sizes["n_layer"], "num_hidden_layers": sizes["n_layer"]},
        **{"d_model": sizes["n_embd"], "audio_pool_step": model.keys.get("minicpmo.audio.pool_step")},
        **{"max_source_positions": sizes["n_position"], "n_mel": sizes["n_mel"]},
        "n_fft": N_FFT // 2 + 1,  # bins
    }.items():
        keys.u32(key, number)
    filters = mel_bank(sizes["n_mel"], N_FFT, SAMPLE_RATE)
    keys.f32s("filters", [float(x) for x in filters.ravel()])
    tensors = [_published(t, sizes) for t in model.tensors if t.name.startswith(("a.", "mm.a."))]
    return SplitFile(place, keys, halved(model, tensors, keep=[_POSITIONS]))


def _published(tensor: Tensor, sizes: dict[str, int]) -> Tensor:
    layer = _LAYER.fullmatch(tensor.name)
    if layer is not None:
        return tensor.renamed(f"encoder.blocks.{layer[1]}.{_LAYER_PLACES[layer[2]]}.{layer[3]}")
    if tensor.name == "a.position_embd.weight":
        return tensor.renamed(_POSITIONS)
    stem, _, kind = tensor.name.rpartition(".")
    tensor = tensor.renamed(f"{_PLACES[stem]}.{kind}")
    if not stem.startswith("a.conv"):
        return tensor
    # Kernels with their taps last, biases as columns.
    return tensor.taps_last(sizes["n_tap"]) if kind == "weight" else tensor.as_column()
