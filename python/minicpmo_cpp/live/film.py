"""What a duplex conversation leaves behind: a film with what was said in it, or a recording of both sides.

PyAV and Pillow write films, soundfile writes recordings: pip install 'minicpmo-cpp[cli,video]'.
"""

from __future__ import annotations

import heapq
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp import audio, sound_file, video
from minicpmo_cpp.live.captions import Captions
from minicpmo_cpp.live.said_track import SAID_RATE, Cue, SaidTrack
from minicpmo_cpp.sound_file import ENDINGS, check_path, to_pcm
from minicpmo_cpp.source import Source
from minicpmo_cpp.types import Pixels, Samples

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FILMS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}  # ending -> FFmpeg's name
SUBTITLES = ("burned", "track", "none")

_FILM_RATE = 48000  # of a film's sound
_TICK = Fraction(1, 60000)  # of a film's clock: whole numbers for the usual frame rates
_MILLISECOND = Fraction(1, 1000)
_MAX_GAP_S = 3600.0  # between two frames: recordings of screens have few; more is damage
_MAX_SHIFT_S = 10.0  # between the beginnings of a video's tracks

_Stereo: TypeAlias = NDArray[np.float32]  # [2, n] at _FILM_RATE
_Timed: TypeAlias = "tuple[float, list[Packet[Any]]]"  # seconds; what a film consists of


def check_output(path: Path, original: Path | None = None) -> None:
    """Whether a film or a recording can be written there, before it is made.

    Raises:
        ValueError: the ending is that of neither, or the original would be overwritten.
        OSError: no file can be written there.
    """
    if original is not None and path.exists() and original.exists() and path.samefile(original):
        raise ValueError(f"[output] expected another file than the one that is heard, got {path}")
    ending = path.suffix.lower()
    if ending in ENDINGS:
        check_path(path)
        return
    if ending not in FILMS:
        raise ValueError(f"[output] expected a file {', '.join((*ENDINGS, *FILMS))}, got {path}")
    if not path.parent.is_dir():
        raise OSError(f"[output] expected a folder, got none ({path.parent})")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OSError(f"[output] expected a file that can be written, got one that cannot ({path})")


def write_sound(path: str | os.PathLike[str], track: SaidTrack, heard: Samples) -> None:
    """A recording that keeps both sides apart: left what was heard, right what was said.

    Args:
        path: .wav or .flac; 24 kHz, 16 bits.
        heard: float32 [n] at 16 kHz.
    """
    where = Path(path)
    check_path(where)
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        raise ImportError("[output] two channels need soundfile: pip install 'minicpmo-cpp[cli]'") from None
    left = _resampled(heard, audio.SAMPLE_RATE, SAID_RATE)
    right = track.samples(len(left) / SAID_RATE)
    both = np.stack([np.pad(left, (0, len(right) - len(left))), right], axis=1)
    encoded = io.BytesIO()  # libsndfile would print the errors of a file instead of raising them
    soundfile.write(encoded, to_pcm(both), SAID_RATE, format=where.suffix[1:].upper(), subtype="PCM_16")
    with _writing(where) as file:
        file.write(encoded.getbuffer())


def write_film(
    source: str | os.PathLike[str] | bytes | Source,
    path: str | os.PathLike[str],
    track: SaidTrack,
    *,
    subtitles: str = "burned",
    font: str | None = None,
    seconds: float = float("inf"),
    on_progress: Callable[[float], None] | None = None,
) -> str:
    """A video with what was said in it: H.264, and AAC with both sounds in both ears.

    Where the two are too loud together, the whole of the sound is made quieter. The last picture stays until
    all is said.

    Args:
        source: path or bytes of the video that the conversation was about.
        path: .mp4, .mov or .mkv.
        subtitles: "burned" into the pictures, a "track" that players turn on and off, or "none".
        font: font file for burned subtitles; if None a known one that has their characters.
        seconds: how much of the video.
        on_progress: is told how many seconds are written.

    Returns:
        Characters of burned subtitles that the font does not have; usually none.

    Raises:
        FileNotFoundError: no such video.
        ValueError: the video is damaged or would be overwritten, or an argument is wrong.
        OSError: the film cannot be written.
        ImportError: PyAV, soxr or, for burned subtitles, Pillow is missing.
    """
    where = Path(path)
    kind = FILMS.get(where.suffix.lower())
    if kind is None:
        raise ValueError(f"[output] expected a film {', '.join(FILMS)}, got {where}")
    if subtitles not in SUBTITLES:
        raise ValueError(f"[output] expected subtitles {', '.join(SUBTITLES)}, got {subtitles!r}")
    file = video._found(source, "video", None)
    check_output(where, file.data if isinstance(file.data, Path) else None)
    cues = [] if subtitles == "none" else track.cues()
    captions = Captions(cues if subtitles == "burned" else [], font)
    facts = _facts(file)
    end_s = max([track.seconds, *(cue.end_s for cue in cues)])
    pictures = _filled(_pictures(file, seconds), float(1 / facts.rate), end_s)
    said = _resampled(track.samples(), SAID_RATE, _FILM_RATE)

    def mixed() -> Iterator[_Stereo]:
        return _mixed(_sounds(file, facts.shift, seconds), said)

    peaks = [float(np.abs(block).max()) for block in mixed()]
    import av

    with _writing(where) as out, av.open(out, "w", format=kind) as film:
        parts = [_picture_packets(film, facts, pictures, captions)]
        if peaks:
            parts.append(_sound_packets(film, mixed(), 1 / max(1.0, *peaks)))
        if subtitles == "track" and cues:
            parts.append(_word_packets(film, cues, kind))
        for time_s, packets in heapq.merge(*parts, key=lambda timed: timed[0]):
            film.mux(packets)
            if on_progress is not None:
                on_progress(time_s)
    return captions.missing


