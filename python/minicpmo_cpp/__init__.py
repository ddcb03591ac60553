"""MiniCPM-o on the machine you own: text, images, sound and video in, text and speech out."""

from typing import TYPE_CHECKING, Any

import minicpmo_cpp.waiting  # noqa: F401  before anything else: it loads the engine's libraries

# isort: split
from minicpmo_cpp._core import (
    ContextFullError,
    GenerationInterruptedError,
    MiniCPMOError,
    ModelFileError,
    SessionLimitError,
    UnsupportedModelError,
    __version__,
    devices,
)
from minicpmo_cpp.answer import Answer
from minicpmo_cpp.audio_stream import AudioStream
from minicpmo_cpp.duplex import DuplexChunk, DuplexSession, DuplexSnapshot, UnitTimings
from minicpmo_cpp.hub.error import HubError
from minicpmo_cpp.memory_plan import MemoryNeed, MemoryPlan, plan_memory
from minicpmo_cpp.messages import system_prompt
from minicpmo_cpp.model import Model
from minicpmo_cpp.session import Session, SessionSnapshot
from minicpmo_cpp.tasks import TASKS
from minicpmo_cpp.tokenizer import Tokenizer
from minicpmo_cpp.types import Audio, ChatResult, Forward, Piece, Progress, Prompt, SpeechTimings, Timings
from minicpmo_cpp.voice import Voice

if TYPE_CHECKING:
    from minicpmo_cpp.official import MiniCPMO

# fmt: off
__all__ = [
    "TASKS", "Answer", "Audio", "AudioStream", "ChatResult", "ContextFullError", "DuplexChunk",
    "DuplexSession", "DuplexSnapshot", "Forward", "GenerationInterruptedError", "HubError", "MemoryNeed",
    "MemoryPlan", "MiniCPMO", "MiniCPMOError", "Model", "ModelFileError", "Piece", "Progress", "Prompt",
    "Session", "SessionLimitError", "SessionSnapshot", "SpeechTimings", "Timings", "Tokenizer",
    "UnitTimings", "UnsupportedModelError", "Voice", "__version__", "devices", "plan_memory",
    "system_prompt",
]
# fmt: on


def __getattr__(name: str) -> Any:
    """The official interface is imported when somebody asks for it."""
    if name == "MiniCPMO":
        from minicpmo_cpp.official import MiniCPMO

        return MiniCPMO
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
