"""Writes a model file of MiniCPM-o 4.5's full size with random weights: speed does not depend on values.

python benchmarks/make_full_size.py TOKENIZER_DIR -o model.gguf [--split llm.gguf mmproj.gguf]

With --split the language model and the vision tower, F16 then, are also written as two files, laid out as
llama.cpp reads them. The tokenizer files are those of a checkpoint folder. Needs the packages
minicpmo_convert and minicpmo_cpp.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import full_size_voice
import numpy as np
from full_size_speech import FullSizeSpeech
from gguf import GGML_QUANT_VERSION, GGUFValueType
from minicpmo_convert import names, recipe, tokenizer
from minicpmo_convert.components import audio, llm, vision
from minicpmo_convert.convert import container_keys
from minicpmo_convert.encoding import Blocks, block_size, encode, row_bytes
from minicpmo_convert.error import ConvertError
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import O_4_5
from minicpmo_convert.metadata import Entry, Metadata
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.whole_blocks import whole_width
from minicpmo_convert.writer import ARCHITECTURE, Output, write

SPREAD = 0.02  # standard deviation of a weight
N_POOL = 1 << 21  # values that a type's blocks are drawn from
N_PLAIN = 256  # values that are drawn together where a type has no blocks
N_POSITION = 70 * 70
USUAL = {"max_slice_nums": 9, "use_image_id": True}
AUDIO = {  # what config.json of the full-size member says: the defaults are those of a smaller encoder
    **{"d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096},
    **{"num_mel_bins": 80, "max_source_positions": 1500},
}
MEDIA = ("f16", "q8_0", "bf16")
OF_LLM = ("token_embd.", "blk.", "output_norm.", "output.")


@dataclass(frozen=True)
class RandomTensor(Tensor):
    def max_abs(self) -> float:
        return 1.0


@cache
def _pool(kind: str) -> Blocks:
    """[n, bytes of a unit]: normally distributed weights, encoded as the converter does it."""
    n_value = max(block_size(kind), N_PLAIN)
    values = np.random.default_rng(1).normal(0.0, SPREAD, (N_POOL // n_value, n_value)).astype(np.float32)
    unit = block_size(kind) if block_size(kind) > 1 else N_PLAIN
    return np.ascontiguousarray(encode(values, kind)).reshape(-1, row_bytes(kind, unit))


def random_tensor(name: str, shape: tuple[int, ...], kind: str) -> RandomTensor:
    width = row_bytes(kind, shape[-1])
    is_scale = len(shape) == 1 and name.endswith("weight")  # of a norm: ones keep what is computed finite

    def read(first: int, count: int) -> Blocks:
        if is_scale:
            return encode(np.ones((count, shape[-1]), np.float32), kind).reshape(count, width)
        pool = _pool(kind)
        n_unit = -(-count * width // pool.shape[1])
        chosen = np.random.default_rng((zlib.crc32(name.encode()), first)).integers(0, len(pool), n_unit)
        drawn: Blocks = pool[chosen].reshape(-1)[: count * width].reshape(count, width)
        return drawn

    return RandomTensor(name, shape, kind, read)


def make_tensors(
    book: tuple[names.Page, ...], sizes: dict[str, int], n_layer: int, mix: recipe.Recipe
) -> list[Tensor]:
    tensors: list[Tensor] = []
    for page, layer in names.expand(book, n_layer):
        name, shape = page.name_of(layer), page.shape_for(sizes)
        if page.taps:
            shape = (shape[0], math.prod(shape[1:]))
        kind = recipe.type_of(mix, random_tensor(name, shape, "f32"), n_layer, tied=False)
        tensors.append(random_tensor(name, shape, kind))
    return tensors


def write_split(
    keys: Metadata, tensors: list[Tensor], sizes: dict[str, int], llm_path: Path, vision_path: Path
) -> None:
    """The same weights as llama.cpp's two files: names of the feed-forward matrices swapped, a table more."""
    of_vision = [tensor for tensor in tensors if tensor.name.startswith(("v.", "resampler."))]
    of_llm = [tensor for tensor in tensors if tensor.name.startswith(OF_LLM)]
    write(llm_path, _llm_keys(keys), [Output(tensor, tensor.type) for tensor in of_llm])
    swapped = [tensor.renamed(_swapped(tensor.name)) for tensor in of_vision]
    swapped.append(random_tensor("resampler.pos_embed_k", (N_POSITION, sizes["n_embd_llm"]), "f32"))
    write(vision_path, _clip_keys(keys, sizes), [Output(tensor, tensor.type) for tensor in swapped])


def _swapped(name: str) -> str:
    for mine, theirs in ((".ffn_up.", ".ffn_down."), (".ffn_down.", ".ffn_up.")):
        if name.startswith("v.") and mine in name:
            return name.replace(mine, theirs)
    return name


def _llm_keys(keys: Metadata) -> Metadata:
    arch = str(keys.get("minicpmo.llm.arch"))
    found = Metadata()
    found.text(ARCHITECTURE, arch)
    for key, entry in keys.items():
        if key != ARCHITECTURE and key.startswith(("general.", "tokenizer.", f"{arch}.")):
            found.put(key, entry)
    return found


