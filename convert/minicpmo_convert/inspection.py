"""What a GGUF file is, module by module, and what it can do: the text of `minicpmo-convert inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicpmo_convert.encoding import row_bytes
from minicpmo_convert.error import check
from minicpmo_convert.file_kind import FileKind, classify, module_of
from minicpmo_convert.gguf_file import GgufFile
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.voices import MAX_VOICES

_SHOWN_TYPES = 4
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_VOICE_COUNT = "minicpmo.voice.count"
# What modules can do together.
_ABILITIES = {
    ("llm",): "reads and writes text",
    ("vision",): "sees pictures and video",
    ("audio",): "hears",
    ("tts", "t2w"): "speaks",
    ("tts", "dvae", "vocos"): "speaks",
    ("s3", "spk"): "clones voices",
}
_ALONE = {
    "llm": "reads and writes text; with the files beside it, all that those can",
    "vision": "sees, beside a language model",
    "audio": "hears, beside a language model",
    "tts": "says codes, beside a language model and token2wav files",
    "projector": "a part of the model of speech codes, which has it too",
    "prompt_cache": "gives a voice, where the flow runs as many steps",
    "voice": "gives a voice to a model that speaks",
    "supplement": "adds to the files beside it",
    "vocabulary": "nothing: it holds no weights",
    "clip": "nothing here: no projector that this package knows",
    "other": "nothing here",
}


@dataclass
class Module:
    """The tensors that belong together, counted."""

    n_tensor: int = 0
    n_value: int = 0
    n_byte: int = 0
    types: Counter[str] = field(default_factory=Counter)  # tensors of each type

    def add(self, tensor: Tensor) -> None:
        self.n_tensor += 1
        self.n_value += tensor.n_row * tensor.n_col
        self.n_byte += tensor.n_row * row_bytes(tensor.type, tensor.n_col)
        self.types[tensor.type] += 1


def inspect(path: Path) -> Iterator[str]:
    """The lines that tell of a file, or of those in a folder. Raises ConvertError for no sound GGUF file."""
    if path.is_dir():
        files = sorted(path.rglob("*.gguf"))
        check(len(files) > 0, f"[inspect] expected GGUF files in {path}, got none")
        for file in files:
            yield from _inspect_file(file)
    else:
        yield from _inspect_file(path)


def _inspect_file(path: Path) -> Iterator[str]:
    check(path.is_file(), f"[inspect] expected a GGUF file, got {path}")
    file = GgufFile(path)
    kind = classify({tensor.name for tensor in file.tensors}, file.keys.get)
    modules: dict[str, Module] = {}
    for tensor in file.tensors:
        modules.setdefault(module_of(kind, tensor.name), Module()).add(tensor)
    yield f"{path}: {kind.title}, {_amount(path.stat().st_size)}B"
    yield from _rows(_facts(kind, file))
    if modules:
        yield from _table(modules)
    yield from _rows([("can", _abilities(kind, file, modules))])


def _facts(kind: FileKind, file: GgufFile) -> Iterator[tuple[str, str]]:
    get = file.keys.get
    yield "layout", kind.layout
    for title, key in (("name", "general.name"), ("architecture", "general.architecture")):
        if get(key) is not None:
            yield title, _printable(get(key))
    n_part = get("split.count")
    if isinstance(n_part, int) and n_part > 1:
        yield "part", f"{_printable(get('split.no'))} (from 0) of {n_part}; the others are beside it"
    arch = get("minicpmo.llm.arch") or get("general.architecture")
    sizes = (
        ("layers", f"{arch}.block_count"),
        ("width", f"{arch}.embedding_length"),
        ("context", f"{arch}.context_length"),
        *(("queries", key) for key in ("minicpmo.resampler.query_num", "clip.minicpmv_query_num")),
        *(("pooling", key) for key in ("minicpmo.audio.pool_step", "audio_pool_step")),
        ("steps", "mtmd.prompt_cache.n_timesteps"),
    )
    found = [f"{title} {get(key)}" for title, key in sizes if isinstance(get(key), int)]
    if found:
        yield "sizes", ", ".join(found)
    tokens = get("tokenizer.ggml.tokens")
    if isinstance(tokens, list):
        about = [_printable(get(f"tokenizer.ggml.{key}") or "none stated") for key in ("model", "pre")]
        yield "vocabulary", f"{len(tokens)} tokens, {' '.join(about)}"


def _abilities(kind: FileKind, file: GgufFile, modules: dict[str, Module]) -> str:
    if kind.name != "model":
        return _ALONE.get(kind.name, "turns codes into sound, with the other token2wav files")
    can = [text for needed, text in _ABILITIES.items() if all(module in modules for module in needed)]
    count = file.keys.get(_VOICE_COUNT)
    if isinstance(count, int) and 0 < count <= MAX_VOICES:
        names = [_printable(file.keys.get(f"minicpmo.voice.{i}.name") or "unnamed") for i in range(count)]
        can.append(f"has the voices {', '.join(names)}")
    return "; ".join(can)


def _rows(facts: Any) -> Iterator[str]:
    return (f"  {title + ':':<14}{text}" for title, text in facts)


def _table(modules: dict[str, Module]) -> Iterator[str]:
    yield f"  {'module':<10}{'tensors':>9}{'weights':>11}{'bytes':>11}  types"
    for name, module in modules.items():
        types = [f"{kind} {n}" for kind, n in module.types.most_common(_SHOWN_TYPES)]
        more = len(module.types) - len(types)
        row = f"{name:<10}{module.n_tensor:>9}{_amount(module.n_value):>11}{_amount(module.n_byte):>11}"
        yield f"  {row}  {', '.join(types)}{f' and {more} more' if more > 0 else ''}"


def _amount(number: int) -> str:
    """Three digits or so: 8.19 G."""
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.2f} {letter}"
    return f"{number} "


def _printable(value: Any) -> str:
    """What a file says, without the control characters that it may say it with."""
    text = str(value)[:80]
    return "".join(c if c.isprintable() else "?" for c in text)
