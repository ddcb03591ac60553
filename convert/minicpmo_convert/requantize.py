"""One converted file -> the same model in other types, by the same recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minicpmo_convert import recipe as recipes
from minicpmo_convert.convert import MODULES, VERSION, Say, write_imatrix_keys
from minicpmo_convert.encoding import PLAIN
from minicpmo_convert.error import ConvertError, check
from minicpmo_convert.gguf_file import ALIGNMENT, GgufFile
from minicpmo_convert.imatrix import importance_of, read_imatrix
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.recipe import RECIPES, Recipe
from minicpmo_convert.voices import read_recordings, write_with
from minicpmo_convert.whole_blocks import widened
from minicpmo_convert.writer import ARCHITECTURE, Output


def requantize(
    source: Path,
    target: Path,
    type_name: str,
    say: Say = lambda line: None,
    voices: Mapping[str, Path] | None = None,
    imatrix: Path | None = None,
) -> int:
    """Writes `source` again with its matrices in another type; returns the size of the new file in bytes.

    `voices` are recordings by name: the file's voices, which stay, are joined or replaced by these.
    `imatrix` is as in convert().
    """
    check(type_name in RECIPES, f"[recipe] expected one of {', '.join(RECIPES)}, got {type_name!r} (--type)")
    recipe = RECIPES[type_name]
    check(source.is_file(), f"[requantize] expected a GGUF file, got {source}")
    same = target.exists() and target.samefile(source)
    check(not same, f"[requantize] expected an output other than the input, got {target}")
    recordings = read_recordings(voices or {})
    importance = read_imatrix(imatrix) if imatrix is not None else {}
    file = GgufFile(source)
    n_layer = _read_layer_count(file)

    tied = all(tensor.name != "output.weight" for tensor in file.tensors)
    keys = _keys(file, recipe)
    outputs = []
    for tensor in widened(file.tensors, keys, recipe):
        known = recipes.knows(tensor.name)
        kind = recipes.type_of(recipe, tensor, n_layer, tied) if known else tensor.type
        outputs.append(Output(tensor, kind, importance_of(importance, tensor.name, tensor.n_col)))
    again = sum(o.type != o.tensor.type and o.tensor.type not in PLAIN for o in outputs)
    if again:
        say(f"{again} tensors are quantized already and lose precision twice: better convert the checkpoint")
    write_imatrix_keys(keys, imatrix, importance)
    write_with(target, keys, outputs, recordings)
    return target.stat().st_size


def _read_layer_count(file: GgufFile) -> int:
    architecture, version = file.keys.get(ARCHITECTURE), file.keys.get("minicpmo.version")
    good = architecture == "minicpmo" and version == VERSION
    check(
        good, f"[requantize] expected a minicpmo file of version {VERSION}, got {architecture!r} {version!r}"
    )
    key = f"{file.keys.get('minicpmo.llm.arch')}.block_count"
    n_layer = file.keys.get(key)
    if not isinstance(n_layer, int) or not 1 <= n_layer <= 4096:
        raise ConvertError(f"[requantize] expected a number of layers, got {n_layer!r} ({key})")
    return n_layer


def _keys(file: GgufFile, recipe: Recipe) -> Metadata:
    """The source's keys in their order, with the types that the recipe gives."""
    keys = Metadata()
    for key, entry in file.keys.items():
        if key != ALIGNMENT:  # the writer uses the default
            keys.put(key, entry)
    keys.u32("general.file_type", recipe.file_type)
    for module in MODULES:
        key = f"minicpmo.{module}.file_type"
        if module == "llm" or file.keys.get(key) is not None:
            keys.u32(key, recipe.file_type_of(module))
    return keys
