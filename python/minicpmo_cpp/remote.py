"""Fetching a file over http(s), within limits. Nothing here runs unless the user allowed it."""

from __future__ import annotations

import time
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

MAX_BYTES = 64 << 20
TIMEOUT_S = 20.0  # without a byte
TOTAL_S = 120.0  # in all

_CHUNK = 1 << 16


def fetch(url: str) -> bytes:
    """The body of a http(s) URL; ValueError with the URL and the reason otherwise."""
    deadline = time.monotonic() + TOTAL_S
    body = bytearray()
    try:
        request = Request(url, headers={"User-Agent": "minicpmo-cpp"})
        with opener(HTTPRedirectHandler()).open(request, timeout=TIMEOUT_S) as answer:
            while chunk := answer.read(_CHUNK):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"at most {MAX_BYTES} bytes, got more")
                if time.monotonic() > deadline:
                    raise ValueError(f"an answer within {TOTAL_S:.0f} s, got {len(body)} bytes")
    except Exception as error:  # of sockets, TLS, HTTP and malformed URLs
        reason = str(error) if str(error).startswith(("at most", "an answer")) else f"a file, got {error}"
        raise ValueError(f"[remote] expected {reason} ({url[:120]})") from None
    return bytes(body)


def opener(redirects: HTTPRedirectHandler) -> OpenerDirector:
    """Speaks http and https only, so that a redirection cannot lead to a file or to FTP."""
    director = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        redirects,
        HTTPErrorProcessor(),
    ):
        director.add_handler(handler)
    return director
