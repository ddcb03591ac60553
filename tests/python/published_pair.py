"""A converted file taken apart the way published pairs of files are laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

CLIP = "clip.vision."
SWAPPED = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"}


@dataclass
class Parts:
    """What a file will hold, for a test to change before it is written."""

    arch: str
    keys: dict[str, tuple[Any, GGUFValueType, GGUFValueType | None]] = field(default_factory=dict)
    tensors: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # name -> data, type

    def put(self, key: str, value: Any) -> None:
        kinds = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING", list: "ARRAY"}
        item = GGUFValueType.FLOAT32 if isinstance(value, list) else None
        self.keys[key] = (value, GGUFValueType[kinds[type(value)]], item)

    def write(self, path: Path) -> Path:
        writer = GGUFWriter(path, self.arch)
        for key, (value, kind, item) in self.keys.items():
            writer.add_key_value(key, value, kind, item)
        for name, (data, kind) in self.tensors.items():
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


class Pair:
    """The two files of one model; `swap` exchanges the names of the vision tower's feed-forward matrices."""

    def __init__(self, converted: Path, *, swap: bool = True) -> None:
        reader = GGUFReader(converted)
        self.llm, self.vision = Parts("qwen3"), Parts("clip")
        for key, entry in reader.fields.items():
            if key.startswith(("qwen3.", "tokenizer.")):
                kinds = [*entry.types, None][:2]
                self.llm.keys[key] = (entry.contents(), *kinds)
        self.llm.put("general.file_type", reader.fields["general.file_type"].contents())
        for tensor in reader.tensors:
            name, is_vision = tensor.name, tensor.name.startswith(("v.", "resampler."))
            if swap and name.startswith("v.blk.") and ".ffn_" in name:
                part = name.split(".")[3]
                name = name.replace(part, SWAPPED[part])
            (self.vision if is_vision else self.llm).tensors[name] = (
                np.array(tensor.data),
                tensor.tensor_type,
            )
        stated = {key: entry.contents() for key, entry in reader.fields.items()}
        ours = "minicpmo.vision."
        self.vision.put("general.file_type", stated["minicpmo.vision.file_type"])
        for key in ("embedding_length", "feed_forward_length", "block_count", "patch_size", "image_mean"):
            self.vision.put(CLIP + key, stated[ours + key])
        for key in ("attention.head_count", "attention.layer_norm_epsilon", "image_std"):
            self.vision.put(CLIP + key, stated[ours + key])
        self.vision.put(CLIP + "image_size", stated[ours + "scale_resolution"])
        self.vision.put(CLIP + "projection_dim", 0)
        self.vision.put("clip.projector_type", "resampler")
        self.vision.keys["clip.minicpmv_version"] = (100045, GGUFValueType.INT32, None)
        self.vision.put("clip.use_gelu", True)
        grid, width = stated[ours + "position_grid"], stated["minicpmo.resampler.embedding_length"]
        self.vision.tensors["resampler.pos_embed_k"] = (np.ones((grid**2, width), np.float32), None)

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(exist_ok=True)
        return self.llm.write(folder / "llm.gguf"), self.vision.write(folder / "mmproj.gguf")