@dataclass(frozen=True)
class _Facts:
    """What the film takes over from the video."""

    rate: Fraction  # pictures a second
    aspect: Fraction | None  # of a pixel
    colours: tuple[int, int, int]  # matrix, primaries and curve in FFmpeg's codes; 2 is the player's to guess
    shift: int  # samples from the beginning of the pictures to that of the sound


def _facts(file: Source) -> _Facts:
    with video._opened(file) as container:
        pictures, sound = video._video_stream(container, file.name), container.streams.best("audio")
        rate = Fraction(video._average_rate(pictures, file.name)).limit_denominator(1001)
        rate = max(rate, Fraction(1, 1001))
        begins = [
            float(stream.start_time * stream.time_base)
            for stream in (pictures, sound)
            if stream is not None and stream.start_time is not None and stream.time_base is not None
        ]
        shift_s = begins[-1] - begins[0] if len(begins) == 2 else 0.0
        if abs(shift_s) > _MAX_SHIFT_S:  # damage
            shift_s = 0.0
        context = pictures.codec_context
        matrix = {1: 1, 9: 1, 2: 2}.get(context.colorspace, 6)  # BT.709, BT.601 or not known
        colours = (matrix, context.color_primaries, context.color_trc)
        return _Facts(rate, pictures.sample_aspect_ratio, colours, round(shift_s * _FILM_RATE))


