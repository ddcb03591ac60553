"""Options: what the official keywords mean for Model.chat, Session and DuplexSession."""

from __future__ import annotations

import warnings
from typing import Any

from minicpmo_cpp.options import flag


def check_fixed(**given: tuple[Any, Any]) -> None:
    """Refuses keywords with a value that nothing here corresponds to.

    Args:
        given: name=(value, the only one there is).

    Raises:
        ValueError: naming the keyword.
    """
    for name, (value, only) in given.items():
        if type(value) is not type(only) or value != only:
            raise ValueError(f"[official] expected {only!r}, got {value!r:.60} ({name})")


def drawn_at(do_sample: Any, temperature: float, num_beams: int | None = None) -> float:
    """The temperature that tokens are drawn at: 0, which takes the likeliest, without do_sample.

    There is no beam search: more beams than one are one, with a warning.
    """
    if num_beams not in (None, 1):
        message = f"[official] expected num_beams=1, got {num_beams!r}: answers are sampled without beams"
        warnings.warn(message, stacklevel=3)
    return temperature if flag("do_sample", do_sample) else 0.0


def check_speech_sampling(params: Any) -> None:
    """Warns that a speech sampler's settings are not used: speech codes are drawn with the official ones."""
    if params is not None:
        message = "[official] expected no tts_sampling_params: speech is sampled with the official defaults"
        warnings.warn(message, stacklevel=3)
