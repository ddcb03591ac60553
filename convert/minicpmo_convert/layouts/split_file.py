"""One file of a layout that spreads a model over several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gguf import GGML_QUANT_VERSION

from minicpmo_convert.convert import Conversion
from minicpmo_convert.encoding import F16_MAX
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.writer import ARCHITECTURE, Output, write


@dataclass(frozen=True)
class SplitFile:
    place: str  # inside the folder
    keys: Metadata
    outputs: list[Output]

    def write(self, folder: Path) -> int:
        """Writes the file; returns its size in bytes."""
        target = folder / self.place
        target.parent.mkdir(exist_ok=True)
        write(target, self.keys, self.outputs)
        return target.stat().st_size


def header(architecture: str, description: str = "") -> Metadata:
    keys = Metadata()
    keys.text(ARCHITECTURE, architecture)
    if description:
        keys.text("general.description", description)
    return keys


def exact(tensors: Iterable[Tensor]) -> list[Output]:
    """All in float32."""
    return [Output(tensor, "f32") for tensor in tensors]


def halved(model: Conversion, tensors: Iterable[Tensor], keep: Iterable[str] = ()) -> list[Output]:
    """Weights of products in float16, unless the recipe is exact; the rest and `keep` in float32."""
    kept, is_exact = set(keep), model.recipe.media == "f32"

    def type_of(tensor: Tensor) -> str:
        is_weight = len(tensor.shape) > 1 and tensor.name.endswith(".weight") and tensor.name not in kept
        fits = is_weight and not is_exact and tensor.max_abs() <= F16_MAX
        return "f16" if fits else "f32"

    return [Output(tensor, type_of(tensor)) for tensor in tensors]


def file_type(model: Conversion) -> int:
    """general.file_type of what `halved` makes."""
    return 0 if model.recipe.media == "f32" else 1


def llm_file(model: Conversion) -> SplitFile:
    """The language model as llama.cpp reads it."""
    keys = header(model.family.llm_arch)
    keys.text("general.type", "model")
    keys.text("general.name", model.family.title)
    keys.u32("general.quantization_version", GGML_QUANT_VERSION)
    keys.u32("general.file_type", model.recipe.file_type)
    for key, entry in model.keys.items():
        if key.startswith((f"{model.family.llm_arch}.", "tokenizer.", "quantize.")):
            keys.put(key, entry)
    ours = ("token_embd.", "blk.", "output", "rope_factors_")
    tensors = [tensor for tensor in model.tensors if tensor.name.startswith(ours)]
    place = f"{model.family.file_name}-{model.recipe.name.upper()}.gguf"
    return SplitFile(place, keys, [model.output_of(tensor) for tensor in tensors])