def _pictures(file: Source, limit_s: float) -> Iterator[tuple[float, Pixels]]:
    """(seconds since the first, picture) of the frames of a video; the seconds only grow."""
    begin_s = time_s = None
    with video._opened(file) as container:
        stream = video._video_stream(container, file.name)
        step_s = 1 / video._average_rate(stream, file.name)
        for frame in _frames(container, stream):
            if begin_s is None or time_s is None:
                begin_s = time_s = frame.time or 0.0
            elif frame.time is not None and 0 < frame.time - time_s <= _MAX_GAP_S:
                time_s = frame.time
            else:
                time_s += step_s
            if time_s - begin_s >= limit_s:
                return
            yield time_s - begin_s, video._pixels(frame, stream.width, stream.height)
    if begin_s is None:
        raise ValueError(f"[video] expected a video, got one without frames ({file.name})")


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Without those that are damaged: a film that was cut off ends with one."""
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            continue


def _filled(
    pictures: Iterator[tuple[float, Pixels]], step_s: float, end_s: float
) -> Iterator[tuple[float, Pixels]]:
    """The last picture again and again until the end."""
    for time_s, pixels in pictures:
        yield time_s, pixels
    while (time_s := time_s + step_s) < end_s:
        yield time_s, pixels


def _mixed(sounds: Iterator[_Stereo], said: Samples) -> Iterator[_Stereo]:
    """The sound of a video, as long as it lasts, with what was said, as long as that does, block by block."""
    n_done = 0
    for block in sounds:
        part = said[n_done : n_done + block.shape[1]]
        block[:, : len(part)] += part
        n_done += block.shape[1]
        yield block
    for begin in range(n_done, len(said), _FILM_RATE):
        part = said[begin : begin + _FILM_RATE]
        yield np.stack([part, part])


def _sounds(file: Source, shift: int, limit_s: float) -> Iterator[_Stereo]:
    """The sound of a video, if it has any, from its first picture on."""
    n_skip, n_left = -shift, limit_s * _FILM_RATE
    for block in _stereo(file):
        if n_skip < 0:
            block = np.pad(block, ((0, 0), (-n_skip, 0)))
        n_skip, block = max(0, n_skip - block.shape[1]), block[:, max(0, n_skip) :]
        block = block[:, : int(min(n_left, block.shape[1]))]
        n_left -= block.shape[1]
        if block.size:
            yield np.ascontiguousarray(block)
        if n_left <= 0:
            return


def _stereo(file: Source) -> Iterator[_Stereo]:
    """Of two channels both; any other number is averaged, as for the model."""
    import soxr

    stream = None
    for block, rate in video._sound_blocks(file):
        stream = stream or soxr.ResampleStream(rate, _FILM_RATE, 2, dtype="float32", quality="HQ")
        sides = [block[:, :1], block[:, 1:]] if block.shape[1] == 2 else [block, block]
        both = np.stack([audio._mono(side, 0, file.name) for side in sides], axis=1)
        yield stream.resample_chunk(both).T
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, 2), np.float32), last=True).T


def _resampled(samples: Samples, rate: int, to_rate: int) -> Samples:
    try:
        import soxr
    except ImportError:
        raise ImportError("[output] mixing sounds needs soxr: pip install 'minicpmo-cpp[cli]'") from None
    return np.asarray(soxr.resample(samples, rate, to_rate), np.float32)


def _picture_packets(
    film: OutputContainer, facts: _Facts, pictures: Iterator[tuple[float, Pixels]], captions: Captions
) -> Iterator[_Timed]:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    if "libx264" in av.codecs_available:
        stream = film.add_stream("libx264", rate=facts.rate, options={"preset": "veryfast", "crf": "20"})
    else:  # FFmpeg can be built without it
        stream = film.add_stream("mpeg4", rate=facts.rate, options={"q": "3"})
    stream.pix_fmt, context = "yuv420p", stream.codec_context
    context.time_base, context.color_range = _TICK, ColorRange.MPEG
    context.colorspace, context.color_primaries, context.color_trc = facts.colours
    if facts.aspect is not None:
        context.sample_aspect_ratio = facts.aspect
    matrix = Colorspace.ITU709 if facts.colours[0] == 1 else Colorspace.ITU601  # as the pixels were read
    time_s, tick = 0.0, -1
    for time_s, pixels in pictures:
        if tick < 0:
            stream.height, stream.width = (n + n % 2 for n in pixels.shape[:2])  # four pixels share a colour
        tick = max(tick + 1, round(time_s / _TICK))
        frame = av.VideoFrame.from_ndarray(captions.on(pixels, time_s), "rgb24")
        frame = frame.reformat(stream.width, stream.height, "yuv420p", dst_colorspace=matrix)
        frame.pts, frame.time_base = tick, _TICK
        yield time_s, stream.encode(frame)
    yield time_s, stream.encode()


def _sound_packets(film: OutputContainer, blocks: Iterator[_Stereo], gain: float) -> Iterator[_Timed]:
    import av

    stream = film.add_stream("aac", rate=_FILM_RATE, layout="stereo")
    n_done = 0
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(block * np.float32(gain), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = _FILM_RATE, n_done, Fraction(1, _FILM_RATE)
        yield n_done / _FILM_RATE, stream.encode(frame)
        n_done += block.shape[1]
    yield n_done / _FILM_RATE, stream.encode()


def _word_packets(film: OutputContainer, cues: list[Cue], kind: str) -> Iterator[_Timed]:
    import av

    is_counted = kind != "matroska"  # words follow their length
    stream = film.add_stream("mov_text" if is_counted else "subrip")
    stream.codec_context.subtitle_header = b"[Script Info]\n"  # no style: the player's
    stream.codec_context.time_base = _MILLISECOND
    for cue in cues:
        words = cue.text.encode()
        packet = av.Packet(len(words).to_bytes(2, "big") + words if is_counted else words)
        packet.stream, packet.time_base = stream, _MILLISECOND
        begin, end = round(1000 * cue.begin_s), round(1000 * cue.end_s)
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        yield cue.begin_s, [packet]


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """A file that vanishes again unless it is written to its end."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise sound_file._refusal(error, path) from None
    try:
        with file:
            yield file
    except BaseException as error:
        path.unlink(missing_ok=True)
        # FFmpeg's errors have a strerror, as those of the system do.
        is_foreign = hasattr(error, "strerror") and not re.match(r"\[[a-z]+\] ", str(error))
        if isinstance(error, Exception) and is_foreign:
            raise sound_file._refusal(error, path) from None
        raise
