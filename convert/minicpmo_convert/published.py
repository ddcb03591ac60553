"""One file of a published pair: the language model (architecture of its own) or the vision tower ("clip").

What such files state in GGUF keys is told in the terms of a checkpoint's configuration, so that the
components check it and write it as they do for a checkpoint.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_VERSION

from minicpmo_convert.convert import Say
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.gguf_file import GgufFile
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.writer import ARCHITECTURE

_NO_WEIGHTS = ("i8", "i16", "i32", "i64", "f64")


class PublishedFile:
    """Facts by key, tensors by name, and which of the tensors have been asked for."""

    def __init__(self, path: Path, architecture: str, what: str) -> None:
        check(path.is_file(), f"[merge] expected a GGUF file with {what}, got {path}")
        file = GgufFile(path)
        self.name = path.name
        self.facts = Facts({key: entry.value for key, entry in file.keys.items()}, path.name)
        got = self.facts.raw(ARCHITECTURE)
        check(
            got == architecture,
            f"[merge] expected {what} of architecture {architecture!r}, got {got!r} ({path.name})",
        )
        parts = self.facts.integer("split.count", 1, low=0)
        check(
            parts <= 1, f"[merge] expected one whole file, got part of {parts} ({path.name}); join them first"
        )
        version = self.facts.integer("general.quantization_version", GGML_QUANT_VERSION)
        self.facts.require("general.quantization_version", version, GGML_QUANT_VERSION)
        self._tensors = {tensor.name: tensor for tensor in file.tensors}
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str, n_dim: int) -> tuple[int, ...]:
        shape = self._find(name).shape
        check(
            len(shape) == n_dim,
            f"[merge] expected {n_dim} dimensions, got shape {[*shape]} ({name}, {self.name})",
        )
        return shape

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of that name as it is stored, which must have that shape."""
        tensor = self._find(name)
        check(
            tensor.shape == shape,
            f"[merge] expected shape {[*shape]}, got {[*tensor.shape]} ({name}, {self.name})",
        )
        check(
            tensor.type not in _NO_WEIGHTS,
            f"[merge] expected weights, got values of type {tensor.type} ({name}, {self.name})",
        )
        self._taken.add(name)
        return tensor

    def check_all_taken(self, but: tuple[str, ...] = ()) -> None:
        """Every tensor must be known for what it is."""
        left = [name for name in self._tensors if name not in self._taken and name not in but]
        if left:
            raise ConvertError(
                f"[merge] expected only tensors of the known layout, got {left[0]!r} ({self.name})"
            )

    def file_type(self) -> int:
        """As the file says, or what its largest matrices suggest."""
        sizes: Counter[str] = Counter()
        for tensor in self._tensors.values():
            sizes[tensor.type] += tensor.n_row * tensor.n_col
        largest = sizes.most_common(1)[0][0] if sizes else ""
        guess = next((recipe.file_type for recipe in RECIPES.values() if recipe.llm == largest), 0)
        return self.facts.integer("general.file_type", guess, low=0, high=1 << 16)

    def _find(self, name: str) -> Tensor:
        check(name in self._tensors, f"[merge] expected the tensor {name}, got nothing ({self.name})")
        return self._tensors[name]


