"""Listing: the files of a repository as the hub tells them, checked: a hub is not trusted with paths."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minicpmo_cpp.hub.error import HubError

MOST_FILES = 20_000
MOST_BYTES = 1 << 44  # of one file
_LONGEST_NAME = 255  # of a file or a folder
_LONGEST_PATH = 1024
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    path: str  # in the repository, with slashes
    size: int  # bytes
    digest: str  # SHA-256 in 64 digits; or in 40, of small files, Git's SHA-1 of a blob; empty if not known

    def new_hash(self) -> Any:
        """Of hashlib; its hexdigest() of the whole content is `digest`."""
        if len(self.digest) == 64:
            return hashlib.sha256()
        return hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)


@dataclass(frozen=True)
class Listing:
    commit: str  # 40 digits: what these files are a snapshot of
    files: dict[str, HubFile]  # by path


def make_listing(commit: Any, entries: Iterable[tuple[Any, Any, Any]], where: str) -> Listing:
    """Checks what a hub says: (path, size, digest) of each file.

    Raises:
        HubError: a path that leads out of the repository, or anything else that cannot be true.
    """
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _bad("a commit of 40 digits", commit, where)
    files: dict[str, HubFile] = {}
    for path, size, digest in entries:
        if not is_inside(path):
            raise _bad("paths inside the repository", path, where)
        if type(size) is not int or not 0 <= size <= MOST_BYTES:
            raise _bad(f"a size in bytes of {path}", size, where)
        if digest != "" and (not isinstance(digest, str) or not _DIGEST.fullmatch(digest)):
            raise _bad(f"the hash of {path}", digest, where)
        files[path] = HubFile(path, size, digest)
        if len(files) > MOST_FILES:
            raise HubError(f"[hub] expected at most {MOST_FILES} files, got more ({where})")
    return Listing(commit, files)


def is_inside(path: Any) -> bool:
    """Whether it is a relative path with nothing special in it, on every system."""
    if not isinstance(path, str) or not 0 < len(path) <= _LONGEST_PATH or not path.isprintable():
        return False
    parts = path.split("/")
    is_plain = all(part.strip(". ") and len(part.encode()) <= _LONGEST_NAME for part in parts)
    return is_plain and "\\" not in path and ":" not in path


def _bad(expected: str, got: Any, where: str) -> HubError:
    return HubError(f"[hub] expected {expected}, got {repr(got)[:120]} ({where})")
