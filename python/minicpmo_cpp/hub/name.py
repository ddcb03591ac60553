"""RepositoryName: what users call a model on a hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minicpmo_cpp.hub.error import HubError

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"{_WORD}/{_WORD}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
_MODELSCOPE = ("ms://", "modelscope://")
_FORM = "owner/name or owner/name:QUANTISATION"


@dataclass(frozen=True)
class RepositoryName:
    repository: str  # "owner/name"
    wanted: str = ""  # a quantisation, or the path of a file in it
    is_modelscope: bool = False  # said so, whatever the endpoint


def parse_name(text: str) -> RepositoryName:
    """Reads [ms://]owner/name[:QUANTISATION or FILE.gguf]. Raises HubError for anything else."""
    if not isinstance(text, str):
        raise TypeError(f"[hub] expected a str, got {type(text).__name__} (repository)")
    scheme = next((scheme for scheme in _MODELSCOPE if text.lower().startswith(scheme)), "")
    repository, colon, wanted = text[len(scheme) :].partition(":")
    is_sound = _REPOSITORY.fullmatch(repository) and ".." not in repository and "--" not in repository
    if not is_sound or (colon and not wanted):
        raise HubError(f"[hub] expected {_FORM}, got {text[:120]!r}")
    return RepositoryName(repository, wanted, bool(scheme))


def check_revision(revision: str) -> str:
    """A branch, a tag or a commit. Raises HubError for what can be none."""
    if not isinstance(revision, str):
        raise TypeError(f"[hub] expected a str, got {type(revision).__name__} (revision)")
    parts = revision.split("/")
    if not _REVISION.fullmatch(revision) or ".." in revision or "" in parts or "." in parts:
        raise HubError(f"[hub] expected a branch, tag or commit, got {revision[:120]!r} (revision)")
    return revision
