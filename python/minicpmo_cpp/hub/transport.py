"""Requests to a hub: GET over http(s), and redirections that stay there and carry no token along."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request

from minicpmo_cpp import remote
from minicpmo_cpp._core import __version__
from minicpmo_cpp.hub.error import HubError, is_passing

TIMEOUT_S = 30.0  # without a byte
MOST_LISTING_BYTES = 64 << 20
_SECRETS = ("authorization", "cookie")
_ATTEMPTS = 3
PAUSE_S = 1.0  # before the second one; longer before the third


class _Redirects(HTTPRedirectHandler):
    """Files lie elsewhere, behind addresses that are signed: the token is for the hub alone."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is None:
            return None
        before, after = urlsplit(req.full_url), urlsplit(following.full_url)
        if before.scheme == "https" and after.scheme != "https":
            raise URLError(f"a redirection from https to {after.scheme}")
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            for name in list(following.headers):
                if name.lower() in _SECRETS:
                    following.remove_header(name)
        return following

    http_error_308 = HTTPRedirectHandler.http_error_302  # Python 3.10 does not know it


def get(url: str, headers: Mapping[str, str]) -> HTTPResponse:
    """The open answer to a request.

    Raises:
        HTTPError: a status that is no success.
        OSError, HTTPException, ValueError: no answer, or an address that is none.
    """
    agent = {"User-Agent": f"minicpmo-cpp/{__version__}", "Accept-Encoding": "identity"}
    request = Request(url, headers={**agent, **headers})
    answer: HTTPResponse = remote.opener(_Redirects()).open(request, timeout=TIMEOUT_S)
    return answer


def get_json(url: str, headers: Mapping[str, str]) -> Any:
    """A JSON document of a hub. Raises as get() does, and HubError for something else than JSON."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with get(url, headers) as answer:
                body = answer.read(MOST_LISTING_BYTES + 1)
            break
        except (OSError, HTTPException) as error:
            is_connected = isinstance(error, HTTPError) or not isinstance(error, URLError)
            if attempt == _ATTEMPTS or not is_connected or not is_passing(error):
                raise
            if isinstance(error, HTTPError):
                error.close()
            time.sleep(PAUSE_S * attempt)
    if len(body) > MOST_LISTING_BYTES:
        raise HubError(f"[hub] expected a listing of at most {MOST_LISTING_BYTES} bytes, got more ({url})")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        shown = body[:60].decode("utf-8", "replace")
        raise HubError(f"[hub] expected JSON, got {shown!r} ({url})") from None
