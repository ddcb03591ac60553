from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_files import film as plain_film
from media_files import wav
from numpy.typing import NDArray

av = pytest.importorskip("av")

from minicpmo_cpp.audio import to_samples  # noqa: E402
from minicpmo_cpp.duplex import DuplexChunk, UnitTimings  # noqa: E402
from minicpmo_cpp.live.captions import Captions, _best_font, _open_font, _wrapped  # noqa: E402
from minicpmo_cpp.live.film import FILMS, check_output, write_film, write_sound  # noqa: E402
from minicpmo_cpp.live.input import units_of_sound, units_of_video, with_silence  # noqa: E402
from minicpmo_cpp.live.said_track import Cue, SaidTrack  # noqa: E402
from minicpmo_cpp.sound_file import to_pcm  # noqa: E402
from minicpmo_cpp.source import find  # noqa: E402
from minicpmo_cpp.video import read_units  # noqa: E402
from test_video import clip, number_of, sound_file  # noqa: E402

RATE = 24000
Floats = NDArray[np.float32]


def sine(hertz: float, seconds: float = 1.0, level: float = 0.5) -> Floats:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def chunk(unit: int, text: str = "", audio: Floats | None = None, **changes: Any) -> DuplexChunk:
    fields: dict[str, Any] = {
        "unit": unit,
        "is_listen": audio is None and not text,
        "text": text,
        "audio": audio,
        "sample_rate": RATE,
        "end_of_turn": False,
        "is_interrupted": False,
        "listen_probability": 0.5,
        "speak_probability": 0.5,
        "token_ids": [],
        "n_past": 0,
        "n_dropped_units": 0,
        "timings": UnitTimings(),
    }
    return DuplexChunk(**fields | changes)


def track_of(*chunks: DuplexChunk) -> SaidTrack:
    track = SaidTrack()
    for each in chunks:
        track.add(each)
    return track


@pytest.fixture
def talk() -> SaidTrack:
    """Unit 1 says a tone of 2 kHz, unit 2 one of 3 kHz."""
    return track_of(
        chunk(0), chunk(1, "Hello there,", sine(2000)), chunk(2, " friend.", sine(3000), end_of_turn=True)
    )


def levels(sound: Floats, rate: int, hertz: float) -> list[float]:
    """Of a tone in every quarter of a second, where 1 is full scale."""
    step = rate // 4
    wave = np.exp(-2j * np.pi * hertz * np.arange(step) / rate)
    quarters = [sound[i : i + step] for i in range(0, len(sound) - step + 1, step)]
    return [float(2 * abs(np.dot(quarter, wave)) / step) for quarter in quarters]


def sound_of(path: Path) -> Floats:
    """[2, n] at 48 kHz."""
    with av.open(str(path)) as film:
        assert (film.streams.audio[0].rate, film.streams.audio[0].channels) == (48000, 2)
        return np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)


