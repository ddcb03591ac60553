"""One checkpoint folder -> one GGUF file: the story of a conversion in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gguf import GGML_QUANT_VERSION

from minicpmo_convert import recipe as recipes
from minicpmo_convert import tokenizer
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import llm, vision
from minicpmo_convert.error import check
from minicpmo_convert.families import Family, recognise
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.writer import ARCHITECTURE, Output, write

VERSION = 1  # of the layout: minicpmo.version
MODULES = ("llm", "vision")
Say = Callable[[str], None]


def convert(folder: Path, target: Path, type_name: str, say: Say = lambda line: None) -> int:
    """Converts the checkpoint in `folder`; returns the size of the file written, in bytes."""
    check(type_name in RECIPES, f"[recipe] expected one of {', '.join(RECIPES)}, got {type_name!r} (--type)")
    checkpoint = Checkpoint(folder)
    config, preprocessor = checkpoint.facts("config.json"), checkpoint.facts("preprocessor_config.json")
    family = recognise(config, preprocessor)
    llm_sizes = llm.read_sizes(config, family)
    n_position = vision.count_positions(checkpoint)
    vision_sizes = vision.read_sizes(config, family, n_position, llm_sizes["n_embd"])
    say(
        f"{family.title}: {llm_sizes['n_layer']} layers, "
        f"{vision_sizes['n_run']} of {vision_sizes['n_layer']} vision layers"
    )

    tensors = llm.take_tensors(checkpoint, config, llm_sizes) + vision.take_tensors(checkpoint, vision_sizes)
    _account_for_rest(checkpoint, family, vision_sizes, say)

    recipe = RECIPES[type_name]
    keys = container_keys(family, recipe.file_type, recipe.media_file_type)
    llm.write_keys(keys, config, family, llm_sizes)
    vision.write_keys(keys, config, preprocessor, family, vision_sizes)
    tokenizer.write_keys(keys, folder, preprocessor, family, llm_sizes["n_vocab"])

    tied = all(tensor.name != "output.weight" for tensor in tensors)
    outputs = [Output(t, recipes.type_of(recipe, t, llm_sizes["n_layer"], tied)) for t in tensors]
    write(target, keys, outputs)
    return target.stat().st_size


def container_keys(family: Family, llm_file_type: int, vision_file_type: int) -> Metadata:
    keys = Metadata()
    keys.text(ARCHITECTURE, family.architecture)
    keys.text("general.type", "model")
    keys.text("general.name", family.title)
    keys.u32("general.quantization_version", GGML_QUANT_VERSION)
    keys.u32("general.file_type", llm_file_type)
    keys.u32("minicpmo.version", VERSION)
    keys.text("minicpmo.model", family.model)
    keys.texts("minicpmo.modules", MODULES)
    keys.text("minicpmo.llm.arch", family.llm_arch)
    keys.u32("minicpmo.llm.file_type", llm_file_type)
    keys.u32("minicpmo.vision.file_type", vision_file_type)
    return keys


def _account_for_rest(checkpoint: Checkpoint, family: Family, vision_sizes: dict[str, int], say: Say) -> None:
    """Every tensor that was not taken must be known for what it is."""
    left_out: dict[str, int] = {}
    for name in checkpoint.left():
        module = next((module for prefix, module in family.left_out.items() if name.startswith(prefix)), None)
        known = module is not None or name in family.ignored or vision.is_dropped(name, vision_sizes)
        check(known, f"[checkpoint] expected only tensors of {family.title}, got {name!r}")
        if module is not None:
            left_out[module] = left_out.get(module, 0) + 1
    if left_out:
        say("left out: " + ", ".join(f"{module} ({count} tensors)" for module, count in left_out.items()))
