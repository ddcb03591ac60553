"""HubError, and what the failures of a connection mean."""

from __future__ import annotations

from email.message import Message
from urllib.error import HTTPError

from minicpmo_cpp._core import ModelFileError

_SHOWN = 200  # characters of what a server says


class HubError(ModelFileError):
    """A model cannot be had from a hub."""


class UnreachableError(HubError):
    """The hub does not answer: what is in the cache may do instead."""


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    return not isinstance(error, HTTPError) or error.code in (408, 425, 429) or error.code >= 500


def explain(error: Exception, repository: str, endpoint: str, access: str) -> HubError:
    """What a failed request means.

    Args:
        error: of urllib, http.client or a socket.
        repository: that was asked for.
        endpoint: of the hub.
        access: how one gets into a private repository.
    """
    where = f"{repository} at {endpoint}"
    if not isinstance(error, HTTPError):
        reason = getattr(error, "reason", None) or error
        said = reason if str(reason) else type(reason).__name__
        return UnreachableError(f"[hub] expected an answer, got: {said} ({where})")
    code, headers = error.code, error.headers or Message()
    error.close()
    kind = headers.get("X-Error-Code", "")
    if kind == "GatedRepo":
        return HubError(
            f"[hub] expected an open repository, got one whose conditions are to be accepted first, at "
            f"{endpoint}/{repository}; then {access} ({where})"
        )
    if kind == "RevisionNotFound":
        return HubError(f"[hub] expected a branch, tag or commit of it, got none of that name ({where})")
    if code in (401, 404) and kind != "EntryNotFound":
        return HubError(
            f"[hub] expected a repository, got HTTP {code}: there is none of that name, or it is private, "
            f"and {access} ({where})"
        )
    if code == 403:
        return HubError(f"[hub] expected access, got HTTP 403: {access} ({where})")
    if code == 404:
        return HubError(f"[hub] expected a file, got HTTP 404 ({where})")
    text = f"[hub] expected an answer, got HTTP {code} {_short(error.reason)} ({where})"
    return UnreachableError(text) if is_passing(error) else HubError(text)


def _short(text: object) -> str:
    line = str(text)[:_SHOWN]
    return "".join(c if c.isprintable() else "?" for c in line)
