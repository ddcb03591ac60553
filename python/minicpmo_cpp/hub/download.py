"""download(): a file of a hub, continued where it was left and checked against its hash."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError

from minicpmo_cpp.hub.error import HubError, explain, is_passing
from minicpmo_cpp.hub.listing import HubFile
from minicpmo_cpp.hub.transport import get

PAUSE_S = 1.0  # before the second attempt; twice as long before each next one
ATTEMPTS = 6  # in a row that bring less than _PROGRESS
_PROGRESS = 1 << 20
_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

OnBytes = Callable[[int], None]  # so many bytes of the file are here


class _Partial:
    """The beginning of a file on the disk, and the hash of it."""

    def __init__(self, file: HubFile, path: Path) -> None:
        self._file, self._path = file, path
        self._out: BinaryIO = open(path, "a+b")
        self._hash = file.new_hash()
        self.n_byte = 0
        if os.fstat(self._out.fileno()).st_size > file.size:
            self.clear()
        self._out.seek(0)
        while chunk := self._out.read(min(_CHUNK, file.size - self.n_byte)):
            self._hash.update(chunk)
            self.n_byte += len(chunk)

    def append(self, chunk: bytes) -> None:
        try:
            self._out.write(chunk)
            self._out.flush()
        except OSError as error:
            raise _full(error, self._path) from None
        self._hash.update(chunk)
        self.n_byte += len(chunk)

    def clear(self) -> None:
        self._out.truncate(0)
        self._hash, self.n_byte = self._file.new_hash(), 0

    def digest(self) -> str:
        digest: str = self._hash.hexdigest()
        return digest

    def close(self) -> None:
        try:
            self._out.flush()
            os.fsync(self._out.fileno())
        except OSError as error:
            raise _full(error, self._path) from None
        finally:
            self._out.close()


def download(
    url: str,
    headers: Mapping[str, str],
    file: HubFile,
    path: Path,
    *,
    on_bytes: OnBytes,
    repository: str,
    endpoint: str,
    access: str,
) -> None:
    """Brings a file to `path`, continuing what is there.

    Args:
        url: of the file.
        headers: that let one in.
        file: what it is to be.
        path: where; after an error it holds what can be continued, or nothing.
        on_bytes: told how far it is.
        repository: for messages, as are endpoint and access.

    Raises:
        HubError: it cannot be had, or is not what the hub said it is.
    """
    partial = _Partial(file, path)
    try:
        was_begun = partial.n_byte > 0
        while True:
            _fill(partial, url, headers, file, on_bytes, (repository, endpoint, access))
            if partial.digest() == file.digest:
                return
            found = partial.digest()
            partial.clear()
            if not was_begun:
                break
            was_begun = False  # what an earlier run left may be to blame
    finally:
        partial.close()
        if partial.n_byte == 0:
            path.unlink(missing_ok=True)
    raise HubError(
        f"[hub] expected {file.path} with hash {file.digest[:16]}..., got {found[:16]}...: it was changed on "
        f"the way, and nothing of it is kept ({url})"
    )


def _fill(
    partial: _Partial,
    url: str,
    headers: Mapping[str, str],
    file: HubFile,
    on_bytes: OnBytes,
    hub: tuple[str, str, str],
) -> None:
    """Requests until all bytes are here."""
    failures = 0
    on_bytes(partial.n_byte)
    while partial.n_byte < file.size:
        before = partial.n_byte
        wanted = {"Range": f"bytes={before}-"} if before else {}
        failure: Exception
        try:
            with get(url, {**headers, **wanted}) as answer:
                _read(answer, partial, file, on_bytes, url)
            failure = ConnectionError("the connection ended")
        except HubError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            if not is_passing(error) or isinstance(error, ValueError):
                raise explain(error, *hub) from None
            if isinstance(error, HTTPError):
                error.close()
            failure = error
        if partial.n_byte >= file.size:
            return
        failures = 1 if partial.n_byte - before >= _PROGRESS else failures + 1
        if failures >= ATTEMPTS:
            raise HubError(
                f"[hub] expected {file.size} bytes of {file.path}, got {partial.n_byte} and then: {failure}; "
                f"the next run goes on from there ({url})"
            ) from None
        time.sleep(PAUSE_S * 2 ** (failures - 1))


def _read(answer: HTTPResponse, partial: _Partial, file: HubFile, on_bytes: OnBytes, url: str) -> None:
    """One answer's bytes, as far as they come."""
    _check_range(answer, partial, file, url)
    while chunk := answer.read1(min(_CHUNK, file.size + 1 - partial.n_byte)):
        if partial.n_byte + len(chunk) > file.size:
            partial.clear()
            raise HubError(f"[hub] expected {file.size} bytes of {file.path}, got more ({url})")
        partial.append(chunk)
        on_bytes(partial.n_byte)


def _check_range(answer: HTTPResponse, partial: _Partial, file: HubFile, url: str) -> None:
    """That the answer begins where the file goes on, and ends where it should."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise HubError(f"[hub] expected {file.path} as it is, got it compressed ({url})")
    if answer.status != 206:  # the whole file, whatever was asked for
        partial.clear()
        total: Any = answer.length
    else:
        said = answer.headers.get("Content-Range", "")
        found = _RANGE.fullmatch(said)
        if not found or int(found[1]) != partial.n_byte:
            raise HubError(f"[hub] expected bytes from {partial.n_byte} on, got {said[:60]!r} ({url})")
        total = None if found[3] == "*" else int(found[3])
    if total is not None and total != file.size:
        partial.clear()
        raise HubError(f"[hub] expected {file.size} bytes of {file.path}, got {total} ({url})")


def _full(error: OSError, path: Path) -> HubError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HubError(f"[hub] expected room on the disk, got none: {path.parent} is full")
    return HubError(f"[hub] expected a cache that can be written, got: {error} ({path})")
