"""Which files of a repository a run needs, by their names: a listing has nothing else.

What each file is the engine tells by its content once it is here; a name that lied is an error then.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from minicpmo_cpp.hub.error import HubError

MODULES = ("vision", "audio", "speech")
_DEFAULT = "Q4_K_M"
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_QUANTISATION = re.compile(
    r"(?:^|[-_. ])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|BF16|FP?16|FP?32|MXFP4|TQ\d_\d))$", re.IGNORECASE
)
_TOKEN2WAV = {"encoder", "flow_matching", "flow_extra", "hifigan2"}
# Word in a path -> kind; the first that it has. A file of none of them is a language model or a whole one.
_WORDS = (
    ({"imatrix"}, "none"),
    ({"mmproj", "vision"}, "vision"),
    ({"token2wav"}, "token2wav"),
    ({"projector"}, "projector"),
    ({"tts"}, "tts"),
    ({"audio", "apm", "whisper"}, "audio"),
    ({"supplement"}, "supplement"),
)
_KINDS = {"vision": ("vision",), "audio": ("audio",), "speech": ("tts", "projector")}
_PREFERRED = ("F16", "BF16", "Q8_0", "F32")  # of the parts, as published
_SHOWN = 20


@dataclass(frozen=True)
class FileSet:
    """One file, or all parts of a split one."""

    paths: tuple[str, ...]  # in order
    name: str  # path without the number of the part and the ending
    count: int  # parts that there should be

    @property
    def quantisation(self) -> str:
        """As the name says, in capitals: of the file, or else of its folder. Empty if it does not."""
        folder, _, stem = self.name.rpartition("/")
        for text in (stem, folder.rpartition("/")[2]):
            if found := _QUANTISATION.search(text):
                return found[1].upper().replace("FP", "F")
        return ""

    @property
    def kind(self) -> str:
        stem = self.name.rpartition("/")[2].lower()
        if stem in _TOKEN2WAV or "prompt_cache" in stem:
            return "token2wav"
        words = set(re.split(r"[^a-z0-9]+", self.name.lower()))
        return next((kind for marks, kind in _WORDS if words & marks), "llm")


@dataclass(frozen=True)
class Choice:
    model: FileSet
    parts: tuple[FileSet, ...]

    @property
    def paths(self) -> list[str]:
        return [path for files in (self.model, *self.parts) for path in files.paths]


def choose(paths: Iterable[str], wanted: str, modules: Collection[str], where: str) -> Choice:
    """The language model of a quantisation, and the files of `modules`.

    Args:
        paths: of the repository.
        wanted: quantisation in any case, or the path of a file; empty for Q4_K_M or else the only one.
        modules: of MODULES.
        where: for messages.

    Raises:
        HubError: there is no such file, several may be meant, or a part is missing.
    """
    sets = _file_sets(paths)
    if not sets:
        raise HubError(f"[hub] expected GGUF files, got none ({where})")
    kinds = {name: files.kind for name, files in sets.items()}
    models = [files for name, files in sets.items() if kinds[name] == "llm"]
    if not models and len(sets) == 1:  # whatever its name seems to say
        models = list(sets.values())
    model = _choose_model(models, sets, wanted, where)
    parts: list[FileSet] = []
    for kind in (kind for module in MODULES if module in modules for kind in _KINDS[module]):
        found = [files for name, files in sets.items() if kinds[name] == kind and files is not model]
        if found:
            parts.append(min(found, key=_preference))
    if "speech" in modules:
        parts += _token2wav([files for name, files in sets.items() if kinds[name] == "token2wav"])
    if modules:
        parts += [files for name, files in sets.items() if kinds[name] == "supplement"][:1]
    for files in (model, *parts):
        if len(files.paths) != files.count:
            raise HubError(
                f"[hub] expected {files.count} parts of {files.name}, got {len(files.paths)} ({where})"
            )
    return Choice(model, tuple(parts))


def _file_sets(paths: Iterable[str]) -> dict[str, FileSet]:
    found: dict[str, FileSet] = {}
    for path in sorted(paths):
        if not path.lower().endswith(".gguf"):
            continue
        split = _SPLIT.fullmatch(path)
        name, count = (split[1], int(split[3])) if split else (path[: -len(".gguf")], 1)
        before = found.get(name)
        found[name] = FileSet((*before.paths, path) if before else (path,), name, count)
    return found


def _choose_model(models: list[FileSet], sets: dict[str, FileSet], wanted: str, where: str) -> FileSet:
    if wanted.lower().endswith(".gguf"):
        named = [files for files in sets.values() if wanted in files.paths]
        if not named:
            raise HubError(f"[hub] expected {_names(sets.values())}, got {wanted[:120]} ({where})")
        return named[0]
    quantisation = wanted.upper().replace("FP", "F")
    found = [files for files in models if files.quantisation == (quantisation or _DEFAULT)]
    if not found and not quantisation:
        found = models
    if len(found) == 1:
        return found[0]
    if not models:
        raise HubError(f"[hub] expected a language model, got {_names(sets.values())} ({where})")
    if not found:
        there = ", ".join(sorted({files.quantisation or files.paths[0] for files in models})[:_SHOWN])
        raise HubError(f"[hub] expected one of {there}, got {wanted[:120]} ({where})")
    by_name = {files.quantisation for files in found}
    if len(by_name) == len(found) and "" not in by_name:
        raise HubError(
            f"[hub] expected the quantisation, one of {', '.join(sorted(by_name))}, got none: say "
            f"owner/name:{min(by_name)} ({where})"
        )
    raise HubError(
        f"[hub] expected one language model, got {_names(found)}: say owner/name:FILE.gguf ({where})"
    )


def _token2wav(found: list[FileSet]) -> list[FileSet]:
    """Those of one folder: the one that has most."""
    folders: dict[str, list[FileSet]] = {}
    for files in found:
        folders.setdefault(files.name.rpartition("/")[0], []).append(files)
    return max(folders.values(), key=len, default=[])


def _preference(files: FileSet) -> tuple[int, int, str]:
    known = files.quantisation in _PREFERRED
    return _PREFERRED.index(files.quantisation) if known else len(_PREFERRED), len(files.name), files.name


def _names(sets: Iterable[FileSet]) -> str:
    names = [files.paths[0] for files in sets]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
