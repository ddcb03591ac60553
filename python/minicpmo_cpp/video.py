"""Videos as users have them -> the pictures and the sound that an omni message consists of.

The reference walks a video second by second and keeps the frame each second begins with, numbering frames as
if their rate were constant; a video of more than 64 s is sampled at 64 points, evenly from its beginning to
its end. The sound between two points goes with the first of them. Further frames of the same span ("stacked")
are laid out as one picture. PyAV decodes: pip install 'minicpmo-cpp[video]'.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minicpmo_cpp.audio import SAMPLE_RATE, Block, gather
from minicpmo_cpp.mosaic import mosaic
from minicpmo_cpp.source import Source, find
from minicpmo_cpp.types import Pixels, Samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_FRAMES = 64  # that the reference takes from one video
MAX_PIXELS = 139264 * 256  # of one frame: the most that H.264, HEVC and AV1 have a level for
MAX_BYTES = 4 << 30  # of all frames that are kept

_MAX_RATE = 1000  # frames per second
_MAX_FPS = 10.0  # units per second: a unit has no less than the 1600 samples of the shortest
_MAX_STACK = 64
_MIN_LAST = 1600  # samples of the last unit, at least
_GRID = 0.1  # seconds between the points that a long video is sampled at
# Containers of video and audio only: other demuxers read playlists, which name further files and addresses.
_FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg", "asf", "ivf", "gif",
    "wav", "w64", "mp3", "flac", "aac", "aiff", "amr", "caf", "au", "ac3", "eac3", "ape", "wv", "tta",
)  # fmt: skip


def read_units(
    source: str | os.PathLike[str] | bytes | Source,
    *,
    use_audio: bool = True,
    stack_frames: int = 1,
    fps: float = 1.0,
    max_units: int = 3600,
    max_frames: int = MAX_FRAMES,
    name: str | None = None,
) -> list[Pixels | Samples]:
    """What a video consists of for the model, in the order in which it is read.

    Unit i shows the frame at i / fps seconds and sounds until the next unit; the last one ends with the video
    and has at least 1600 samples, silence where the track has none. A track that ends earlier leaves units
    with fewer samples, even none. Frames are counted, as in the reference: time x average rate is a frame's
    number, whatever its own timestamp says. Both tracks count from their first frame.

    Args:
        source: path or bytes of a file.
        use_audio: whether the sound is read.
        stack_frames: frames per unit; those after the first, at k / stack_frames of it, make one picture.
        fps: units per second. The model was made for one per second.
        max_units: a video of more is refused.
        max_frames: a video of more units is sampled at this many points, multiples of 0.1 s; its units are
            longer then.
        name: what messages call the file.

    Returns:
        Per unit: uint8 [h, w, 3]; float32 [n] at 16 kHz if there is an audio track and use_audio; uint8
        [h, w, 3] if stack_frames > 1 and the unit has more frames.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no video, is damaged or is beyond a limit; or an argument is.
        ImportError: PyAV is missing.
    """
    _check_arguments(stack_frames, fps, max_units, max_frames)
    file = _found(source, "video", name)
    plan = _plan(file, stack_frames, fps, max_units, max_frames)
    sound = _sound_of_video(file, plan) if use_audio else None
    content: list[Pixels | Samples] = []
    with _opened(file) as container:
        frames = _chosen_frames(container, plan, file.name)
        for i, unit in enumerate(plan.units):
            content.append(next(frames))
            if sound is not None:
                content.append(_sound_of_unit(sound, plan, i))
            if unit.stacked:
                content.append(mosaic(list(itertools.islice(frames, len(unit.stacked)))))
    return content


def read_frames(
    source: str | os.PathLike[str] | bytes | Source,
    *,
    fps: float,
    max_units: int,
    max_frames: int,
    name: str | None,
) -> tuple[list[Pixels], list[float]]:
    """What read_units shows, without what sounds or is stacked, and where in the video it is, in seconds."""
    _check_arguments(1, fps, max_units, max_frames)
    file = _found(source, "video", name)
    plan = _plan(file, 1, fps, max_units, max_frames)
    with _opened(file) as container:
        return list(_chosen_frames(container, plan, file.name)), [unit.start for unit in plan.units]


def read_audio(
    source: str | os.PathLike[str] | bytes | Source, *, name: str | None = None
) -> tuple[Iterator[Block], int]:
    """The audio track of a file that libsndfile does not read (m4a, mp4, webm, ...), block by block.

    Up to three of a track's packets may be damaged, and of a long track one in fifty; they are left out.

    Args:
        source: path or bytes of a file.
        name: what messages call the file.

    Returns:
        The blocks, [n, channels] in the type that the codec decodes to (PCM of 8, 16 or 32 bits, or floats);
        and their rate in Hz. A damaged file may also raise while the blocks are read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no audio or is damaged.
        ImportError: PyAV is missing.
    """
    file = _found(source, "audio", name)
    sound = _sound(file)
    if sound is None:
        raise ValueError(f"[audio] expected an audio track, got none with samples ({file.name})")
    return sound


def _check_arguments(stack_frames: int, fps: float, max_units: int, max_frames: int) -> None:
    if not 1 <= stack_frames <= _MAX_STACK:
        raise ValueError(f"[video] expected 1 to {_MAX_STACK} stacked frames, got {stack_frames}")
    if not 0 < fps <= _MAX_FPS:  # NaN compares false
        raise ValueError(f"[video] expected above 0 and up to {_MAX_FPS:g} units per second, got {fps}")
    if max_units < 1 or max_frames < 1:
        raise ValueError(f"[video] expected limits of 1 or more, got {min(max_units, max_frames)}")


def _found(source: str | os.PathLike[str] | bytes | Source, kind: str, name: str | None) -> Source:
    file = source if isinstance(source, Source) else find(source, kind)
    return replace(file, kind=kind, name=name or file.name)


@contextmanager
def _opened(file: Source) -> Iterator[InputContainer]:
    """The file with its streams; whatever PyAV raises meanwhile becomes a ValueError."""
    try:
        import av
    except ImportError:
        raise ImportError(
            f"[{file.kind}] reading this file needs PyAV: pip install 'minicpmo-cpp[video]' ({file.name})"
        ) from None
    expected = f"[{file.kind}] expected a sound {file.kind} file"
    with file.open() as data:
        if not data.read(1):
            raise ValueError(f"{expected}, got an empty one ({file.name})")
        data.seek(0)
        what = "one that does not open"
        try:
            with av.open(
                data,  # and not a path, which FFmpeg would also take for an address
                mode="r",
                options=_decoder_limits(av.__version__),
                container_options={"format_whitelist": ",".join(_FORMATS)},
                metadata_errors="replace",
                io_open=_refuse_further_file,
            ) as container:
                what = "a damaged one"
                yield container
        except Exception as error:  # a damaged file makes demuxers and decoders fail in any way
            is_ours = str(error).startswith(("[video]", "[audio]"))
            if is_ours or (isinstance(error, MemoryError) and not isinstance(error, av.error.FFmpegError)):
                raise
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ValueError(f"{expected}, got {what}: {reason} ({file.name})") from None


def _decoder_limits(version: str) -> dict[str, str]:
    """For the frames that show what a file holds. PyAV before 18 crashes on them in some containers."""
    return {"max_pixels": str(MAX_PIXELS)} if int(version.split(".")[0]) >= 18 else {}


def _refuse_further_file(url: str, *_: Any) -> Any:
    raise ValueError(f"a reference to another file, {url[:120]!r}")


@dataclass(frozen=True)
class _Unit:
    start: float  # seconds
    frame: int  # number of the frame it shows
    stacked: list[int]


@dataclass(frozen=True)
class _Plan:
    duration: float  # seconds
    units: list[_Unit]


def _plan(file: Source, stack_frames: int, fps: float, max_units: int, max_frames: int) -> _Plan:
    with _opened(file) as container:
        stream = _video_stream(container, file.name)
        rate = _average_rate(stream, file.name)
        limit = math.floor(max_units / fps * rate)
        count = 0
        for packet in container.demux(stream):
            # Packets of size 0 only flush; a discarded one is decoded for the sake of later frames.
            count += packet.size > 0 and not packet.is_discard
            if count > limit:
                what = f"{max_units} units of {1 / fps:g} s of video"
                raise ValueError(f"[video] expected at most {what}, got more ({file.name})")
        size = stream.width * stream.height
    if count == 0:
        raise ValueError(f"[video] expected a video, got one without frames ({file.name})")
    plan = _planned(count, rate, stack_frames, fps, max_frames)
    n_frame = sum(1 + len(unit.stacked) for unit in plan.units)
    if n_frame * size * 3 > MAX_BYTES:
        limit = MAX_BYTES // (3 * size)
        raise ValueError(f"[video] expected at most {limit} frames of this size, got {n_frame} ({file.name})")
    return plan


def _planned(count: int, rate: float, stack_frames: int, fps: float, max_frames: int) -> _Plan:
    duration = count / rate
    starts = [i / fps for i in range(math.ceil(duration * fps))]
    end = len(starts) / fps
    if duration * fps > max_frames:
        starts = _sampled([round(i * _GRID, 1) for i in range(int(duration / _GRID))], max_frames)
        end = duration

    def number(time: float) -> int:
        return min(int(time * rate), count - 1)

    # NOTE: of a long video the reference pairs point i with the stacked frames of second i, which is another
    # place; here they come from the span of the point itself.
    units = []
    for start, following in itertools.pairwise([*starts, end]):
        times = [start + (following - start) * (k / stack_frames) for k in range(1, stack_frames)]
        units.append(_Unit(start, number(start), [number(time) for time in times if time < duration]))
    return _Plan(duration, units)


def _sampled(times: list[float], count: int) -> list[float]:
    """`count` of them, evenly, the first and the last included."""
    if len(times) <= count:
        return times
    return [times[i] for i in np.linspace(0, len(times) - 1, count, dtype=int)]


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    from av.stream import Disposition
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise ValueError(f"[video] expected a video track, got none ({name})")
    if stream.codec_context is None:
        raise ValueError(f"[video] expected video of a known codec, got another ({name})")
    width, height = stream.width, stream.height
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(
            f"[video] expected frames of 1 to {MAX_PIXELS} pixels, got {width} x {height} ({name})"
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.thread_type = "AUTO"
    return stream


def _average_rate(stream: VideoStream, name: str) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    if rate is None or not 0 < rate <= _MAX_RATE:
        found = "no rate" if rate is None else f"{float(rate):.0f}"
        raise ValueError(f"[video] expected up to {_MAX_RATE} frames per second, got {found} ({name})")
    return rate.numerator / rate.denominator


def _chosen_frames(container: InputContainer, plan: _Plan, name: str) -> Iterator[Pixels]:
    """The frames of the plan in its order, which is that of time; the others are decoded and dropped."""
    stream = _video_stream(container, name)
    width, height = stream.width, stream.height
    decoded = (frame for packet in container.demux(stream) for frame in packet.decode())
    number, frame, pixels = -1, None, None
    for wanted in (n for unit in plan.units for n in (unit.frame, *unit.stacked)):
        while number < wanted:
            following = next(decoded, None)
            if following is None:
                break
            number, frame, pixels = number + 1, following, None
        if frame is None or wanted - number > max(2, _average_rate(stream, name)):
            raise ValueError(f"[video] expected frame {wanted}, got {number + 1} frames in all ({name})")
        if pixels is None:
            pixels = _pixels(frame, width, height)
        yield pixels


def _pixels(frame: VideoFrame, width: int, height: int) -> Pixels:
    """A frame at the size of its stream, turned the way it is to be shown."""
    image = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    quarters, rest = divmod(frame.rotation, 90)
    # As the reference: turns by anything else than quarters are not applied, mirroring is not either.
    return np.ascontiguousarray(np.rot90(image, quarters if rest == 0 else 0), dtype=np.uint8)


def _sound_of_video(file: Source, plan: _Plan) -> Samples | None:
    """The sound of a video as far as its pictures reach; None where it has none."""
    sound = _sound(file)
    if sound is None:
        return None
    blocks, rate = sound
    # A second more than is heard: what the resampler makes of an end lies beyond.
    return gather(_first(blocks, math.ceil((plan.duration + 1) * rate)), rate, file.name)


def _sound_of_unit(sound: Samples, plan: _Plan, i: int) -> Samples:
    is_last = i + 1 == len(plan.units)
    end = plan.duration if is_last else plan.units[i + 1].start
    samples = sound[int(plan.units[i].start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    if is_last and samples.size < _MIN_LAST:
        return np.pad(samples, (0, _MIN_LAST - samples.size))
    return samples


def _sound(file: Source) -> tuple[Iterator[Block], int] | None:
    """Blocks of the best audio track and their rate, which the first frame tells, not the header; or None."""
    blocks = _sound_blocks(file)
    first = next(blocks, None)
    if first is None:
        return None
    return itertools.chain([first[0]], (block for block, _ in blocks)), first[1]


def _sound_blocks(file: Source) -> Iterator[tuple[Block, int]]:
    with _opened(file) as container:
        from av.audio.stream import AudioStream
        from av.error import FFmpegError

        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return
        if stream.codec_context is None:
            raise ValueError(f"[{file.kind}] expected audio of a known codec, got another ({file.name})")
        n_good = n_bad = rate = 0
        resamplers: dict[Any, Any] = {}
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                n_bad += 1  # files cut out of others begin and end with a part of a packet
                if n_bad > 3 + n_good // 50:
                    raise
                continue
            n_good += 1
            for frame in frames:
                if rate not in (0, frame.sample_rate):
                    found = f"{rate} and then {frame.sample_rate}"
                    raise ValueError(f"[{file.kind}] expected one sample rate, got {found} ({file.name})")
                rate = frame.sample_rate
                if frame.samples > 0:
                    yield _block(frame, resamplers), rate


def _block(frame: AudioFrame, resamplers: dict[Any, Any]) -> Block:
    """Interleaved samples. PyAV itself would read beyond the planes of eight and more channels."""
    from av import AudioResampler

    frames = [frame]
    if frame.format.is_planar:
        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        frames = resamplers.setdefault(key, AudioResampler(format="flt")).resample(frame)
    shape = (-1, frame.layout.nb_channels)
    return np.concatenate([part.to_ndarray().reshape(shape) for part in frames])


def _first(blocks: Iterator[Block], n_frame: int) -> Iterator[Block]:
    """Blocks until they hold `n_frame` or more."""
    for block in blocks:
        yield block
        n_frame -= len(block)
        if n_frame <= 0:
            return
