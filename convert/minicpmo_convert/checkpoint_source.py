"""Where a checkpoint is: in a folder, or in a repository on a hub, from which it is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from minicpmo_convert.error import ConvertError

_REPOSITORY = re.compile(r"((ms|modelscope)://)?\w[\w.-]*/\w[\w.-]*")


def find_checkpoint(given: str) -> Path:
    """The folder of a checkpoint. What is no path here and looks like OWNER/NAME is a repository.

    Raises:
        ConvertError: the repository cannot be had.
    """
    if Path(given).exists() or not _REPOSITORY.fullmatch(given):
        return Path(given)
    try:
        from minicpmo_cpp.hub import HubError, fetch_checkpoint
    except ImportError as error:
        raise ConvertError(
            f"[checkpoint] expected a folder, or minicpmo_cpp for a repository, got {error} ({given})"
        ) from None
    try:
        return fetch_checkpoint(given).path
    except HubError as error:
        raise ConvertError(str(error)) from None
