"""Models from a hub: Hugging Face's, one that speaks its API, or ModelScope.

A repository's listing says what there is, `choice` picks what a run needs by name, `download` brings it into
the hub's own cache, checked, and the engine tells by content what each file is.
"""

from minicpmo_cpp.hub.error import HubError
from minicpmo_cpp.hub.fetch import Fetched, fetch_checkpoint, fetch_model

__all__ = ["Fetched", "HubError", "fetch_checkpoint", "fetch_model"]
