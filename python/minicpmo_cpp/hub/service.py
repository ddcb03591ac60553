"""The hubs: where each has its listings and files, and which one is meant.

Hugging Face answers /api/models/REPOSITORY/revision/REVISION?blobs=true with a commit and, for each file, its
size and hash; files are at /REPOSITORY/resolve/COMMIT/PATH. ModelScope answers
/api/v1/models/REPOSITORY/repo/files with sizes and hashes alone; files are at
/api/v1/models/REPOSITORY/repo?Revision=...&FilePath=....
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from minicpmo_cpp.hub.error import HubError, explain
from minicpmo_cpp.hub.listing import Listing, make_listing
from minicpmo_cpp.hub.name import RepositoryName
from minicpmo_cpp.hub.transport import get_json

_MODELSCOPE_HOSTS = ("modelscope.cn", "modelscope.ai")


@dataclass(frozen=True)
class Hub(ABC):
    endpoint: str
    token: str | None

    access: ClassVar[str]  # how to get into a private repository, for people
    default_revision: ClassVar[str]

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """That let one in."""

    @abstractmethod
    def ref(self, revision: str) -> str:
        """What the cache calls a revision."""

    @abstractmethod
    def listing(self, repository: str, revision: str) -> Listing:
        """What there is. Raises HubError."""

    @abstractmethod
    def url(self, repository: str, revision: str, commit: str, path: str) -> str:
        """Where a file is."""


@dataclass(frozen=True)
class HuggingFace(Hub):
    access = "HF_TOKEN, or `hf auth login`, says who you are"
    default_revision = "main"

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def ref(self, revision: str) -> str:
        return revision

    def listing(self, repository: str, revision: str) -> Listing:
        url = f"{self.endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
        said = _ask(self, url, repository)
        return make_listing(said.get("sha"), self._entries(said.get("siblings"), url), url)

    def url(self, repository: str, revision: str, commit: str, path: str) -> str:
        return f"{self.endpoint}/{repository}/resolve/{commit}/{quote(path)}"

    @staticmethod
    def _entries(siblings: Any, where: str) -> Iterator[tuple[Any, Any, Any]]:
        for entry in _objects(siblings, where):
            large = entry.get("lfs")
            if isinstance(large, dict):
                yield entry.get("rfilename"), large.get("size"), large.get("sha256")
            else:
                yield entry.get("rfilename"), entry.get("size"), entry.get("blobId")


@dataclass(frozen=True)
class ModelScope(Hub):
    access = "MODELSCOPE_API_TOKEN says who you are"
    default_revision = "master"

    @property
    def headers(self) -> Mapping[str, str]:
        if self.token is None:
            return {}
        return {"Authorization": f"Bearer {self.token}", "Cookie": f"m_session_id={self.token}"}

    def ref(self, revision: str) -> str:
        return f"modelscope/{revision}"

    def listing(self, repository: str, revision: str) -> Listing:
        query = urlencode({"Revision": revision, "Recursive": "true"})
        url = f"{self.endpoint}/api/v1/models/{repository}/repo/files?{query}"
        said = _ask(self, url, repository)
        data = said.get("Data")
        if said.get("Code") != 200 or not isinstance(data, dict):
            message = repr(said.get("Message"))[:120]
            raise HubError(f"[hub] expected a listing, got {message} ({url})")
        files = [entry for entry in _objects(data.get("Files"), url) if entry.get("Type") != "tree"]
        entries = [(e.get("Path"), e.get("Size"), e.get("Sha256") or "") for e in files]
        # It names no commit: the contents are one.
        told = "\0".join(sorted(f"{path}\0{digest}" for path, _, digest in entries))
        commit = hashlib.sha1(told.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
        return make_listing(commit, entries, url)

    def url(self, repository: str, revision: str, commit: str, path: str) -> str:
        query = urlencode({"Revision": revision, "FilePath": path})
        return f"{self.endpoint}/api/v1/models/{repository}/repo?{query}"


def find_hub(name: RepositoryName, endpoint: str, token: str | None) -> Hub:
    """The hub that a name and the environment mean.

    MODEL_ENDPOINT, as llama.cpp calls it, goes before `endpoint`, which is huggingface_hub's; one of
    ModelScope's own hosts there, or ms:// before the name, means ModelScope. MODELSCOPE_DOMAIN and
    MODELSCOPE_API_TOKEN are its own package's.
    """
    chosen = os.environ.get("MODEL_ENDPOINT") or endpoint
    host = urlsplit(chosen).hostname or ""
    is_modelscope = any(host == known or host.endswith("." + known) for known in _MODELSCOPE_HOSTS)
    if not (is_modelscope or name.is_modelscope):
        return HuggingFace(_check_endpoint(chosen), token)
    if not is_modelscope:
        chosen = os.environ.get("MODELSCOPE_DOMAIN") or "www.modelscope.cn"
        chosen = chosen if "://" in chosen else f"https://{chosen}"
    return ModelScope(_check_endpoint(chosen), os.environ.get("MODELSCOPE_API_TOKEN") or None)


def _check_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise HubError(f"[hub] expected the http(s) address of a hub, got {endpoint[:120]!r}")
    return endpoint.rstrip("/")


def _ask(hub: Hub, url: str, repository: str) -> dict[str, Any]:
    try:
        said = get_json(url, hub.headers)
    except HubError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise explain(error, repository, hub.endpoint, hub.access) from None
    if not isinstance(said, dict):
        raise HubError(f"[hub] expected a listing, got {repr(said)[:120]} ({url})")
    return said


def _objects(entries: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise HubError(f"[hub] expected a list of files, got {repr(entries)[:120]} ({where})")
    return entries
