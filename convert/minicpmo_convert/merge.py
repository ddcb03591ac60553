"""A published pair of files, language model and vision tower -> one file. Weights stay as they are stored."""

from __future__ import annotations

from pathlib import Path

from minicpmo_convert import names, stored_vocabulary, tokenizer
from minicpmo_convert.components import llm, vision
from minicpmo_convert.convert import Say, container_keys
from minicpmo_convert.error import check
from minicpmo_convert.families import O_4_5, Family
from minicpmo_convert.published import (
    PublishedFile,
    read_llm_config,
    read_preprocessor,
    read_vision_config,
)
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.writer import Output, write

_COMPUTED = ("resampler.pos_embed_k",)  # a table that the runtime computes itself


def merge(
    llm_path: Path,
    vision_path: Path,
    target: Path,
    folder: Path | None = None,
    say: Say = lambda line: None,
) -> int:
    """Joins two published files; returns the size of the file written, in bytes.

    The tokenizer files in `folder`, if it is given, replace the language model's own vocabulary.
    """
    family = O_4_5
    language = PublishedFile(llm_path, family.llm_arch, "a language model")
    picture = PublishedFile(vision_path, "clip", "a vision file")
    for source in (llm_path, vision_path):
        same = target.exists() and target.samefile(source)
        check(not same, f"[merge] expected an output other than the inputs, got {target}")
    check(folder is None or folder.is_dir(), f"[merge] expected a folder of tokenizer files, got {folder}")

    config = read_llm_config(language, family)
    llm_sizes = llm.read_sizes(config, family)
    vision_config = read_vision_config(picture, family, say)
    n_position = picture.shape("v.position_embd.weight", 2)[0]
    width = picture.shape("resampler.query", 2)[1]
    check(
        width == llm_sizes["n_embd"],
        f"[merge] expected a resampler as wide as the language model ({llm_sizes['n_embd']}), got {width} "
        f"({picture.name})",
    )
    vision_sizes = vision.read_sizes(vision_config, family, n_position, width)
    preprocessor = read_preprocessor(picture, folder, say)

    tensors = _take_llm(language, family, llm_sizes) + _take_vision(picture, vision_sizes)
    language.check_all_taken()
    picture.check_all_taken(but=_COMPUTED)

    keys = container_keys(family, {"llm": language.file_type(), "vision": picture.file_type()})
    llm.write_keys(keys, config, family, llm_sizes)
    vision.write_keys(keys, vision_config, preprocessor, family, vision_sizes)
    if folder is None:
        stored_vocabulary.write_keys(keys, language.facts, family, llm_sizes["n_vocab"])
    else:
        tokenizer.write_keys(keys, folder, preprocessor, family, llm_sizes["n_vocab"])
    write(target, keys, [Output(tensor, tensor.type) for tensor in tensors])
    return target.stat().st_size


def _take_llm(file: PublishedFile, family: Family, sizes: dict[str, int]) -> list[Tensor]:
    tensors = []
    for page, layer in names.expand(llm.book(family), sizes["n_layer"]):
        name, shape = page.name_of(layer), page.shape_for(sizes)
        fused = f"blk.{layer}.attn_qkv.weight"
        part = {"attn_q.": 0, "attn_k.": 1, "attn_v.": 2}.get(name.removeprefix(f"blk.{layer}.")[:7])
        if part is not None and fused in file:
            tensors.append(_part_of_fused(file, fused, sizes, part).renamed(name))
        else:
            tensors.append(file.take(name, shape))
    head = names.LLM_HEAD
    if head.name in file:  # otherwise the embedding is the head
        tensors.append(file.take(head.name, head.shape_for(sizes)))
    return tensors


def _part_of_fused(file: PublishedFile, name: str, sizes: dict[str, int], part: int) -> Tensor:
    """Queries, keys or values of a matrix that holds the rows of all three."""
    counts = (sizes["n_q"], sizes["n_kv"], sizes["n_kv"])
    whole = file.take(name, (sum(counts), sizes["n_embd"]))
    return whole.rows(sum(counts[:part]), counts[part])


def _take_vision(file: PublishedFile, sizes: dict[str, int]) -> list[Tensor]:
    widen = (names.RESAMPLER_WIDEN,) if sizes["n_embd"] != sizes["n_embd_llm"] else ()
    tensors = []
    for page, layer in names.expand((*names.VISION, *names.RESAMPLER, *widen), sizes["n_run"]):
        name = page.name_of(layer)
        stored = _swapped(name) if layer is not None and _swaps_ffn(file, layer, sizes) else name
        tensors.append(file.take(stored, page.shape_for(sizes)).renamed(name))
    return tensors


def _swaps_ffn(file: PublishedFile, layer: int, sizes: dict[str, int]) -> bool:
    """Published files call the matrix down that leads up. Its shape tells; where both agree, it is theirs."""
    return file.shape(f"v.blk.{layer}.ffn_down.weight", 2)[1] == sizes["n_embd"]


def _swapped(name: str) -> str:
    if ".ffn_up." in name:
        return name.replace(".ffn_up.", ".ffn_down.")
    return name.replace(".ffn_down.", ".ffn_up.")
