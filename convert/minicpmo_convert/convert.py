"""One checkpoint folder -> one GGUF file: the story of a conversion in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf import GGML_QUANT_VERSION

from minicpmo_convert import recipe as recipes
from minicpmo_convert import tokenizer
from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import audio, llm, vision
from minicpmo_convert.encoding import Values
from minicpmo_convert.error import check
from minicpmo_convert.families import Family, recognise
from minicpmo_convert.imatrix import importance_of, read_imatrix
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.recipe import RECIPES, Recipe
from minicpmo_convert.speech import Speech, find_speech
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.voices import read_recordings, write_with
from minicpmo_convert.whole_blocks import widened
from minicpmo_convert.writer import ARCHITECTURE, Output

VERSION = 1  # of the layout: minicpmo.version
MODULES = ("llm", "vision", "audio", "tts", "t2w", "s3", "spk", "dvae", "vocos")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """A checkpoint as a model: what the single file holds, and what other layouts are made of."""

    checkpoint: Checkpoint
    family: Family
    recipe: Recipe
    llm_sizes: dict[str, int]
    vision_sizes: dict[str, int]
    audio_sizes: dict[str, int]  # empty if it does not hear
    speech: Speech
    keys: Metadata  # of the single file
    tensors: list[Tensor]  # the same

    imatrix: Mapping[str, Values]  # importance of inputs by tensor, maybe of none

    def output_of(self, tensor: Tensor) -> Output:
        """How one of `tensors` is stored, by the recipe."""
        tied = all(each.name != "output.weight" for each in self.tensors)
        kind = recipes.type_of(self.recipe, tensor, self.llm_sizes["n_layer"], tied)
        return Output(tensor, kind, importance_of(self.imatrix, tensor.name, tensor.n_col))


def convert(
    folder: Path,
    target: Path,
    type_name: str,
    say: Say = lambda line: None,
    token2wav: Sequence[Path] = (),
    voices: Mapping[str, Path] | None = None,
    imatrix: Path | None = None,
) -> int:
    """Converts the checkpoint in `folder`; returns the size of the file written, in bytes.

    `token2wav` are folders of the files that turn speech codes into sound, beside the one in the checkpoint.
    `voices` are recordings by name that become reference voices in the file. `imatrix` is a file of
    importance, which types of blocks take into account.
    """
    recordings = read_recordings(voices or {})
    model = read_model(folder, type_name, say, token2wav, imatrix)
    outputs = [model.output_of(each) for each in widened(model.tensors, model.keys, model.recipe)]
    write_with(target, model.keys, outputs, recordings)
    return target.stat().st_size


def read_model(
    folder: Path,
    type_name: str,
    say: Say = lambda line: None,
    token2wav: Sequence[Path] = (),
    imatrix: Path | None = None,
) -> Conversion:
    """The checkpoint in `folder`, checked as a whole; weights are read when they are written."""
    check(type_name in RECIPES, f"[recipe] expected one of {', '.join(RECIPES)}, got {type_name!r} (--type)")
    importance = read_imatrix(imatrix) if imatrix is not None else {}
    checkpoint = Checkpoint(folder)
    config, preprocessor = checkpoint.facts("config.json"), checkpoint.facts("preprocessor_config.json")
    family = recognise(config, preprocessor)
    llm_sizes = llm.read_sizes(config, family)
    n_position = vision.count_positions(checkpoint)
    vision_sizes = vision.read_sizes(config, family, n_position, llm_sizes["n_embd"])
    hears = bool(family.audio_defaults) and audio.is_in(checkpoint)
    audio_sizes = audio.read_sizes(config, family, llm_sizes["n_embd"]) if hears else {}
    say(
        f"{family.title}: {llm_sizes['n_layer']} layers, "
        f"{vision_sizes['n_run']} of {vision_sizes['n_layer']} vision layers, "
        + (f"{audio_sizes['n_layer']} audio layers" if hears else "no audio: the checkpoint holds none")
    )

    speech = find_speech(checkpoint, config, family, llm_sizes["n_embd"], token2wav)
    say(speech.describe())

    tensors = llm.take_tensors(checkpoint, config, family, llm_sizes)
    tensors += vision.take_tensors(checkpoint, vision_sizes)
    if hears:
        tensors += audio.take_tensors(checkpoint, audio_sizes)
    tensors += speech.take_tensors()
    _account_for_rest(checkpoint, family, vision_sizes, speech.ignored)

    recipe = RECIPES[type_name]
    modules = ["llm", "vision", *["audio"] * hears, *speech.modules()]
    keys = container_keys(family, {module: recipe.file_type_of(module) for module in modules})
    llm.write_keys(keys, config, family, llm_sizes)
    vision.write_keys(keys, config, preprocessor, family, vision_sizes)
    if hears:
        audio.write_keys(keys, config, preprocessor, family, audio_sizes)
    speech.write_keys(keys)
    tokenizer.write_keys(keys, folder, preprocessor, family, llm_sizes["n_vocab"])
    write_imatrix_keys(keys, imatrix, importance)

    return Conversion(
        *(checkpoint, family, recipe, llm_sizes, vision_sizes, audio_sizes),
        *(speech, keys, tensors, importance),
    )


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
    keys.text("minicpmo.chat.spoken_begin", family.spoken_begin)
    keys.flag("minicpmo.chat.user_instructs", family.user_instructs)
    for module, file_type in file_types.items():
        keys.u32(f"minicpmo.{module}.file_type", file_type)
    return keys


def write_imatrix_keys(keys: Metadata, path: Path | None, imatrix: Mapping[str, Values]) -> None:
    """As llama-quantize says what it weighed by."""
    if path is not None:
        keys.text("quantize.imatrix.file", path.name)
        keys.u32("quantize.imatrix.entries_count", len(imatrix))


def _account_for_rest(
    checkpoint: Checkpoint, family: Family, vision_sizes: dict[str, int], ignored_speech: tuple[str, ...]
) -> None:
    """Every tensor that was not taken must be known for what it is."""
    for name in checkpoint.left():
        ignored = name in family.ignored or name.startswith(ignored_speech)
        check(
            ignored or vision.is_dropped(name, vision_sizes),
            f"[checkpoint] expected only tensors of {family.title}, got {name!r}",
        )
