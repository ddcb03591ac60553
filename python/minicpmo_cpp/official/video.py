"""Videos for the official examples, under the names of the package minicpmo-utils."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minicpmo_cpp.audio import SAMPLE_RATE, to_samples
from minicpmo_cpp.duplex import DuplexChunk, UnitTimings
from minicpmo_cpp.live.film import write_film
from minicpmo_cpp.live.said_track import SaidTrack
from minicpmo_cpp.options import flag, integer
from minicpmo_cpp.types import Pixels, Samples
from minicpmo_cpp.video import MAX_FRAMES, read_units

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_UNITS = 3600
_MIN_LAST = 1600  # samples of the last segment, at least


def get_video_frame_audio_segments(
    video_path: str | os.PathLike[str],
    audio_path: str | os.PathLike[str] | None = None,
    last_vad_timestamp: None = None,
    stack_frames: int = 1,
    use_ffmpeg: bool = False,
    adjust_audio_length: bool = False,
    use_audio: bool = True,
) -> tuple[list[Image], list[Samples] | None, list[Image | None] | None]:
    """The frames of a video and the sound between them, unit by unit; see video.read_units.

    Args:
        video_path: a video file.
        audio_path: a file whose sound is taken instead of the video's own.
        last_vad_timestamp: only None.
        stack_frames: frames a second; those after the first are laid out as one picture.
        use_ffmpeg: changes nothing: PyAV, which has FFmpeg in it, decodes either way.
        adjust_audio_length: every segment has exactly one second, which live conversation needs. A video of
            more than 64 s then keeps a frame for every second; else it is sampled at 64 points.
        use_audio: whether there are segments of sound.

    Returns:
        (frames, segments, stacked frames): PIL images; float32 [n] at 16 kHz each, or None for a video
        without sound; PIL images, or None for seconds with one frame, or None with stack_frames=1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no video, is damaged or is beyond a limit; or an argument is.
        ImportError: PyAV or Pillow is missing.
    """
    if last_vad_timestamp is not None:
        raise ValueError(f"[official] expected None, got {last_vad_timestamp!r} (last_vad_timestamp)")
    flag("use_ffmpeg", use_ffmpeg)
    is_exact = flag("adjust_audio_length", adjust_audio_length) or audio_path is not None
    has_own = flag("use_audio", use_audio) and audio_path is None
    n_stack = integer("stack_frames", stack_frames)
    content = read_units(
        os.fspath(video_path),
        use_audio=has_own,
        stack_frames=n_stack,
        max_units=_MAX_UNITS,
        max_frames=_MAX_UNITS if is_exact else MAX_FRAMES,
    )
    frames, sounds, stacked = _split(content, n_stack > 1)
    segments = sounds if has_own and sounds else None
    if use_audio and audio_path is not None:
        segments = _seconds(to_samples(audio_path), len(frames))
    if segments is not None and adjust_audio_length:
        segments = [_second(segment) for segment in segments]
    pictures = [None if pixels is None else _picture(pixels) for pixels in stacked]
    return [_picture(pixels) for pixels in frames], segments, pictures if n_stack > 1 else None


def generate_duplex_video(
    video_path: str | os.PathLike[str],
    output_video_path: str | os.PathLike[str],
    results_log: Iterable[Mapping[str, Any]],
    timed_output_audio: Iterable[tuple[int, Samples]],
    output_sample_rate: int = 24000,
) -> str:
    """A video with what a live conversation about it said, heard and as subtitles; see live.film.

    Args:
        video_path: the video.
        output_video_path: .mp4, .mov or .mkv, which is replaced.
        results_log: {"chunk_idx", "is_listen", "text", "end_of_turn"} of each second; others change nothing.
        timed_output_audio: (chunk_idx, float32 [n]) of the seconds that sound.
        output_sample_rate: only 24000.

    Returns:
        output_video_path.

    Raises:
        FileNotFoundError: no such video.
        ValueError: the video is damaged, or another rate.
        OSError: the film cannot be written.
    """
    sounds = dict(timed_output_audio)
    track = SaidTrack()
    for result in results_log:
        unit, is_listen = result["chunk_idx"], bool(result.get("is_listen", True))
        track.add(
            DuplexChunk(
                unit=unit,
                is_listen=is_listen,
                text="" if is_listen else str(result.get("text", "")),
                audio=None if is_listen else sounds.get(unit),  # silence would put off what follows
                sample_rate=output_sample_rate,
                end_of_turn=bool(result.get("end_of_turn", False)),
                is_interrupted=False,
                listen_probability=0.0,
                speak_probability=0.0,
                token_ids=[],
                n_past=0,
                n_dropped_units=0,
                timings=UnitTimings(),
            )
        )
    write_film(video_path, output_video_path, track)
    return os.fspath(output_video_path)


def _split(
    content: list[Pixels | Samples], is_stacked: bool
) -> tuple[list[Pixels], list[Samples], list[Pixels | None]]:
    """What read_units gives, sorted. Only the last unit may have no stacked frames."""
    frames: list[Any] = []
    sounds: list[Any] = []
    stacked: list[Any] = []
    for item in content:
        if item.ndim == 1:
            sounds.append(item)
        elif is_stacked and len(stacked) < len(frames):
            stacked.append(item)
        else:
            frames.append(item)
    return frames, sounds, [*stacked, *[None] * (len(frames) - len(stacked))]


def _seconds(samples: Samples, n: int) -> list[Samples]:
    segments = [samples[i * SAMPLE_RATE : (i + 1) * SAMPLE_RATE] for i in range(n)]
    segments[-1] = np.pad(segments[-1], (0, max(0, _MIN_LAST - len(segments[-1]))))
    return segments


def _second(samples: Samples) -> Samples:
    """Exactly a second: cut, or followed by silence."""
    return np.pad(samples[:SAMPLE_RATE], (0, max(0, SAMPLE_RATE - len(samples))))


def _picture(pixels: Pixels) -> Image:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("[official] images need Pillow: pip install 'minicpmo-cpp[cli]'") from None
    return Image.fromarray(pixels)
