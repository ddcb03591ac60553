"""fetch_model(): what a run needs of a repository, in the cache; asked for once, then only what is new."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from minicpmo_cpp.hub.amount import in_bytes
from minicpmo_cpp.hub.cache import RepositoryCache
from minicpmo_cpp.hub.choice import MODULES, choose
from minicpmo_cpp.hub.download import download
from minicpmo_cpp.hub.error import HubError, UnreachableError
from minicpmo_cpp.hub.listing import HubFile, Listing
from minicpmo_cpp.hub.name import RepositoryName, check_revision, parse_name
from minicpmo_cpp.hub.service import Hub, find_hub
from minicpmo_cpp.hub.settings import Settings, settings
from minicpmo_cpp.terminal import say

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
# What minicpmo-convert reads of a checkpoint, by its endings; pictures, sounds and code are not.
_CHECKPOINT = (".safetensors", ".json", ".txt", ".model", ".pt", ".onnx", ".yaml")

Choose = Callable[[Collection[str], str], list[str]]


@dataclass(frozen=True)
class Fetched:
    """Files in the cache."""

    path: Path  # of the language model or the whole one; of a checkpoint the folder
    parts: tuple[Path, ...] = ()  # what goes with it


def fetch_model(
    name: str,
    *,
    quant: str | None = None,
    revision: str | None = None,
    modules: Collection[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    offline: bool = False,
) -> Fetched:
    """The GGUF files of a model, fetched where the cache has them not.

    Args:
        name: [ms://]owner/name[:QUANTISATION or FILE.gguf].
        quant: quantisation of the language model, in any case; if there is none here and in `name`, Q4_K_M
            or else the only one.
        revision: branch, tag or commit; the hub's default one if None.
        modules: of "vision", "audio" and "speech", those to fetch beside the language model; None fetches
            all that there are.
        cache_dir: instead of HF_HUB_CACHE.
        token: for private repositories; None takes HF_TOKEN or that of a login, False none.
        offline: sends no request: what is in the cache has to do.

    Raises:
        HubError: it cannot be had.
    """
    parsed = parse_name(name)
    if quant is not None:
        parsed = replace(parsed, wanted=_check_quant(quant, parsed))
    wanted_modules = MODULES if modules is None else _check_modules(modules)

    def choose_paths(paths: Collection[str], where: str) -> list[str]:
        return choose(_with_gguf(paths, parsed, where), parsed.wanted, wanted_modules, where).paths

    chosen = settings(cache_dir=cache_dir, token=token, offline=offline)
    folder, paths = _fetch(parsed, revision, chosen, choose_paths)
    choice = choose(paths, parsed.wanted, wanted_modules, name)
    parts = tuple(folder / files.paths[0] for files in choice.parts)
    return Fetched(folder / choice.model.paths[0], parts)


def fetch_checkpoint(name: str, *, revision: str | None = None, offline: bool = False) -> Fetched:
    """The checkpoint of a repository, for minicpmo-convert: its folder in the cache.

    Raises:
        HubError: it cannot be had, or is no checkpoint.
    """
    parsed = parse_name(name)

    def choose_paths(paths: Collection[str], where: str) -> list[str]:
        if "config.json" not in paths or not any(path.endswith(_WEIGHTS) for path in paths):
            raise HubError(f"[hub] expected a checkpoint with a config.json and weights, got none ({where})")
        return [path for path in paths if path.lower().endswith(_CHECKPOINT)]

    folder, _ = _fetch(parsed, revision, settings(cache_dir=None, token=None, offline=offline), choose_paths)
    return Fetched(folder)


def _fetch(
    name: RepositoryName, revision: str | None, chosen: Settings, choose_paths: Choose
) -> tuple[Path, list[str]]:
    """The folder of a snapshot, and the paths in it that were chosen."""
    hub = find_hub(name, chosen.endpoint, chosen.token)
    revision = hub.default_revision if revision is None else check_revision(revision)
    cache = RepositoryCache(chosen.cache, name.repository)
    if chosen.is_offline:
        return _from_cache(cache, hub, name, revision, choose_paths)
    try:
        listing = hub.listing(name.repository, revision)
    except UnreachableError as error:
        try:
            found = _from_cache(cache, hub, name, revision, choose_paths)
        except HubError:
            raise error from None
        say(f"{error}: what is in the cache is used")
        return found
    paths = choose_paths(listing.files, f"{name.repository} at {hub.endpoint}")
    try:
        _complete(cache, hub, name.repository, revision, listing, [listing.files[path] for path in paths])
        cache.remember(hub.ref(revision), listing.commit)
    except OSError as error:
        raise HubError(f"[hub] expected a cache that can be written, got: {error} ({cache.folder})") from None
    return cache.place(listing.commit, "."), paths


def _from_cache(
    cache: RepositoryCache, hub: Hub, name: RepositoryName, revision: str, choose_paths: Choose
) -> tuple[Path, list[str]]:
    commit = cache.commit_of(hub.ref(revision))
    paths = [] if commit is None else cache.paths(commit)
    if commit is None or not paths:
        raise HubError(
            f"[hub] expected {name.repository} ({revision}) in the cache, got nothing, and requests are off "
            f"({cache.folder})"
        )
    return cache.place(commit, "."), choose_paths(paths, f"{name.repository} in the cache")


def _complete(
    cache: RepositoryCache,
    hub: Hub,
    repository: str,
    revision: str,
    listing: Listing,
    files: list[HubFile],
) -> None:
    """Fetches what the cache has not."""
    missing = [file for file in files if not cache.has(listing.commit, file)]
    for file in missing:
        if not file.digest:
            raise HubError(f"[hub] expected the hash of {file.path}, got none ({repository})")
    new = [file for file in missing if not cache.has_blob(file)]
    needed, free = sum(file.size for file in new), cache.free_bytes() if new else 0
    begun = sum(cache.begun_bytes(file) for file in new)
    if needed - begun > free:
        raise HubError(
            f"[hub] expected {in_bytes(needed - begun)} of room on the disk, got {in_bytes(free)} "
            f"({cache.folder})"
        )
    from minicpmo_cpp.hub.progress import FetchProgress  # it needs an extra

    progress = FetchProgress()
    try:
        for file in missing:
            with cache.lock(file):
                if not cache.has_blob(file):
                    progress.begin(file)
                    download(
                        hub.url(repository, revision, listing.commit, file.path),
                        hub.headers,
                        file,
                        cache.partial(file),
                        on_bytes=progress.update,
                        repository=repository,
                        endpoint=hub.endpoint,
                        access=hub.access,
                    )
                    os.replace(cache.partial(file), cache.blob(file))
                cache.link(listing.commit, file)
    finally:
        progress.stop()


def _with_gguf(paths: Collection[str], name: RepositoryName, where: str) -> Collection[str]:
    if any(path.endswith(".safetensors") for path in paths) and not any(p.endswith(".gguf") for p in paths):
        raise HubError(
            f"[hub] expected GGUF files, got a checkpoint: minicpmo-convert {name.repository} -o model.gguf "
            f"makes one of it ({where})"
        )
    return paths


def _check_quant(quant: str, name: RepositoryName) -> str:
    if not isinstance(quant, str):
        raise TypeError(f"[hub] expected a str, got {type(quant).__name__} (quant)")
    if name.wanted and name.wanted.lower() != quant.lower():
        raise HubError(f"[hub] expected one quantisation, got {name.wanted} and {quant}")
    return quant


def _check_modules(modules: Collection[str]) -> Collection[str]:
    if isinstance(modules, str) or not set(modules) <= {"llm", *MODULES}:
        raise ValueError(f"[hub] expected some of {', '.join(MODULES)}, got {modules!r} (modules)")
    return modules