def read_llm_config(file: PublishedFile, family: Family) -> Facts:
    """config.json of the language model, from the keys of its architecture."""
    keys, prefix = file.facts, f"{family.llm_arch}."
    n_head = keys.integer(prefix + "attention.head_count", high=4096)
    n_embd = keys.integer(prefix + "embedding_length")
    d_head = keys.integer(prefix + "attention.key_length", n_embd // n_head, high=4096)
    for key in ("attention.value_length", "rope.dimension_count"):
        keys.require(prefix + key, keys.integer(prefix + key, d_head), d_head)
    scaling = prefix + "rope.scaling.type"
    keys.require(scaling, keys.text(scaling, "none"), "none")
    n_vocab = file.shape("token_embd.weight", 2)[0]
    keys.require(prefix + "vocab_size", keys.integer(prefix + "vocab_size", n_vocab), n_vocab)
    values = {
        "vocab_size": n_vocab,
        "hidden_size": n_embd,
        "intermediate_size": keys.integer(prefix + "feed_forward_length"),
        "num_hidden_layers": keys.integer(prefix + "block_count", high=4096),
        "num_attention_heads": n_head,
        "num_key_value_heads": keys.integer(prefix + "attention.head_count_kv", n_head, high=4096),
        "head_dim": d_head,
        "max_position_embeddings": keys.integer(prefix + "context_length"),
        "rms_norm_eps": keys.number(prefix + "attention.layer_norm_rms_epsilon"),
        "rope_theta": keys.number(prefix + "rope.freq_base", 10000.0),
    }
    return Facts(values, file.name)


def read_vision_config(file: PublishedFile, family: Family, say: Say) -> Facts:
    """config.json of the vision tower, from the keys and shapes of the vision file."""
    keys, prefix = file.facts, "clip.vision."
    _check_projector(keys, family, file.name, say)
    keys.require("clip.use_gelu", keys.flag("clip.use_gelu", False), True)
    n_layer = 0
    while f"v.blk.{n_layer}.ln1.weight" in file:
        n_layer += 1
    check(n_layer >= 1, f"[merge] expected the tensor v.blk.0.ln1.weight, got nothing ({file.name})")
    stated = keys.integer(prefix + "block_count", n_layer, high=4096)
    if stated != n_layer:
        say(f"{file.name}: clip.vision.block_count is {stated}, {n_layer} layers are stored and taken")
    patch_size = keys.integer(prefix + "patch_size", high=256)
    rows = file.shape("v.position_embd.weight", 2)[0]
    grid = math.isqrt(rows)
    check(
        grid * grid == rows,
        f"[merge] expected a square grid of positions, got {rows} (v.position_embd.weight, {file.name})",
    )
    vision = {
        "hidden_size": keys.integer(prefix + "embedding_length"),
        "intermediate_size": keys.integer(prefix + "feed_forward_length"),
        "num_hidden_layers": n_layer,
        "num_attention_heads": keys.integer(prefix + "attention.head_count", high=4096),
        "patch_size": patch_size,
        "image_size": grid * patch_size,
        "hidden_act": "gelu_pytorch_tanh",  # what clip.use_gelu means
        "layer_norm_eps": keys.number(prefix + "attention.layer_norm_epsilon"),
    }
    n_query = file.shape("resampler.query", 2)[0]
    return Facts(
        {"vision_config": vision, "query_num": n_query, "drop_vision_last_layer": False},
        file.name,
    )


def _check_projector(keys: Facts, family: Family, name: str, say: Say) -> None:
    is_resampler = keys.flag("clip.has_minicpmv_projector", False)
    projector = keys.text("clip.projector_type", "resampler" if is_resampler else "none")
    keys.require("clip.projector_type", projector, "resampler")
    version = keys.integer("clip.minicpmv_version", 0, low=0, high=2**31)
    check(
        version != 2,
        f"[merge] expected pictures as {family.title} places them, got those of version 2 ({name})",
    )
    if version not in family.projector_versions:
        found = version or "absent"
        say(f"{name}: clip.minicpmv_version is {found}, not one of {family.title}; taken as one of its")


def read_preprocessor(file: PublishedFile, folder: Path | None, say: Say) -> Facts:
    """preprocessor_config.json, from the vision file's facts; the rest from the folder, or as is usual."""
    stated: dict[str, Any] = {}
    path = folder / "preprocessor_config.json" if folder is not None else None
    if path is not None and path.exists():
        stated = Facts.read(path).values()
    keys, prefix = file.facts, "clip.vision."
    values = {"max_slice_nums": 9, "use_image_id": True} | {k: v for k, v in stated.items() if v is not None}
    values["scale_resolution"] = keys.integer(prefix + "image_size", high=65536)
    values["norm_mean"] = keys.numbers(prefix + "image_mean", 3)
    values["norm_std"] = keys.numbers(prefix + "image_std", 3)
    for key in ("max_slice_nums", "use_image_id"):
        where = "preprocessor_config.json" if stated.get(key) is not None else "the usual value"
        say(f"{file.name} does not state {key}: {values[key]} ({where})")
    grid = math.isqrt(file.shape("v.position_embd.weight", 2)[0])
    say(f"{file.name} does not state position_grid: {grid} (its table)")
    return Facts(values, path.name if stated and path is not None else file.name)
