from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

av = pytest.importorskip("av")
pytest.importorskip("soxr")

from minicpmo_cpp import video  # noqa: E402
from minicpmo_cpp.audio import to_samples  # noqa: E402
from minicpmo_cpp.mosaic import mosaic  # noqa: E402
from minicpmo_cpp.packed_video import read_packed  # noqa: E402
from minicpmo_cpp.source import find  # noqa: E402
from minicpmo_cpp.video import read_audio, read_units  # noqa: E402

WIDTH, HEIGHT, N_BIT = 160, 96, 10


def pattern(number: int) -> NDArray[np.uint8]:
    """A frame that shows its number as bars, under a red band."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    bits = np.repeat([number >> bit & 1 for bit in range(N_BIT)], WIDTH // N_BIT)
    image[:, bits == 1] = 255
    image[: HEIGHT // 4] = (255, 0, 0)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    assert image.shape == (HEIGHT, WIDTH, 3)
    row = image[HEIGHT * 5 // 8].mean(axis=1).reshape(N_BIT, -1).mean(axis=1)
    return sum(1 << bit for bit in range(N_BIT) if row[bit] > 128)


def tone(second: int) -> int:
    return 300 + 50 * second  # Hz


def second_of(samples: NDArray[np.float32]) -> int:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size), 16000))
    return round((int(spectrum.argmax()) - 300) / 50)


def clip(
    seconds: float = 4.5,
    *,
    fps: Fraction | int = 25,
    kind: str = "mp4",
    codec: str = "mpeg4",
    pts: Callable[[int], int] | None = None,  # frame -> 1/60000 s
    rotation: int = 0,
    sound: str | None = "aac",
    rate: int = 44100,
    layout: str = "stereo",
    sound_seconds: float | None = None,
    options: dict[str, str] | None = None,
    path: Path | None = None,
) -> bytes:
    """A video whose frames show their number, and whose sound tells its second."""
    file = io.BytesIO()
    with av.open(str(path) if path else file, "w", format=kind, options=options or {}) as container:
        picture = container.add_stream(codec, rate=fps)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.bit_rate = 4_000_000
        picture.codec_context.time_base = Fraction(1, 60000) if pts else 1 / Fraction(fps)
        if rotation:
            picture.set_display_rotation(rotation)
        track = container.add_stream(sound, rate=rate, layout=layout) if sound else None
        for i in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(pattern(i), "rgb24")
            frame.pts, frame.time_base = pts(i) if pts else i, picture.codec_context.time_base
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if track is not None:
            encode_sound(container, track, sound_seconds or seconds, rate, layout)
    return path.read_bytes() if path else file.getvalue()


def encode_sound(container: Any, track: Any, seconds: float, rate: int, layout: str) -> None:
    n_channel = 2 if layout == "stereo" else 1
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(tone(0) + 50 * np.floor(time)) / rate  # the tones join smoothly
    channels = np.stack([0.4 * np.sin(phase)] * n_channel).astype(np.float32)
    channels[1:] *= 0.5
    for begin in range(0, time.size, 960):
        part = np.ascontiguousarray(channels[:, begin : begin + 960])
        frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
        frame.sample_rate, frame.pts = rate, begin
        container.mux(track.encode(frame))
    container.mux(track.encode())


def sound_file(
    kind: str, codec: str, seconds: float = 2.0, rate: int = 44100, layout: str = "stereo"
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        encode_sound(container, track, seconds, rate, layout)
    return file.getvalue()


def pictures(content: list[Any]) -> list[NDArray[np.uint8]]:
    return [item for item in content if item.dtype == np.uint8]


def sounds(content: list[Any]) -> list[NDArray[np.float32]]:
    return [item for item in content if item.dtype == np.float32]


def cells_of(image: NDArray[np.uint8], n_row: int, n_column: int) -> list[int]:
    """The numbers of the frames that are laid out in a picture, and that black lines part them."""
    assert image.shape == (n_row * HEIGHT + 6 * (n_row - 1), n_column * WIDTH + 6 * (n_column - 1), 3)
    for i in range(1, n_column):
        assert not image[:, i * (WIDTH + 6) - 6 : i * (WIDTH + 6)].any()
    for i in range(1, n_row):
        assert not image[i * (HEIGHT + 6) - 6 : i * (HEIGHT + 6)].any()
    return [
        number_of(image[row * (HEIGHT + 6) :, column * (WIDTH + 6) :][:HEIGHT, :WIDTH])
        for row in range(n_row)
        for column in range(n_column)
    ]


@pytest.fixture(scope="module")
def film() -> bytes:
    return clip(4.6)


def test_every_second_is_a_frame_and_its_sound(film: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(film)
    content = read_units(path)
    assert [item.dtype.kind for item in content] == ["u", "f"] * 5
    assert [number_of(image) for image in content[::2]] == [0, 25, 50, 75, 100]
    assert [samples.size for samples in content[1::2]] == [16000] * 4 + [9600]
    assert [second_of(samples) for samples in content[1::2]] == [0, 1, 2, 3, 4]
    assert all(item.flags.c_contiguous and item.flags.writeable for item in content)
    for same in (read_units(str(path)), read_units(film)):
        assert all(np.array_equal(a, b) for a, b in zip(content, same, strict=True))


def test_frames_keep_their_pixels(film: bytes) -> None:
    assert np.abs(read_units(film)[2].astype(int) - pattern(25)).mean() < 4


@pytest.mark.parametrize(
    ("n_stack", "n_row", "n_column", "numbers"),
    [
        (2, 1, 1, [12, 37]),
        (3, 2, 1, [8, 16, 33, 41]),
        (4, 3, 1, [6, 12, 18, 31, 37, 43]),
        (5, 2, 2, [5, 10, 15, 20, 30, 35, 40, 45]),
        (6, 1, 5, [4, 8, 12, 16, 20, 29, 33, 37, 41, 45]),
    ],
)
def test_stacked_frames_follow_the_sound(n_stack: int, n_row: int, n_column: int, numbers: list[int]) -> None:
    content = read_units(clip(2), stack_frames=n_stack)
    assert [item.dtype.kind for item in content] == ["u", "f", "u"] * 2
    assert [number_of(image) for image in content[::3]] == [0, 25]
    found = [cells_of(image, n_row, n_column) for image in content[2::3]]
    assert found[0] + found[1] == numbers


def test_a_last_second_stacks_the_frames_it_has() -> None:
    content = pictures(read_units(clip(2.5), stack_frames=5))
    assert cells_of(content[1], 2, 2) == [5, 10, 15, 20]
    assert cells_of(content[5], 2, 1) == [55, 60]
    content = read_units(clip(2.04), stack_frames=5)
    assert [number_of(image) for image in (content[0], content[3], content[6])] == [0, 25, 50]
    assert len(content) == 8  # nothing stacked after the last sound


@pytest.mark.parametrize(
    ("n", "width", "height", "shape"),
    [
        (1, 30, 20, (20, 30)),
        (2, 30, 20, (46, 30)),
        (2, 20, 30, (30, 46)),
        (2, 20, 20, (46, 20)),
        (2, 22, 30, (66, 22)),  # the one tie
        (3, 30, 20, (72, 30)),
        (3, 20, 30, (102, 20)),
        (3, 20, 20, (72, 20)),
        (4, 30, 20, (46, 66)),
        (5, 30, 20, (20, 174)),
        (9, 30, 20, (20, 318)),
    ],
)
def test_two_or_three_frames_are_laid_out_the_squarer_way(
    n: int, width: int, height: int, shape: tuple[int, int]
) -> None:
    joined = mosaic([np.full((height, width, 3), 7 + i, np.uint8) for i in range(n)])
    assert joined.shape == (*shape, 3)
    assert joined[0, 0, 0] == 7
    assert joined[-1, -1, 0] == 6 + n


def test_a_ntsc_rate_counts_frames_and_fills_the_shortest_sound() -> None:
    content = read_units(clip(Fraction(1001, 100), fps=Fraction(30000, 1001)))  # 300 frames
    assert [number_of(image) for image in pictures(content)] == [int(i * 30000 / 1001) for i in range(11)]
    last = sounds(content)[-1]
    assert last.size == 1600  # 10 ms of sound, and silence
    assert last[:160].any()
    assert not last[160:].any()


def test_a_long_video_is_sampled_at_64_points() -> None:
    content = read_units(clip(90, fps=5, rate=8000, layout="mono"), stack_frames=2)
    points = np.linspace(0, 899, 64, dtype=int) / 10
    starts = [number_of(image) for image in content[::3]]
    assert starts == [int(point * 5) for point in points]
    middles = [number_of(image) for image in content[2::3]]
    assert middles == pytest.approx(
        [a + (b - a) / 2 for a, b in itertools.pairwise([*points * 5, 450])], abs=1
    )
    lengths = [samples.size for samples in content[1::3]]
    assert set(lengths[:-1]) == {22400, 24000}
    assert sum(lengths[:-1]) == 89.9 * 16000
    assert lengths[-1] == 1600
    assert second_of(content[3 * 40 + 1][-8000:]) == pytest.approx(points[41], abs=1)


def test_the_number_of_points_is_the_callers() -> None:
    film = clip(6, sound=None)
    assert [number_of(image) for image in read_units(film, max_frames=6)] == [0, 25, 50, 75, 100, 125]
    assert [number_of(image) for image in read_units(film, max_frames=3)] == [
        0,
        72,
        147,
    ]  # of 0, 2.9 and 5.9 s
    assert [number_of(image) for image in read_units(film, max_frames=1)] == [0]


@pytest.mark.parametrize(
    ("fps", "numbers", "lengths"),
    [(2, [0, 12, 25, 37], [8000] * 4), (0.5, [0], [32000]), (0.75, [0, 33], [21333, 10667])],
)
def test_other_rates_make_longer_or_shorter_units(fps: float, numbers: list[int], lengths: list[int]) -> None:
    content = read_units(clip(2), fps=fps)
    assert [number_of(image) for image in pictures(content)] == numbers
    assert [samples.size for samples in sounds(content)] == lengths


def test_without_sound_there_are_only_frames(film: bytes) -> None:
    silent = read_units(clip(3, sound=None))
    assert [number_of(image) for image in silent] == [0, 25, 50]
    muted = read_units(film, use_audio=False)
    assert [number_of(image) for image in muted] == [0, 25, 50, 75, 100]


def test_sound_that_ends_early_leaves_units_with_less() -> None:
    found = sounds(read_units(clip(5.3, sound="pcm_s16le", kind="matroska", rate=16000, sound_seconds=2.5)))
    assert [samples.size for samples in found] == [16000, 16000, 8000, 0, 0, 1600]
    assert not found[-1].any()


def test_sound_that_goes_on_is_cut() -> None:
    found = sounds(read_units(clip(2.25, sound_seconds=5)))
    assert [samples.size for samples in found] == [16000, 16000, 3840]  # 56 frames
    assert [second_of(samples) for samples in found] == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "codec", "rate", "layout"),
    [
        ("mp4", "aac", 48000, "mono"),
        ("mp4", "aac", 8000, "mono"),
        ("mp4", "libmp3lame", 44100, "stereo"),
        ("matroska", "pcm_s16le", 16000, "stereo"),
        ("matroska", "pcm_s32le", 44100, "mono"),
        ("matroska", "pcm_u8", 22050, "mono"),
        ("matroska", "pcm_f64le", 32000, "stereo"),
        ("matroska", "flac", 44100, "stereo"),
        ("avi", "pcm_s16le", 11025, "mono"),
        ("mpegts", "aac", 48000, "stereo"),
        ("flv", "aac", 44100, "stereo"),
    ],
)
def test_containers_and_codecs(kind: str, codec: str, rate: int, layout: str) -> None:
    picture = "flv" if kind == "flv" else "mpeg4"
    content = read_units(clip(2, kind=kind, codec=picture, sound=codec, rate=rate, layout=layout))
    assert [number_of(image) for image in pictures(content)] == [0, 25]
    found = sounds(content)
    assert [second_of(samples) for samples in found] == [0, 1]
    level = np.sqrt(2 * np.mean(found[0][2000:14000] ** 2))
    assert level == pytest.approx(0.3 if layout == "stereo" else 0.4, rel=0.05)  # the mean of the channels


def test_a_webm_of_a_browser() -> None:
    film = clip(2.5, kind="webm", codec="libvpx", sound="libopus", rate=48000)
    content = read_units(film)
    assert [number_of(image) for image in pictures(content)] == [0, 25, 50]
    assert [second_of(samples) for samples in sounds(content)] == [0, 1, 2]


def test_frames_of_a_variable_rate_are_counted() -> None:
    film = clip(4, pts=lambda i: 2400 * i if i < 50 else 120000 + 4800 * (i - 50), sound=None)
    # 100 frames in 5.96 s: by their timestamps the last three seconds begin with 62, 75 and 87.
    assert [number_of(image) for image in read_units(film)] == [0, 16, 33, 50, 67, 83]


@pytest.mark.parametrize(
    ("rotation", "shape", "red"),
    [
        (90, (WIDTH, HEIGHT), np.s_[:, :8]),
        (-90, (WIDTH, HEIGHT), np.s_[:, -8:]),
        (180, (HEIGHT, WIDTH), np.s_[-8:]),
    ],
)
def test_a_turned_video_is_turned_upright(rotation: int, shape: tuple[int, int], red: Any) -> None:
    image = read_units(clip(1, rotation=rotation))[0]
    assert image.shape == (*shape, 3)
    assert image.flags.c_contiguous
    assert image[red].mean(axis=(0, 1)) == pytest.approx([255, 0, 0], abs=12)


def test_an_animation_is_a_video() -> None:
    image = pytest.importorskip("PIL.Image")
    frames = [image.new("RGB", (40, 30), (25 * i, 0, 0)) for i in range(10)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=200)
    content = read_units(file.getvalue())
    assert [int(item[0, 0, 0]) for item in content] == [0, 125]


def test_a_video_that_streams_has_no_number_of_frames_in_its_header() -> None:
    film = clip(2, options={"movflags": "frag_keyframe+empty_moov"})
    numbers = [number_of(image) for image in pictures(read_units(film))]
    assert numbers[:2] == pytest.approx([0, 25], abs=1)  # FFmpeg estimates the rate as 24.7


REFUSALS = {
    "empty": (b"", "got an empty one"),
    "text": (b"a text about videos\n" * 500, "got one that does not open: Invalid data"),
    "noise": (np.random.default_rng(0).bytes(100000), "got one that does not open: "),
    "zeros": (bytes(100000), "got one that does not open: "),
    "playlist": (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile:///etc/passwd\n",
        "got one that does not open: ",
    ),
    "list of files": (b"ffconcat version 1.0\nfile /etc/hostname\n", "got one that does not open: "),
    "subtitles": (b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n", "got one that does not open: "),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_video_is_refused(case: str) -> None:
    data, message = REFUSALS[case]
    with pytest.raises(ValueError, match=rf"^\[video\] expected a sound video file, {message}.* \(upload\)$"):
        read_units(data, name="upload")
    with pytest.raises(ValueError, match=r"^\[audio\] expected .*\(upload\)$"):
        read_audio(data, name="upload")


def test_sound_alone_is_no_video() -> None:
    for data in (sound_file("wav", "pcm_s16le"), sound_file("mp4", "aac")):
        with pytest.raises(ValueError, match=r"^\[video\] expected a video track, got none"):
            read_units(data)


def test_a_cover_is_no_video() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(pattern(0), "rgb24")))
        container.mux(cover.encode())
        encode_sound(container, track, 1, 16000, "mono")
    with pytest.raises(ValueError, match="expected a video track, got none"):
        read_units(file.getvalue())
    assert read_audio(file.getvalue())[1] == 16000


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^\[video\] expected a video file, got nothing"):
        read_units(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"^\[video\] expected a video file, got: "):
        read_units(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_units": 4}, "expected at most 4 units of 1 s of video, got more"),
        ({"max_units": 8, "fps": 2.0}, "expected at most 8 units of 0.5 s of video, got more"),
        ({"max_units": 0}, "expected limits of 1 or more, got 0"),
        ({"max_frames": 0}, "expected limits of 1 or more, got 0"),
        ({"stack_frames": 0}, "expected 1 to 64 stacked frames, got 0"),
        ({"stack_frames": 65}, "expected 1 to 64 stacked frames, got 65"),
        ({"fps": 0.0}, "units per second, got 0"),
        ({"fps": 11.0}, "units per second, got 11"),
        ({"fps": float("nan")}, "units per second, got nan"),
    ],
)
def test_limits(film: bytes, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[video\] .*{message}"):
        read_units(film, **arguments)


def test_a_video_at_its_limit_is_read(film: bytes) -> None:
    assert len(read_units(film, max_units=5)) == 10


def test_frames_that_are_too_large_or_too_many_are_refused(
    film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "MAX_BYTES", 5 * WIDTH * HEIGHT * 3)
    assert len(read_units(film)) == 10
    with pytest.raises(ValueError, match="expected at most 5 frames of this size, got 8"):
        read_units(film, stack_frames=2, max_units=5, max_frames=4)
    monkeypatch.setattr(video, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(ValueError, match=r"^\[video\] expected "):
        read_units(film)


def test_a_rate_that_no_camera_has_is_refused() -> None:
    with pytest.raises(ValueError, match="expected up to 1000 frames per second, got 6020"):
        read_units(clip(Fraction(1, 100), pts=lambda i: 10 * i, fps=9000, sound=None))


@pytest.mark.parametrize("kind", ["mp4", "webm", "mpegts", "avi"])
def test_a_truncated_file_gives_what_it_holds(kind: str, tmp_path: Path) -> None:
    if kind == "webm":
        data = clip(4, kind=kind, codec="libvpx", sound="libopus", rate=48000)
    elif kind == "mp4":  # with its index at its beginning
        data = clip(4, path=tmp_path / "film.mp4", options={"movflags": "faststart"})
    else:
        data = clip(4, kind=kind, sound="libmp3lame")
    for share in (0.4, 0.7, 0.9, 0.99):
        numbers = [number_of(image) for image in pictures(read_units(data[: int(len(data) * share)]))]
        assert numbers == [0, 25, 50, 75][: len(numbers)]
        assert len(numbers) == pytest.approx(4 * share, abs=1)
    for n_byte in (1, 10, 100, 500):
        with pytest.raises(ValueError, match=r"^\[video\] expected "):
            read_units(data[:n_byte])


def test_a_truncated_file_without_its_index_is_refused(film: bytes) -> None:
    for share in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(
            ValueError, match=r"^\[video\] expected a sound video file, got one that does not"
        ):
            read_units(film[: int(share * len(film))])


def test_frames_that_do_not_decode_are_missed(film: bytes) -> None:
    def chosen(*numbers: int) -> list[int]:
        plan = video._Plan(9.0, [video._Unit(0.0, number, []) for number in numbers])
        with video._opened(find(film, "video")) as container:
            return [number_of(image) for image in video._chosen_frames(container, plan, "film")]

    assert chosen(0, 0, 60, 114, 120, 130) == [0, 0, 60, 114, 114, 114]  # 115 frames: the last one stays
    with pytest.raises(ValueError, match=r"^\[video\] expected frame 140, got 115 frames in all \(film\)"):
        chosen(0, 140)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(film: bytes, data: st.DataObject) -> None:
    damaged = bytearray(film)
    where = st.one_of(st.integers(0, len(film) - 1), st.integers(len(film) - 3000, len(film) - 1))
    for at in data.draw(st.lists(where, min_size=1, max_size=20)):
        damaged[at] = data.draw(st.integers(0, 255))
    for read in (read_units, read_sound):
        message = complaint(read, bytes(damaged))
        assert message is None or message.startswith(("[video] expected ", "[audio] expected "))


def complaint(read: Callable[[bytes], Any], data: bytes) -> str | None:
    try:
        read(data)
    except ValueError as error:
        return str(error)
    return None


def read_sound(data: bytes) -> NDArray[Any]:
    blocks, _ = read_audio(data)
    return np.concatenate(list(blocks))


@pytest.mark.parametrize(
    ("kind", "codec", "rate", "layout"),
    [
        ("mp4", "aac", 44100, "stereo"),
        ("webm", "libopus", 48000, "mono"),
        ("matroska", "pcm_s32le", 8000, "stereo"),
        ("adts", "aac", 48000, "mono"),
    ],
)
def test_audio_comes_in_blocks_at_its_rate(kind: str, codec: str, rate: int, layout: str) -> None:
    blocks, found = read_audio(sound_file(kind, codec, rate=rate, layout=layout))
    assert found == rate
    sound = np.concatenate(list(blocks))
    assert sound.shape == (pytest.approx(2 * rate, abs=2048), 2 if layout == "stereo" else 1)
    samples = to_samples((sound, rate))
    assert [second_of(samples[i : i + 8000]) for i in (4000, 20000)] == [0, 1]


@pytest.mark.parametrize("layout", ["5.1", "7.1", "hexadecagonal"])
def test_channels_beyond_stereo(layout: str) -> None:
    n_channel = av.AudioLayout(layout).nb_channels
    file = io.BytesIO()
    levels = np.arange(1, n_channel + 1, dtype=np.float32) / 32
    with av.open(file, "w", format="matroska") as container:
        track = container.add_stream("pcm_f32le", rate=16000, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.tile(levels, 3000)[None], "flt", layout)
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(track.encode(frame))
    assert np.array_equal(read_sound(file.getvalue()), np.tile(levels, (3000, 1)))


def test_planes_of_many_channels_are_interleaved() -> None:
    layout = "7.1"  # of whose planes PyAV counts more than there are
    packed = av.AudioFrame.from_ndarray(np.arange(80, dtype=np.float32)[None] / 128, "flt", layout)
    packed.sample_rate = 16000
    (planar,) = av.AudioResampler(format="fltp").resample(packed)
    assert planar.format.is_planar
    block = video._block(planar, {})
    assert np.array_equal(block, np.arange(80, dtype=np.float32).reshape(10, 8) / 128)


def test_a_video_without_sound_is_no_audio() -> None:
    with pytest.raises(ValueError, match=r"^\[audio\] expected an audio track, got none"):
        read_audio(clip(1, sound=None))


def test_a_few_damaged_packets_are_left_out() -> None:
    sound = sound_file("adts", "aac")
    whole = read_sound(sound)
    starts = [i for i in range(len(sound) - 1) if sound[i] == 0xFF and sound[i + 1] & 0xF6 == 0xF0]
    damaged = bytearray(sound)
    for start in starts[20:22]:
        damaged[start + 7 : start + 40] = b"\xff" * 33
    assert len(whole) - 8 * 1024 <= len(read_sound(bytes(damaged))) <= len(whole)
    for start in starts[3:]:
        damaged[start + 7 : start + 40] = b"\xff" * 33
    with pytest.raises(ValueError, match=r"^\[audio\] expected a sound audio file, got a damaged one: "):
        read_sound(bytes(damaged))


def test_without_pyav_the_extra_is_named(film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for read in (read_units, read_audio):
        with pytest.raises(ImportError, match=r"pip install 'minicpmo-cpp\[video\]'"):
            read(film)


def test_nothing_is_printed(film: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    read_units(film)
    with pytest.raises(ValueError, match="expected"):
        read_units(film[:1000])
    assert capfd.readouterr() == ("", "")


def test_packed_frames_have_times(film: bytes) -> None:
    packed = read_packed(film, pack=2, fps=2.0)
    units = read_units(film, use_audio=False, fps=2.0)
    assert [time for group in packed for time in group.times] == [5 * i for i in range(len(units))]
    assert {len(group.frames) for group in packed[:-1]} == {2}
    frames = [frame for group in packed for frame in group.frames]
    assert all(np.array_equal(*pair) for pair in zip(frames, units, strict=True))
    for pack in (0, 7):
        with pytest.raises(ValueError, match="expected 1 to 6 frames to a picture"):
            read_packed(film, pack=pack)