def _clip_keys(keys: Metadata, sizes: dict[str, int]) -> Metadata:
    found, ours, prefix = Metadata(), "minicpmo.vision.", "clip.vision."
    found.text(ARCHITECTURE, "clip")
    found.u32("general.file_type", keys.get(ours + "file_type"))
    found.u32("general.quantization_version", GGML_QUANT_VERSION)
    found.flag("clip.has_text_encoder", False)
    found.flag("clip.has_vision_encoder", True)
    found.flag("clip.has_minicpmv_projector", True)
    found.text("clip.projector_type", "resampler")
    found.put("clip.minicpmv_version", Entry(O_4_5.projector_versions[-1], GGUFValueType.INT32))
    found.u32("clip.minicpmv_query_num", sizes["n_query"])
    found.flag("clip.use_gelu", True)
    found.u32(prefix + "image_size", keys.get(ours + "scale_resolution"))
    found.u32(prefix + "projection_dim", 0)
    for key in (
        "patch_size",
        "embedding_length",
        "feed_forward_length",
        "block_count",
        "attention.head_count",
    ):
        found.u32(prefix + key, keys.get(ours + key))
    found.f32(prefix + "attention.layer_norm_epsilon", keys.get(ours + "attention.layer_norm_epsilon"))
    found.f32s(prefix + "image_mean", keys.get(ours + "image_mean"))
    found.f32s(prefix + "image_std", keys.get(ours + "image_std"))
    return found


def _with_media(mix: recipe.Recipe, media: str | None) -> recipe.Recipe:
    if media is None:
        return mix
    return replace(mix, media=media, media_file_type=RECIPES[media].file_type)


class SpeechPart(Protocol):
    def take_tensors(self) -> list[Tensor]: ...

    def write_keys(self, keys: Metadata) -> None: ...


def _speech_parts(n_embd_llm: int) -> list[SpeechPart]:
    return [
        FullSizeSpeech(n_embd_llm, random_tensor),
        full_size_voice.tokenizer(random_tensor),
        full_size_voice.speaker_encoder(random_tensor),
    ]


def make(
    folder: Path,
    target: Path,
    type_name: str,
    media: str | None,
    n_layer: int,
    split: tuple[Path, Path] | None,
    speaks: bool,
    speech_media: str | None,
) -> None:
    family = O_4_5
    config = Facts(
        {
            "num_hidden_layers": n_layer,
            "drop_vision_last_layer": False,
            "vision_config": {"num_channels": 3},
            "audio_config": AUDIO,
        },
        "the full size",
    )
    path = folder / "preprocessor_config.json"
    preprocessor = Facts.read(path) if path.exists() else Facts(dict(USUAL), path.name)
    llm_sizes = llm.read_sizes(config, family)
    vision_sizes = vision.read_sizes(config, family, N_POSITION, llm_sizes["n_embd"])
    audio_sizes = audio.read_sizes(config, family, llm_sizes["n_embd"])
    mix = _with_media(RECIPES[type_name], media)
    seeing = mix if split is None else _with_media(mix, "f16")  # llama.cpp's file holds the same weights
    vision_sizes["n_ff"] = whole_width(vision_sizes["n_ff"], seeing)

    tensors = make_tensors((*names.LLM, names.LLM_HEAD), llm_sizes, n_layer, mix)
    tensors += make_tensors(names.VISION, vision_sizes, vision_sizes["n_run"], seeing)
    tensors += make_tensors((*names.RESAMPLER, names.RESAMPLER_WIDEN), vision_sizes, 0, seeing)
    tensors += make_tensors(names.AUDIO, audio_sizes, audio_sizes["n_layer"], mix)
    tensors += make_tensors(names.AUDIO_PROJECTOR, audio_sizes, 0, mix)
    speaking = _with_media(mix, speech_media)
    speech = _speech_parts(llm_sizes["n_embd"]) if speaks else []
    spoken = [tensor for part in speech for tensor in part.take_tensors()]
    recipes = {"llm": mix, "vision": seeing, "audio": mix}
    recipes |= dict.fromkeys(("tts", "t2w", "s3", "spk"), speaking) if speaks else {}
    keys = container_keys(family, {module: each.file_type_of(module) for module, each in recipes.items()})
    keys.text("general.name", f"{family.title}, random weights")
    llm.write_keys(keys, config, family, llm_sizes)
    vision.write_keys(keys, config, preprocessor, family, vision_sizes)
    audio.write_keys(keys, config, preprocessor, audio_sizes)
    for part in speech:
        part.write_keys(keys)
    tokenizer.write_keys(keys, folder, preprocessor, family, llm_sizes["n_vocab"])
    outputs = [Output(tensor, tensor.type) for tensor in tensors]
    outputs += [Output(each, recipe.type_of(speaking, each, n_layer, tied=False)) for each in spoken]
    write(target, keys, outputs)
    if split is not None:
        write_split(keys, tensors, vision_sizes, *split)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="TOKENIZER_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--type", choices=list(RECIPES), default="q4_k_m", help="minicpmo-convert's recipe")
    parser.add_argument("--media", choices=MEDIA, help="of vision and audio, if not the recipe's own")
    parser.add_argument("--layers", type=int, default=36, help="of the language model; fewer for a quick try")
    parser.add_argument(
        "--speech",
        action="store_true",
        help="with what speaks: codes, flow, original vocoder, and what hears a voice",
    )
    parser.add_argument("--speech-media", choices=MEDIA, help="of what speaks, if not as vision and audio")
    parser.add_argument("--split", type=Path, nargs=2, metavar=("LLM_GGUF", "MMPROJ_GGUF"))
    arguments = parser.parse_args()
    if arguments.speech_media is not None and not arguments.speech:
        parser.error("--speech-media goes with --speech")
    split = tuple(arguments.split) if arguments.split is not None else None
    try:
        make(
            arguments.folder,
            arguments.output,
            arguments.type,
            arguments.media,
            arguments.layers,
            split,
            arguments.speech,
            arguments.speech_media,
        )
    except (ConvertError, OSError) as error:
        print(f"make_full_size: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