def pictures_of(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as film:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


# What is said, and when.


def test_a_unit_is_heard_when_it_is_over() -> None:
    track = track_of(chunk(0), chunk(1, "a", sine(500)), chunk(4, "b", sine(600, 0.5)))
    said = track.samples()
    assert (track.seconds, track.spoken_s, len(said)) == (5.5, 1.5, 5.5 * RATE)
    np.testing.assert_array_equal(said[2 * RATE : 3 * RATE], sine(500))
    np.testing.assert_array_equal(said[5 * RATE :], sine(600, 0.5))
    assert not said[: 2 * RATE].any()
    assert not said[3 * RATE : 5 * RATE].any()
    assert len(track.samples(7.0)) == 7 * RATE
    assert len(SaidTrack().samples(0.5)) == RATE // 2


def test_sound_that_is_longer_than_its_unit_pushes_the_next_one_on() -> None:
    track = track_of(chunk(0, "a", sine(500, 1.25)), chunk(1, "b", sine(600)), chunk(3, "c", sine(700)))
    said = track.samples()
    np.testing.assert_array_equal(said[RATE : RATE + 30000], sine(500, 1.25))
    np.testing.assert_array_equal(said[RATE + 30000 : RATE + 54000], sine(600))
    np.testing.assert_array_equal(said[4 * RATE :], sine(700))


def test_a_late_unit_is_heard_when_it_is_there() -> None:
    track = track_of(chunk(0, "a", sine(500), latency_s=0.25), chunk(1, "b", sine(600), latency_s=0.1))
    said = track.samples()
    assert not said[: round(1.25 * RATE)].any()
    np.testing.assert_array_equal(said[round(1.25 * RATE) :], np.concatenate([sine(500), sine(600)]))


def test_an_interruption_takes_back_what_was_not_heard() -> None:
    track = track_of(chunk(0, "a", sine(500)), chunk(1, "b", sine(600)))
    track.cut(1.5)
    track.add(chunk(2, "c", sine(700), is_interrupted=True))
    track.add(chunk(4, "d", sine(800)))
    said = track.samples()
    np.testing.assert_array_equal(said[RATE : RATE + RATE // 2], sine(500)[: RATE // 2])
    assert not said[RATE + RATE // 2 : 5 * RATE].any()
    np.testing.assert_array_equal(said[5 * RATE :], sine(800))
    assert [cue.text for cue in track.cues()] == ["a", "d"]
    track.cut(0.0)
    assert track.seconds == 0


def test_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^\[output\] expected sound at 24000 Hz, got 16000"):
        SaidTrack().add(chunk(0, "a", sine(500), sample_rate=16000))


def test_captions_grow_until_the_turn_ends_or_two_lines_are_full(talk: SaidTrack) -> None:
    assert talk.cues() == [Cue(2.0, 3.0, "Hello there,"), Cue(3.0, 4.0, "Hello there, friend.")]
    talk.add(chunk(3, "New\nturn\x1b[2J", end_of_turn=True))
    talk.add(chunk(4, " x" * 30))
    talk.add(chunk(5, " y" * 30))
    talk.add(chunk(6, " ", end_of_turn=True))
    cues = talk.cues()[2:]
    assert [cue.text for cue in cues] == ["New turn[2J", "x " * 29 + "x", "y " * 29 + "y", "y " * 29 + "y"]
    assert [(cue.begin_s, cue.end_s) for cue in cues] == [(4, 5), (5, 6), (6, 7), (7, 8)]
    assert SaidTrack().cues() == []


# Recordings.


def test_a_recording_keeps_both_sides_apart(talk: SaidTrack, tmp_path: Path) -> None:
    heard = (0.5 * np.sin(2 * np.pi * 300 * np.arange(3 * 16000) / 16000)).astype(np.float32)
    for name in ("out.wav", "out.FLAC"):
        write_sound(tmp_path / name, talk, heard)
        info = soundfile.info(tmp_path / name)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (RATE, 2, "PCM_16", 4 * RATE)
    both = soundfile.read(tmp_path / "out.wav", dtype="int16")[0]
    np.testing.assert_array_equal(both, soundfile.read(tmp_path / "out.FLAC", dtype="int16")[0])
    np.testing.assert_array_equal(both[:, 1], to_pcm(talk.samples()))
    np.testing.assert_allclose(both[500 : -RATE - 500, 0] / 32767, sine(300, 3)[500:-500], atol=2e-3)
    assert not both[3 * RATE :, 0].any()
    write_sound(tmp_path / "out.wav", SaidTrack(), heard)
    assert soundfile.info(tmp_path / "out.wav").frames == 3 * RATE


# Films.


@pytest.mark.parametrize("ending", list(FILMS))
def test_a_film_has_both_voices_at_their_times(talk: SaidTrack, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    told: list[float] = []
    heard = film_with(0.3 * np.sin(2 * np.pi * 500 * np.arange(96000) / 48000))
    missing = write_film(heard, path, talk, on_progress=told.append)
    assert missing == ""
    assert told == sorted(told)
    sound = sound_of(path)
    assert sound.shape[1] / 48000 == pytest.approx(4.0, abs=0.05)
    np.testing.assert_allclose(sound[0], sound[1], atol=0.02)
    for hertz, first, last, level in ((2000, 2, 3, 0.5), (3000, 3, 4, 0.5), (500, 0, 2, 0.3)):
        found = levels(sound[0], 48000, hertz)
        for i, share in enumerate(found[:16]):
            is_there = first <= i / 4 < last
            assert share == pytest.approx(level if is_there else 0, abs=0.05), (hertz, i / 4)
    pictures = pictures_of(path)
    times = [time for time, _ in pictures]
    np.testing.assert_allclose(times, np.arange(20) / 5, atol=1e-3)  # the last one stays until all is said
    assert pictures[0][1].shape == (48, 64, 3)


def test_the_pictures_and_their_times_stay(tmp_path: Path) -> None:
    times = [0, 4, 5, 12, 20, 40, 47]  # of a recording whose rate varies
    data = clip(7, fps=1, pts=lambda i: 60000 * times[i] // 20 + 3000)
    path = tmp_path / "out.mp4"
    write_film(data, path, SaidTrack())
    found = pictures_of(path)
    np.testing.assert_allclose([time for time, _ in found], np.array(times) / 20, atol=1e-3)
    assert [number_of(image) for _, image in found] == list(range(7))


def test_only_the_beginning_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_film(plain_film(5), path, SaidTrack(), seconds=2)
    assert len(pictures_of(path)) == 10
    assert sound_of(path).shape[1] / 48000 == pytest.approx(2, abs=0.05)


def test_burned_subtitles_are_pixels_while_they_are_said(talk: SaidTrack, tmp_path: Path) -> None:
    data = clip(3, fps=5, sound=None)
    plain, burned = tmp_path / "plain.mp4", tmp_path / "burned.mp4"
    write_film(data, plain, talk, subtitles="none")
    write_film(data, burned, talk, subtitles="burned")
    for (time, before), (_, after) in zip(pictures_of(plain), pictures_of(burned), strict=True):
        change = np.abs(after.astype(int) - before).max(axis=(1, 2))
        assert (change[: len(change) // 2] < 60).all()  # no caption is so high
        assert (change[-20:].max() > 150) == (time >= 2), time
    with av.open(str(burned)) as film:
        assert not film.streams.subtitles


@pytest.mark.parametrize("ending", list(FILMS))
def test_subtitles_as_a_track(talk: SaidTrack, tmp_path: Path, ending: str) -> None:
    talk.add(chunk(4, "{\\b1}你好 \\N end", sine(500, 0.5), end_of_turn=True))
    path = tmp_path / f"out{ending}"
    write_film(plain_film(2), path, talk, subtitles="track")
    with av.open(str(path)) as film:
        stream = film.streams.subtitles[0]
        cues = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p))
            for p in film.demux(stream)
            if p.size
        ]
    skip = 0 if ending == ".mkv" else 2  # the length
    found = [(begin, length, words[skip:].decode()) for begin, length, words in cues if len(words) > skip]
    expected = [(2, 1, "Hello there,"), (3, 1, "Hello there, friend."), (5, 1, "{\\b1}你好 \\N end")]
    assert found == expected


def test_a_video_without_sound_gets_what_was_said(talk: SaidTrack, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_film(plain_film(2, has_sound=False), path, talk)
    sound = sound_of(path)
    assert levels(sound[0], 48000, 2000)[8:12] == pytest.approx([0.5] * 4, abs=0.05)
    write_film(plain_film(2, has_sound=False), path, SaidTrack())
    with av.open(str(path)) as film:
        assert not film.streams.audio


def test_what_is_too_loud_together_is_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    write_film(
        film_with(0.9 * np.sin(np.arange(96000) / 20)), path, track_of(chunk(0, "a", sine(440, 1.0, 0.9)))
    )
    sound = sound_of(path)
    assert 0.9 < np.abs(sound).max() < 1.1
    assert levels(sound[0], 48000, 48000 / (2 * np.pi * 20))[0] == pytest.approx(0.5, abs=0.05)


def film_with(sound: NDArray[Any], rate: int = 48000, layout: str = "mono", begin_s: float = 0.0) -> bytes:
    """Two seconds of pictures and a sound that may begin later; a second channel is half as loud."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        pictures = film.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = film.add_stream("pcm_s16le", rate=rate, layout=layout)
        for _ in range(10):
            film.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        film.mux(pictures.encode())
        gains = {"mono": [1.0], "stereo": [1.0, 0.5], "5.1": [1.0] * 6}[layout]
        channels = np.stack([sound * gain for gain in gains], axis=1)
        frame = av.AudioFrame.from_ndarray(to_pcm(channels).reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, round(rate * begin_s)
        film.mux(track.encode(frame))
        film.mux(track.encode())
    return file.getvalue()


def test_a_sound_that_begins_later_stays_later(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    write_film(film_with(tone, begin_s=0.5), path, SaidTrack())
    assert levels(sound_of(path)[0], 48000, 1000)[:6] == pytest.approx([0, 0] + [0.5] * 4, abs=0.05)


@pytest.mark.parametrize("size", [(33, 17), (1, 1), (2, 300), (300, 2), (161, 96)])
def test_odd_sizes(talk: SaidTrack, tmp_path: Path, size: tuple[int, int]) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as film:
        pictures = film.add_stream("rawvideo", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = *size, "bgr24"
        for i in range(10):
            image = np.full((size[1], size[0], 3), 20 * i, np.uint8)
            film.mux(pictures.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        film.mux(pictures.encode())
    path = tmp_path / "out.mp4"
    write_film(file.getvalue(), path, talk)
    height, width, _ = pictures_of(path)[0][1].shape
    assert (width, height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


@pytest.mark.parametrize(
    ("codec", "kind", "matrix", "expected"),
    [
        ("libx264", "yuv420p", 1, 1),
        ("libx264", "yuv420p", 2, 2),
        ("libx264", "yuv420p", 5, 6),
        ("mjpeg", "yuvj420p", 5, 6),
    ],
)
def test_colours_stay(tmp_path: Path, codec: str, kind: str, matrix: int, expected: int) -> None:
    colours = [(90, 110, 160), (150, 110, 100), (80, 160, 120), (120, 128, 128), (190, 120, 135)]
    planes = np.zeros((96, 320), np.uint8)
    chroma = planes[64:].reshape(2, 32, 160)
    for i, (y, u, v) in enumerate(colours):
        planes[:64, 64 * i : 64 * i + 64] = y
        chroma[0, :, 32 * i : 32 * i + 32], chroma[1, :, 32 * i : 32 * i + 32] = u, v
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        pictures = film.add_stream(codec, rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 320, 64, kind
        pictures.codec_context.colorspace = matrix
        for _ in range(5):
            film.mux(pictures.encode(av.VideoFrame.from_ndarray(planes, kind)))
        film.mux(pictures.encode())
    path = tmp_path / "out.mp4"
    write_film(file.getvalue(), path, SaidTrack())
    with av.open(str(path)) as opened:
        context, frame = opened.streams.video[0].codec_context, next(opened.decode(video=0))
        assert context.colorspace == expected
        assert context.color_range != 2  # all of 0 to 255
        found = frame.to_ndarray(format="yuv420p")
    if kind == "yuvj420p":  # from 0 to 255 to 16 to 235
        planes[:64] = 16 + planes[:64] * (219 / 255)
        planes[64:] = 128 + (planes[64:].astype(float) - 128) * (224 / 255)
    middles = np.arange(32, 320, 64)
    np.testing.assert_allclose(found[32, middles], planes[32, middles], atol=4)
    for was, now in zip(planes[64:].reshape(2, 32, 160), found[64:].reshape(2, 32, 160), strict=True):
        np.testing.assert_allclose(now[16, middles // 2], was[16, middles // 2], atol=4)


def test_a_turned_video_is_written_upright(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_film(clip(1, fps=5, rotation=90), path, SaidTrack())
    assert pictures_of(path)[0][1].shape == (160, 96, 3)


@pytest.mark.parametrize(("rate", "layout"), [(8000, "mono"), (44100, "stereo"), (96000, "5.1")])
def test_other_rates_and_channels(tmp_path: Path, rate: int, layout: str) -> None:
    path = tmp_path / "out.mp4"
    write_film(
        film_with(0.3 * np.sin(np.arange(2 * rate) * 2 * np.pi * 500 / rate), rate, layout), path, SaidTrack()
    )
    sound = sound_of(path)
    assert sound.shape[1] / 48000 == pytest.approx(2, abs=0.05)
    assert levels(sound[0], 48000, 500)[1:7] == pytest.approx([0.3] * 6, abs=0.05)
    right = 0.15 if layout == "stereo" else 0.3
    assert levels(sound[1], 48000, 500)[1:7] == pytest.approx([right] * 6, abs=0.05)


# What goes wrong.


def not_video(case: str, tmp_path: Path) -> Any:
    path = tmp_path / "in.mp4"
    contents: dict[str, Callable[[], bytes]] = {
        "sound": lambda: sound_file("ipod", "aac"),
        "wav": lambda: wav(np.zeros(16000, np.float32)),
        "empty": lambda: b"",
        "text": lambda: b"hello" * 1000,
        "truncated": lambda: plain_film(2)[:-1000],
        "head": lambda: plain_film(2)[:100],
    }
    path.write_bytes(contents[case]())
    return path


@pytest.mark.parametrize("case", ["sound", "wav", "empty", "text", "truncated", "head"])
def test_what_is_no_video_is_refused(talk: SaidTrack, tmp_path: Path, case: str) -> None:
    source, path = not_video(case, tmp_path), tmp_path / "out.mp4"
    with pytest.raises(ValueError, match=r"^\[video\] expected .*in\.mp4"):
        write_film(source, path, talk)
    with pytest.raises(ValueError, match=r"^\[video\] expected .*in\.mp4"):
        next(units_of_video(find(source, "video")))
    assert not path.exists()


def test_a_film_that_was_cut_off_is_written_as_far_as_it_goes(talk: SaidTrack, tmp_path: Path) -> None:
    data = clip(4, path=tmp_path / "in.mp4", options={"movflags": "faststart"})
    for share in (0.5, 0.9, 0.99):
        write_film(data[: int(share * len(data))], tmp_path / "out.mp4", SaidTrack())
        assert len(pictures_of(tmp_path / "out.mp4")) / 100 == pytest.approx(share, abs=0.3)


@pytest.fixture(scope="module")
def sound_film() -> bytes:
    return clip(2.2, fps=10)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_videos_are_written_or_refused(
    sound_film: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(sound_film)
    where = st.one_of(st.integers(0, len(damaged) - 1), st.integers(len(damaged) - 3000, len(damaged) - 1))
    for at in data.draw(st.lists(where, min_size=1, max_size=20)):
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "out.mkv"
    try:
        write_film(bytes(damaged), path, track_of(chunk(0, "a", sine(500))))
    except ValueError as error:
        assert str(error).startswith(("[video] expected ", "[audio] expected "))  # noqa: PT017
        assert not path.exists()
    else:
        assert pictures_of(path)
        path.unlink()


def test_no_video_at_all(talk: SaidTrack, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^\[video\] expected a video file, got nothing"):
        write_film(tmp_path / "no.mp4", tmp_path / "out.mp4", talk)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("out.ogv", ValueError, r"expected a file \.wav, \.flac, \.mp4, \.mov, \.mkv, got"),
        ("out", ValueError, "expected a file"),
        ("no/out.mp4", OSError, "expected a folder, got none"),
        ("no/out.wav", OSError, "expected a folder, got none"),
        ("folder.mp4", OSError, "expected a file that can be written, got one that cannot"),
        ("talk.mp4", ValueError, "expected another file than the one that is heard"),
        ("same.mp4", ValueError, "expected another file than the one that is heard"),
    ],
)
def test_places_where_nothing_can_be_written(
    talk: SaidTrack, tmp_path: Path, name: str, kind: type[Exception], message: str
) -> None:
    original = tmp_path / "talk.mp4"
    original.write_bytes(plain_film(1))
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "same.mp4").symlink_to(original)
    with pytest.raises(kind, match=rf"^\[output\] {message}"):
        check_output(tmp_path / name, original)
    if name.endswith(".mp4"):
        with pytest.raises(kind, match=rf"^\[output\] {message}"):
            write_film(original, tmp_path / name, talk)
    assert original.read_bytes() == plain_film(1)


def test_wrong_arguments(talk: SaidTrack, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^\[output\] expected a film .*out.wav"):
        write_film(plain_film(1), tmp_path / "out.wav", talk)
    with pytest.raises(ValueError, match=r"^\[output\] expected subtitles burned, track, none, got 'soft'"):
        write_film(plain_film(1), tmp_path / "out.mp4", talk, subtitles="soft")
    with pytest.raises(ValueError, match=r"^\[output\] expected a font file"):
        write_film(plain_film(1), tmp_path / "out.mp4", talk, font=str(tmp_path / "no.ttf"))
    with pytest.raises(ValueError, match="flac"):
        write_sound(tmp_path / "out.mp4", talk, np.zeros(16000, np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.wav"])
def test_a_full_disk_leaves_no_file(talk: SaidTrack, tmp_path: Path, name: str) -> None:
    import resource

    data, path, heard = clip(3), tmp_path / name, np.zeros(48000, np.float32)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"^\[output\] expected a file that can be written, got: .*{name}"):
            write_sound(path, talk, heard) if name == "out.wav" else write_film(data, path, talk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not path.exists()


def test_nothing_is_printed(talk: SaidTrack, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_film(plain_film(1), tmp_path / "out.mp4", talk)
    assert capfd.readouterr().out == ""


# Captions.


def test_lines_are_no_wider_than_the_picture() -> None:
    font = _open_font(None, 20)
    text = "The quick brown fox jumps over the lazy dog. 敏捷的棕色狐狸跳过懒狗 " + "x" * 100
    for width in (60, 200, 1000):
        lines = _wrapped(text, font, width)
        assert "".join("".join(lines).split()) == "".join(text.split())
        assert all(font.getlength(line) <= width for line in lines)
    assert _wrapped("two words", font, 1000) == ["two words"]


def test_a_font_is_found_that_has_the_characters() -> None:
    assert _best_font("Hello", (None,)) == (None, "")
    name, missing = _best_font("Hello 你好\U000e0100", ("no such font.ttf", None))
    assert name is None
    assert set(missing) >= {"你", "好"}
    assert Captions([Cue(0, 1, "Hello")]).missing == ""


def test_a_long_caption_leaves_room_for_the_picture() -> None:
    captions = Captions([Cue(0, 1, "word " * 400)])
    grey = np.full((720, 1280, 3), 128, np.uint8)
    shown = captions.on(grey, 0.5)
    assert (shown[:400] == 128).all()
    assert shown.shape == grey.shape
    assert (shown[-100:] == 255).any()
    assert (captions.on(grey, 1.0) == 128).all()


# What is seen and heard.


def test_units_are_those_of_the_library() -> None:
    for n_stack in (1, 4):
        data = clip(3.3)
        units = list(units_of_video(find(data, "video"), stack_frames=n_stack))
        content = [item for unit in units for item in (unit.frames[0], unit.samples, *unit.frames[1:])]
        expected = read_units(data, stack_frames=n_stack)
        assert len(content) == len(expected)
        for found, item in zip(content, expected, strict=True):
            if item.ndim == 3:
                np.testing.assert_array_equal(found, item)
            else:
                assert found.shape == (16000,)
                np.testing.assert_array_equal(found[: len(item)], item)
                assert not found[len(item) :].any()


def test_a_long_video_has_a_unit_for_every_second() -> None:
    data = clip(70, fps=2, sound=None)
    numbers = [number_of(unit.frames[0]) for unit in units_of_video(find(data, "video"))]
    assert numbers == list(range(0, 140, 2))
    first = list(units_of_video(find(data, "video"), seconds=2.5))
    assert [number_of(unit.frames[0]) for unit in first] == [0, 2, 4]
    assert all(unit.samples.shape == (16000,) and not unit.samples.any() for unit in first)


def test_a_recording_in_units() -> None:
    sound = np.arange(1, 40001, dtype=np.float32)
    units = list(units_of_sound(sound))
    np.testing.assert_array_equal(np.concatenate([unit.samples for unit in units])[:40000], sound)
    assert [unit.samples.shape for unit in units] == [(16000,)] * 3
    assert all(not unit.frames for unit in units)
    assert len(list(units_of_sound(sound, 2))) == 2
    assert list(units_of_sound(sound[:0])) == []


def test_silence_shows_the_last_picture() -> None:
    units = list(with_silence(units_of_video(find(clip(2), "video")), 3))
    assert [number_of(unit.frames[0]) for unit in units] == [0, 25, 25, 25, 25]
    assert not units[-1].samples.any()
    assert list(with_silence(iter(()), 3)) == []
    assert math.isclose(sum(len(unit.samples) for unit in units), 5 * 16000)


def test_the_film_of_a_conversation_can_be_read_again(talk: SaidTrack, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_film(clip(3, fps=10), path, talk)
    assert len(list(units_of_video(find(path, "video")))) == 4
    assert len(to_samples(path)) / 16000 == pytest.approx(4, abs=0.05)
