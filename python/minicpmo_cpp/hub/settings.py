"""What huggingface_hub's settings say: the cache, the endpoint, the token, whether to stay offline."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicpmo_cpp.hub.error import HubError


@dataclass(frozen=True)
class Library:
    """The parts of huggingface_hub that are used here; the same from 0.26 to 2.4."""

    constants: Any
    get_token: Any
    WeakFileLock: Any


@dataclass(frozen=True)
class Settings:
    cache: Path
    endpoint: str
    token: str | None
    is_offline: bool


def library() -> Library:
    """Raises HubError where it is not installed."""
    try:
        import rich.progress  # noqa: F401  of the same extra
        from huggingface_hub import constants, get_token
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]
    except ImportError as missing:
        raise HubError(
            f"[hub] expected the package huggingface_hub, got: {missing}; pip install 'minicpmo-cpp[hub]'"
        ) from None
    return Library(constants, get_token, WeakFileLock)


def settings(
    *, cache_dir: str | os.PathLike[str] | None, token: str | bool | None, offline: bool
) -> Settings:
    """The environment's (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE) and what is said here.

    Args:
        cache_dir: instead of the environment's.
        token: a token; True or None takes the environment's or that of a login, False none.
        offline: whether to stay so, whatever the environment says.
    """
    hub = library()
    said = token if isinstance(token, str) else None
    is_implicit = token is True or (token is None and not hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN)
    return Settings(
        cache=Path(hub.constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser(),
        endpoint=hub.constants.ENDPOINT,
        token=said if not is_implicit else hub.get_token(),
        is_offline=offline or hub.constants.HF_HUB_OFFLINE,
    )
