"""A hub on 127.0.0.1 that speaks Hugging Face's API and ModelScope's, keeps a log, and misbehaves if told to.

Files of a repository are at /OWNER/NAME/resolve/COMMIT/PATH, which redirects to another host's name, as the
hub does; of ModelScope they come at once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

REPOSITORY = "org/model-gguf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = 200  # bytes: smaller files are no LFS files, and have Git's hash


@dataclass
class Sent:
    """One answer, as the log keeps it."""

    path: str  # of the repository's file; or of the request
    first: int  # byte
    n_byte: int
    status: int
    headers: dict[str, str]  # of the request


@dataclass
class Misdeeds:
    """What the server does wrong with a file, by its path."""

    cuts: dict[str, list[int]] = field(default_factory=dict)  # ends each next answer after so many bytes
    stalls: dict[str, list[int]] = field(
        default_factory=dict
    )  # sends so many bytes in each next one, then nothing
    damaged: set[str] = field(default_factory=set)  # one bit is another
    surplus: dict[str, bytes] = field(default_factory=dict)  # sent behind the file
    total: dict[str, int] = field(default_factory=dict)  # said to be its size by its answers
    status: dict[str, list[int]] = field(default_factory=dict)  # of the next answers
    ignores_ranges: bool = False
    wrong_range: bool = False
    listing: Any = None  # instead of the true one
    compressed: bool = False
    location: str = ""  # where all redirections lead


class HubServer:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commit = COMMIT
        self.revisions = {"main", "master", COMMIT}
        self.token: str | None = None  # without it: 401
        self.is_gated = False
        self.misdeeds = Misdeeds()
        self.log: list[Sent] = []
        self.released = threading.Event()  # ends what stalls
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[HubServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def sent(self, path: str) -> list[Sent]:
        """Answers with bytes of a file."""
        return [sent for sent in self.log if sent.path == path and sent.status in (200, 206)]

    @property
    def fetched(self) -> set[str]:
        """Paths of the files that were asked for."""
        return {sent.path for sent in self.log if sent.path in self.files}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _hugging_face(hub: HubServer) -> dict[str, Any]:
    siblings = []
    for path, data in hub.files.items():
        entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_hash(data)}
        if len(data) >= SMALL:
            entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        siblings.append(entry)
    return {"id": REPOSITORY, "sha": hub.commit, "private": False, "siblings": siblings}


def _modelscope(hub: HubServer) -> dict[str, Any]:
    files: list[dict[str, Any]] = [
        {
            "Name": path.rpartition("/")[2],
            "Path": path,
            "Type": "blob",
            "Size": len(data),
            "Sha256": sha256(data),
            "Revision": COMMIT[::-1],
            "IsLFS": len(data) >= SMALL,
        }
        for path, data in hub.files.items()
    ]
    folders = {path.rpartition("/")[0] for path in hub.files} - {""}
    files += [{"Name": f, "Path": f, "Type": "tree", "Size": 0, "Sha256": ""} for f in sorted(folders)]
    return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": files}}


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            path, query = unquote(address.path), parse_qs(address.query)
            parts = address.path.split("/")
            if path.startswith("/cdn/"):
                self._file(path.removeprefix("/cdn/"))
            elif path.startswith("/api/v1/models/"):
                self._of_modelscope(path, query)
            elif path.startswith("/api/models/"):
                repository, _, revision = path.removeprefix("/api/models/").partition("/revision/")
                if self._is_let_in(repository) and self._has(revision):
                    self._json(200, _hugging_face(hub))
            elif parts[3:4] == ["resolve"]:
                repository, name = "/".join(parts[1:3]), unquote("/".join(parts[5:]))
                if self._is_let_in(repository) and self._has(parts[4]):
                    self._redirect(name)
            else:
                self._json(404, {"error": "no such page"})

        def do_HEAD(self) -> None:
            parts = urlsplit(self.path).path.split("/")
            if parts[3:4] == ["resolve"]:  # huggingface_hub asks so for each file
                self._redirect(unquote("/".join(parts[5:])))
            else:
                self.send_error(404)

        def _of_modelscope(self, path: str, query: dict[str, list[str]]) -> None:
            repository, _, kind = path.removeprefix("/api/v1/models/").partition("/repo")
            if repository != REPOSITORY or query.get("Revision", [""])[0] not in hub.revisions:
                self._json(404, {"Code": 10010205001, "Message": "not found"})
            elif hub.token is not None and f"m_session_id={hub.token}" != self.headers.get("Cookie"):
                self._json(403, {"Code": 10010205002, "Message": "no access"})
            elif kind == "/files":
                self._json(200, _modelscope(hub))
            else:
                self._file(query["FilePath"][0])

        def _is_let_in(self, repository: str) -> bool:
            is_known = hub.token is None or self.headers.get("Authorization") == f"Bearer {hub.token}"
            if repository != REPOSITORY or not is_known:
                self._json(401, {"error": "Invalid username or password."}, "RepoNotFound")
            elif hub.is_gated:
                self._json(403, {"error": "Access is restricted."}, "GatedRepo")
            else:
                return True
            return False

        def _has(self, revision: str) -> bool:
            if revision in hub.revisions:
                return True
            self._json(404, {"error": "Invalid rev id"}, "RevisionNotFound")
            return False

        def _redirect(self, name: str) -> None:
            data = hub.files[name]
            self.send_response(302)
            elsewhere = hub.misdeeds.location or f"http://localhost:{hub.port}/cdn/{quote(name)}"
            self.send_header("Location", elsewhere)
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("X-Linked-Etag", f'"{sha256(data)}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _file(self, name: str) -> None:
            data, wrong = hub.files[name], hub.misdeeds
            if wrong.status.get(name):
                status = wrong.status[name].pop(0)
                hub.log.append(Sent(name, 0, 0, status, dict(self.headers)))
                self._json(status, {"error": "later"}, is_logged=False)
                return
            if name in wrong.damaged:
                data = data[:-1] + bytes([data[-1] ^ 1])
            first, wanted = 0, self.headers.get("Range")
            if wanted and not wrong.ignores_ranges:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            total = wrong.total.get(name, len(data))
            self.send_response(206 if wanted and not wrong.ignores_ranges else 200)
            if wanted and not wrong.ignores_ranges:
                said = first + 1 if wrong.wrong_range else first
                self.send_header("Content-Range", f"bytes {said}-{total - 1}/{total}")
            if wrong.compressed:
                self.send_header("Content-Encoding", "gzip")
            if name not in wrong.surplus:  # where a length is said, no client reads on
                self.send_header("Content-Length", str(total - first))
            self.send_header("ETag", f'"{sha256(hub.files[name])}"')
            self.end_headers()
            body = data[first:] + wrong.surplus.get(name, b"")
            if wrong.cuts.get(name):
                body = body[: wrong.cuts[name].pop(0)]
            stalls = bool(wrong.stalls.get(name))
            if stalls:
                body = body[: wrong.stalls[name].pop(0)]
            status = 206 if wanted and not wrong.ignores_ranges else 200
            hub.log.append(Sent(name, first, len(body), status, dict(self.headers)))
            self.wfile.write(body)
            if stalls:
                self.wfile.flush()
                hub.released.wait()

        def _json(self, status: int, value: Any, code: str = "", *, is_logged: bool = True) -> None:
            if status == 200 and hub.misdeeds.listing is not None:
                value = hub.misdeeds.listing
            if status == 200 and hub.misdeeds.status.get("listing"):
                status = hub.misdeeds.status["listing"].pop(0)
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            if is_logged:
                hub.log.append(Sent(self.path, 0, len(body), status, dict(self.headers)))
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """The log above is enough."""

    return Handler
