"""One checkpoint folder -> one GGUF file: the story of a conversion in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gguf import GGML_QUANT_VERSION

from minicpmo_convert import recipe as recipes
from minicpmo_convert import tokenizer
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import audio, llm, vision
from minicpmo_convert.error import check
from minicpmo_convert.families import Family, recognise
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.recipe import RECIPES
from minicpmo_convert.writer import ARCHITECTURE, Output, write

VERSION = 1  # of the layout: minicpmo.version
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
    hears = audio.is_in(checkpoint)
    audio_sizes = audio.read_sizes(config, family, llm_sizes["n_embd"]) if hears else {}
    say(
        f"{family.title}: {llm_sizes['n_layer']} layers, "
        f"{vision_sizes['n_run']} of {vision_sizes['n_layer']} vision layers, "
        + (f"{audio_sizes['n_layer']} audio layers" if hears else "no audio: the checkpoint holds none")
    )

    tensors = llm.take_tensors(checkpoint, config, llm_sizes) + vision.take_tensors(checkpoint, vision_sizes)
    if hears:
        tensors += audio.take_tensors(checkpoint, audio_sizes)
    _account_for_rest(checkpoint, family, vision_sizes, say)

    recipe = RECIPES[type_name]
    file_types = {"llm": recipe.file_type, "vision": recipe.media_file_type}
    keys = container_keys(family, file_types | ({"audio": recipe.media_file_type} if hears else {}))
    llm.write_keys(keys, config, family, llm_sizes)
    vision.write_keys(keys, config, preprocessor, family, vision_sizes)
    if hears:
        audio.write_keys(keys, config, preprocessor, audio_sizes)
    tokenizer.write_keys(keys, folder, preprocessor, family, llm_sizes["n_vocab"])

    tied = all(tensor.name != "output.weight" for tensor in tensors)
    outputs = [Output(t, recipes.type_of(recipe, t, llm_sizes["n_layer"], tied)) for t in tensors]
    write(target, keys, outputs)
    return target.stat().st_size


def container_keys(family: Family, file_types: Mapping[str, int]) -> Metadata:
    """What is true of the file as a whole; file_types names its modules, the language model first."""
    keys = Metadata()
    keys.text(ARCHITECTURE, family.architecture)
    keys.text("general.type", "model")
    keys.text("general.name", family.title)
    keys.u32("general.quantization_version", GGML_QUANT_VERSION)
    keys.u32("general.file_type", file_types["llm"])
    keys.u32("minicpmo.version", VERSION)
    keys.text("minicpmo.model", family.model)
    keys.texts("minicpmo.modules", list(file_types))
    keys.text("minicpmo.llm.arch", family.llm_arch)
    for module, file_type in file_types.items():
        keys.u32(f"minicpmo.{module}.file_type", file_type)
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
