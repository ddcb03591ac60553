"""Where media come from: a path, a URL, base64 or bytes -> a Source, which decoders open."""

from __future__ import annotations

import base64
import binascii
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from minicpmo_cpp import remote

_FILES = {
    "image": "an image file",
    "audio": "an audio file",
    "video": "a video file",
    "media": "a media file",
    "voice": "a recording or a saved voice",
}


@dataclass(frozen=True, eq=False)
class Source:
    """A file on this machine, or what was read from elsewhere."""

    kind: str  # "image", "audio", "video" or, until its content is known, "media"
    name: str  # for messages
    data: Path | bytes

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The content as a file that seeks."""
        if isinstance(self.data, bytes):
            yield io.BytesIO(self.data)
            return
        with _opened(self.data, self.kind, self.name) as file:
            yield file

    def head(self, n_byte: int = 64) -> bytes:
        """The first bytes, which tell what it is."""
        with self.open() as file:
            return file.read(n_byte)

    @property
    def ending(self) -> str:
        """Of the name, in lower case: ".wav", or empty."""
        where = str(self.data) if isinstance(self.data, Path) else self.name.partition("?")[0]
        return os.path.splitext(where)[1].lower()


def is_location(value: Any) -> bool:
    """Whether find() takes it."""
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview))


def find(value: Any, kind: str, *, allow_remote: bool = False) -> Source:
    """What a user named or handed over.

    Args:
        value: path, URL (data:, file:, http, https) or the bytes of a file. A str is a URL or else a path.
        kind: what is expected; the errors say so.
        allow_remote: whether http(s) URLs are fetched.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no file can be read there.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Source(kind, f"{len(value)} bytes", bytes(value))
    if isinstance(value, os.PathLike):
        return _at_path(os.fsdecode(value), kind)
    scheme = value[:8].partition(":")[0].lower()
    if scheme == "data":
        return Source(kind, _short(value), _data_url(value, kind))
    if scheme in ("http", "https"):
        if not allow_remote:
            raise ValueError(
                f"[{kind}] expected a local file, got {_short(value)}: fetching is off; "
                "Model.load(..., allow_remote=True) or --allow-remote turns it on"
            )
        return Source(kind, _short(value), remote.fetch(value))
    return _at_path(url2pathname(urlsplit(value).path) if scheme == "file" else value, kind)


def decode_base64(data: Any, kind: str, name: str) -> bytes:
    """The bytes that a str or bytes of base64 stand for; white space in it does not count."""
    if not isinstance(data, (str, bytes)):
        raise TypeError(f"[{kind}] expected base64 in a str, got {type(data).__name__} ({name})")
    raw = data.encode("ascii", "replace") if isinstance(data, str) else data
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"[{kind}] expected base64, got {error} ({name})") from None


def _data_url(url: str, kind: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise ValueError(f"[{kind}] expected data:<type>;base64,<data>, got no comma ({_short(url)})")
    raw = unquote_to_bytes(body)
    return decode_base64(raw, kind, _short(url)) if head.lower().endswith(";base64") else raw


def _at_path(text: str, kind: str) -> Source:
    path, name = Path(text), _short(text)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise _refusal(error, kind, name) from None
    if stat.S_ISDIR(mode):
        raise _refusal(IsADirectoryError("a folder"), kind, name)
    if stat.S_ISREG(mode):
        return Source(kind, name, path)
    with _opened(path, kind, name) as file:
        data = file.read(remote.MAX_BYTES + 1)  # a pipe or a device, which may never end
    if len(data) > remote.MAX_BYTES:
        raise ValueError(f"[{kind}] expected at most {remote.MAX_BYTES} bytes, got more ({name})")
    return Source(kind, name, data)


@contextmanager
def _opened(path: Path, kind: str, name: str) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise _refusal(error, kind, name) from None
    with file:
        yield file


def _refusal(error: Exception, kind: str, name: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"[{kind}] expected {_FILES[kind]}, got nothing ({name})")
    reason = getattr(error, "strerror", None) or error
    return ValueError(f"[{kind}] expected {_FILES[kind]}, got: {reason} ({name!r})")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
