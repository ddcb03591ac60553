"""RepositoryCache: a repository in the hub's own cache, laid out as huggingface_hub lays it out.

blobs/DIGEST holds contents, snapshots/COMMIT/PATH links to them, refs/REVISION names a commit. What is in
blobs is whole and was checked: files arrive beside it, as DIGEST.incomplete.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from minicpmo_cpp.hub.error import HubError
from minicpmo_cpp.hub.listing import HubFile, is_inside
from minicpmo_cpp.hub.settings import library
from minicpmo_cpp.terminal import say

WAIT_S = 2.0  # for another program, before that is said
_COMMIT = re.compile(r"[0-9a-f]{40}")


class RepositoryCache:
    def __init__(self, cache: Path, repository: str) -> None:
        self._cache = cache
        self.folder = cache / f"models--{repository.replace('/', '--')}"

    def blob(self, file: HubFile) -> Path:
        return self.folder / "blobs" / file.digest

    def partial(self, file: HubFile) -> Path:
        return self.folder / "blobs" / f"{file.digest}.incomplete"

    def place(self, commit: str, path: str) -> Path:
        """Of a file of a snapshot."""
        return self.folder / "snapshots" / commit / path

    def has(self, commit: str, file: HubFile) -> bool:
        return _size(self.place(commit, file.path)) == file.size

    @contextmanager
    def lock(self, file: HubFile) -> Iterator[None]:
        """Keeps other programs, ours and huggingface_hub's, from fetching the same content."""
        path = self._cache / ".locks" / self.folder.name / f"{file.digest}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        waiting = Timer(WAIT_S, say, (f"another program is fetching {file.path}: waiting for it",))
        waiting.daemon = True
        waiting.start()
        try:
            with library().WeakFileLock(path):
                waiting.cancel()
                yield
        finally:
            waiting.cancel()

    def begun_bytes(self, file: HubFile) -> int:
        """Of it, what an earlier run brought."""
        return min(_size(self.partial(file)) or 0, file.size)

    def free_bytes(self) -> int:
        """On the disk of the cache."""
        folder = self.folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def has_blob(self, file: HubFile) -> bool:
        """Whether its content is there. What has another size is none, and goes."""
        size = _size(self.blob(file))
        if size is not None and size != file.size:
            self.blob(file).unlink()
        return size == file.size

    def link(self, commit: str, file: HubFile) -> None:
        """Puts a blob into a snapshot."""
        place, blob = self.place(commit, file.path), self.blob(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            os.symlink(os.path.relpath(blob, place.parent), place)
        except OSError:  # Windows without the right to
            try:
                os.link(blob, place)
            except OSError:
                shutil.copyfile(blob, place)

    def remember(self, ref: str, commit: str) -> None:
        """The commit that a revision means."""
        path = self.folder / "refs" / ref
        if ref == commit or self.commit_of(ref) == commit:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit, encoding="ascii")

    def commit_of(self, ref: str) -> str | None:
        """The commit that a revision meant when it was last asked for."""
        if _COMMIT.fullmatch(ref):
            return ref
        try:
            text = (self.folder / "refs" / ref).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return text if _COMMIT.fullmatch(text) else None

    def paths(self, commit: str) -> list[str]:
        """Of the files of a snapshot that are here."""
        folder = self.folder / "snapshots" / commit
        found = (path for path in folder.rglob("*") if path.is_file())
        return [path for path in (found.relative_to(folder).as_posix() for found in found) if is_inside(path)]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise HubError(f"[hub] expected a cache that can be read, got: {error}") from None
