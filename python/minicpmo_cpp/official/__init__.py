"""The method names and keywords of MiniCPM-o 4.5's Python code, over Model and its sessions.

A program for the official code runs here when it loads its model with

    from minicpmo_cpp.official import MiniCPMO
    model = MiniCPMO.from_pretrained("model.gguf")

What differs is in docs/official.md. New programs are better off with minicpmo_cpp.Model.
"""

from minicpmo_cpp.official.duplex import MiniCPMODuplex
from minicpmo_cpp.official.model import MiniCPMO
from minicpmo_cpp.official.processor import MiniCPMOProcessor
from minicpmo_cpp.official.video import generate_duplex_video, get_video_frame_audio_segments

__all__ = [
    "MiniCPMO",
    "MiniCPMODuplex",
    "MiniCPMOProcessor",
    "generate_duplex_video",
    "get_video_frame_audio_segments",
]
