from __future__ import annotations

import base64
import io
import math
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from minicpmo_cpp import Audio, audio
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.media_type import container, kind
from numpy.typing import NDArray

TONE = (0.5 * np.sin(np.arange(1600) / 3)).astype(np.float32)


def noise(n_frame: int, n_channel: int) -> NDArray[np.float64]:
    """Tones below 800 Hz at 8 kHz and a little noise, which codecs keep well."""
    time = np.arange(n_frame)[:, None]
    tones = np.sin(time * np.linspace(0.05, 0.3, n_channel))
    found: NDArray[np.float64] = 0.4 * tones + 0.01 * np.random.default_rng(0).standard_normal(tones.shape)
    return found


def encoded(samples: NDArray[Any], rate: int = 16000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


WAV = encoded(TONE)
FLAC = encoded(TONE, kind="FLAC")


def check_samples(samples: NDArray[np.float32], expected: NDArray[Any]) -> None:
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    assert samples.flags.writeable
    np.testing.assert_array_equal(samples, expected)


# Arrays


def test_a_float_array_is_copied_as_it_is() -> None:
    samples = to_samples(TONE)
    check_samples(samples, TONE)
    assert not np.shares_memory(samples, TONE)
    check_samples(to_samples(TONE[::-2]), TONE[::-2])
    check_samples(to_samples(TONE.astype(">f8")), TONE)
    check_samples(to_samples(TONE.astype(np.float16)), TONE.astype(np.float16))
    check_samples(to_samples(np.ones(1, np.float32)), np.ones(1))


@pytest.mark.parametrize(
    ("pcm", "expected"),
    [
        (np.array([-32768, 0, 16384, 32767], np.int16), [-1, 0, 0.5, 32767 / 32768]),
        (np.array([-32768, 16384], ">i2"), [-1, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([0, 128, 192, 255], np.uint8), [-1, 0, 0.5, 127 / 128]),
    ],
)
def test_integers_are_scaled_to_full_scale(pcm: NDArray[Any], expected: list[float]) -> None:
    check_samples(to_samples(pcm), np.array(expected, np.float32))


def test_channels_are_averaged_wherever_they_are() -> None:
    stereo = np.stack([TONE, -TONE / 2], axis=1)
    for array in (stereo, stereo.T, np.asfortranarray(stereo)):
        check_samples(to_samples(array), (TONE - TONE / 2) / 2)
    check_samples(to_samples(TONE[:, None]), TONE)
    check_samples(to_samples(TONE[None]), TONE)
    check_samples(to_samples(np.full((1, 1), 0.25)), np.array([0.25]))
    check_samples(to_samples(np.array([[16384, 0]] * 3, np.int16)), np.full(3, 0.25))


def test_a_rate_comes_with_the_array_in_every_order() -> None:
    expected = soxr.resample(TONE, 8000, 16000, quality="HQ")
    for given_audio in (
        Audio(TONE, 8000),
        (TONE, 8000),
        (8000, TONE),
        [TONE, np.int64(8000)],
        (TONE, 8000.0),
    ):
        check_samples(to_samples(given_audio), expected)
    check_samples(to_samples(TONE, 8000), expected)
    check_samples(to_samples(TONE, sample_rate=16000), TONE)
    check_samples(to_samples(Audio(TONE)), TONE)


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 15999, 24000, 44100, 48000, 192000, 768000])
@pytest.mark.parametrize("n", [1, 2, 17, 40001])
def test_resampling_is_soxr_over_the_whole(rate: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(n, 1)[:, 0].astype(np.float32)
    whole = soxr.resample(samples, rate, 16000, quality="HQ")
    expected = np.pad(whole, (0, math.ceil(n * 16000 / rate)))[: math.ceil(n * 16000 / rate)]
    for block in (audio._BLOCK, 1000):
        monkeypatch.setattr(audio, "_BLOCK", block)
        check_samples(to_samples(samples, rate), expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0, np.float32), "at least one sample, got none"),
        (np.zeros((0, 2), np.float32), "at least one sample, got none"),
        (np.zeros((2, 2)), r"got shape \[2, 2\]"),
        (np.zeros((80, 3000)), r"got shape \[80, 3000\]"),
        (np.zeros((2, 100, 2)), r"got shape \[2, 100, 2\]"),
        (np.array(0.5), r"got shape \[\]"),
        (np.array([0.0, np.nan]), r"finite samples, got nan \(array, sample 1\)"),
        (np.array([[0, 0], [0, 0], [0, -np.inf]]), r"finite samples, got -inf \(array, sample 2\)"),
        (np.array([0, 12000.0]), r"got 12000; integers in floats\? .*int16.* sample 1\)"),
        (np.array([1e300]), "samples of -1 to 1, got 1e.300"),
        (np.zeros(4, np.int64), "floats, int16, int32 or uint8, got int64"),
        (np.zeros(4, bool), "got bool"),
        (np.zeros(4, complex), "got complex128"),
        (np.array(["x"]), "got <U1"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(array: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[audio\] expected .*{message}"):
        to_samples(array)


def test_a_bad_sample_far_into_a_sound_is_named() -> None:
    samples = np.zeros((audio._BLOCK, 2), np.float32)
    samples[-3, 1] = np.nan
    with pytest.raises(ValueError, match=f"sample {audio._BLOCK - 3}"):
        to_samples(samples)


def test_moderate_overshoot_passes() -> None:
    check_samples(to_samples(np.array([1.5, -4.0, 32.0])), np.array([1.5, -4.0, 32.0]))


@pytest.mark.parametrize(
    ("rate", "kind"),
    [
        *((rate, ValueError) for rate in (0, -1, 999, 768001, 44100.5, math.nan, math.inf)),
        *((rate, TypeError) for rate in ("16000", True, 16000j)),
    ],
)
def test_rates_that_are_none_are_refused(rate: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^\[audio\] expected a rate"):
        to_samples(TONE, rate)


def test_two_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one rate"):
        to_samples(Audio(TONE, 8000), 16000)
    for given_audio, rate in ((WAV, 16000), (Audio(WAV), None)):
        with pytest.raises(ValueError, match="expected no rate with a file"):
            to_samples(given_audio, rate)


@pytest.mark.parametrize("value", [None, 3, ["a"], [0.1, 0.2], (1, 2), (TONE, TONE), {"url": "x"}, object()])
def test_other_things_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^\[audio\] expected an array, Audio"):
        to_samples(value)


def test_the_longest_sound_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SECONDS", 0.1)
    to_samples(TONE)
    for given_audio in (np.zeros(1601), (np.zeros(801), 8000), encoded(np.zeros(1601))):
        with pytest.raises(ValueError, match=r"at most 0.1 s, got more"):
            to_samples(given_audio)


SHAPES = st.one_of(
    st.tuples(st.integers(1, 300)),
    st.tuples(st.integers(9, 300), st.integers(1, 8)),
    st.tuples(st.integers(1, 8), st.integers(9, 300)),
)


@settings(max_examples=150, deadline=None)
@given(st.data(), SHAPES, st.sampled_from(["f2", "f4", "f8", "i2", "i4", "u1"]), st.integers(1000, 192000))
def test_every_sound_becomes_the_same_finite_samples_twice(
    data: st.DataObject, shape: tuple[int, ...], dtype: str, rate: int
) -> None:
    elements = {"min_value": -2, "max_value": 2} if dtype[0] == "f" else {}
    array = data.draw(arrays.arrays(np.dtype(dtype), shape, elements=elements or None))
    before = array.copy()
    first, second = to_samples(array, rate), to_samples((rate, array))
    np.testing.assert_array_equal(array, before)
    check_samples(first, second)
    assert np.isfinite(first).all()
    assert len(first) == -(-max(shape) * 16000 // rate)
    assert abs(first).max() < 4


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(np.float64, st.integers(0, 20)))
def test_any_floats_give_samples_or_a_value_error(array: NDArray[Any]) -> None:
    try:
        message = f"[audio] expected {abs(to_samples(array)).max() <= 32}"
    except ValueError as error:
        message = str(error)
    assert message.startswith("[audio] expected")
    assert not message.endswith("expected False")


# Files


FORMATS: list[tuple[str, str | None]] = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", None),
    ("RF64", None),
    ("W64", None),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", None),
    ("AIFF", None),
    ("AU", None),
    ("CAF", None),
]


def can_hold(kind: str, subtype: str | None, rate: int, n_channel: int) -> bool:
    """Whether the format has that rate and so many channels."""
    if kind == "MP3" or subtype == "IMA_ADPCM":
        return n_channel <= 2
    return subtype != "OPUS" or rate in (8000, 16000, 48000)


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "n_channel"),
    [
        (kind, subtype, rate, n_channel)
        for kind, subtype in FORMATS
        for rate in (8000, 16000, 22050, 44100, 48000)
        for n_channel in (1, 2, 6)
        if can_hold(kind, subtype, rate, n_channel)
    ],
)
def test_files_are_read_as_librosa_reads_them(
    kind: str, subtype: str | None, rate: int, n_channel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_BLOCK", 5000)
    original = noise(rate // 2, n_channel)
    path = tmp_path / "sound"
    path.write_bytes(encoded(original, rate, kind, subtype))
    with soundfile.SoundFile(path) as file:
        mono, found_rate = np.mean(file.read(dtype="float32", always_2d=True).T, axis=0), file.samplerate
    if found_rate != 16000:
        n_sample = math.ceil(len(mono) * 16000 / found_rate)
        mono = np.pad(soxr.resample(mono, found_rate, 16000, quality="HQ"), (0, 1))[:n_sample]
    samples = to_samples(path)
    check_samples(samples, mono)
    # Beside the reference: it is that sound, and not merely what the same library makes of it twice.
    direct = to_samples(original, rate)
    n = min(len(direct), len(samples)) - 800
    best = max(np.corrcoef(direct[:n], samples[shift : shift + n])[0, 1] for shift in range(0, 800, 4))
    assert best > 0.9


def test_paths_bytes_and_urls_name_the_same_sound(tmp_path: Path) -> None:
    path = tmp_path / "a sound.raw"  # the bytes decide
    path.write_bytes(WAV)
    url = f"data:audio/wav;base64,{base64.b64encode(WAV).decode()}"
    expected = to_samples(WAV)
    assert len(expected) == len(TONE)
    for given_audio in (path, str(path), bytearray(WAV), memoryview(WAV), path.as_uri(), url):
        check_samples(to_samples(given_audio), expected)


def hostile_files() -> dict[str, bytes]:
    return {
        "empty.wav": b"",
        "header.wav": WAV[:20],
        "no-samples.wav": WAV[:44],
        "head.flac": FLAC[:10],
        "text.mp3": b"Dear listener, this is no sound.\n" * 10,
        "tag.mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(100),
        "sync.mp3": b"\xff\xfb\x90\x00" + bytes(100),
        "page.ogg": encoded(TONE, kind="OGG")[:40],
        "zeros.wav": b"RIFF\0\0\0\0WAVE" + bytes(100),
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "rate.wav": WAV[:24] + struct.pack("<I", 1) + WAV[28:],
        "nan.wav": encoded(np.array([0, np.nan], np.float32), subtype="FLOAT"),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_are_refused_with_path_and_reason(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(hostile_files()[name])
    with pytest.raises(ValueError, match=r"^\[audio\] expected .*got") as caught:
        to_samples(path)
    assert str(path) in str(caught.value)
    assert "cffi" not in capfd.readouterr().err  # which would have printed an exception of ours


def test_a_file_that_was_cut_is_heard_as_far_as_it_goes() -> None:
    cut = to_samples(WAV[:1044])
    check_samples(cut, to_samples(WAV)[: len(cut)])
    assert len(cut) == 500


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF"]), st.integers(0, 400), st.binary(max_size=32))
def test_damaged_bytes_give_samples_or_a_value_error(kind: str, at: int, damage: bytes) -> None:
    whole = encoded(TONE, kind=kind)
    for data in (damage, whole[:at] + damage + whole[at + len(damage) :], whole[:at]):
        try:
            message = f"[audio] expected {np.isfinite(to_samples(data)).all()}"
        except ValueError as error:
            message = str(error)
        assert message.startswith("[audio] expected")
        assert not message.endswith("expected False")


def sparse_wav(path: Path, rate: int, n_channel: int, seconds: int) -> None:
    """Silence that takes no room on the disk."""
    n_byte = rate * n_channel * seconds * 2
    layout = (
        b"RIFF",
        36 + n_byte,
        b"WAVEfmt ",
        16,
        1,
        n_channel,
        rate,
        rate * n_channel * 2,
        n_channel * 2,
        16,
    )
    with path.open("wb") as file:
        file.write(struct.pack("<4sI8sIHHIIHH4sI", *layout, b"data", n_byte))
        file.truncate(44 + n_byte)


@pytest.mark.parametrize(("rate", "n_channel", "seconds"), [(8000, 1, 3600), (48000, 8, 60)])
def test_a_long_file_takes_the_memory_of_its_samples(
    rate: int, n_channel: int, seconds: int, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    sparse_wav(path, rate, n_channel, seconds)
    tracemalloc.start()
    try:
        samples = to_samples(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(samples) == seconds * 16000
    assert peak < 1.125 * samples.nbytes + 16 * 2**20  # a growing buffer keeps an eighth to spare


# What is missing


def test_without_soundfile_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    check_samples(to_samples(TONE), TONE)
    with pytest.raises(ImportError, match=r"pip install 'minicpmo-cpp\[cli\]'"):
        to_samples(WAV)


def test_without_soxr_only_sound_at_other_rates_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert len(to_samples(WAV)) == len(TONE)
    with pytest.raises(ImportError, match=r"8000 Hz needs soxr: pip install 'minicpmo-cpp\[cli\]'"):
        to_samples(TONE, 8000)


def test_without_pyav_its_containers_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"\[audio\] .*pip install 'minicpmo-cpp\[video\]'"):
        to_samples(b"\0\0\0\x1cftypM4A " + bytes(100))


def written_by_pyav(container_format: str, codec: str, rate: int, n_channel: int) -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as output:
        layout = {1: "mono", 2: "stereo"}[n_channel]
        stream = output.add_stream(codec, rate=rate, layout=layout)
        samples = np.ascontiguousarray(noise(rate, n_channel).T, np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode()):
            output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container_format", "codec", "rate"),
    [("mp4", "aac", 44100), ("matroska", "aac", 16000), ("webm", "libopus", 48000), ("adts", "aac", 22050)],
)
@pytest.mark.parametrize("n_channel", [1, 2])
def test_pyav_reads_what_libsndfile_does_not(
    container_format: str, codec: str, rate: int, n_channel: int
) -> None:
    samples = to_samples(written_by_pyav(container_format, codec, rate, n_channel))
    direct = to_samples(noise(rate, n_channel), rate)
    assert len(samples) == pytest.approx(16000, abs=2000)
    n = 12000
    best = max(np.corrcoef(direct[:n], samples[shift : shift + n])[0, 1] for shift in range(0, 2400, 2))
    assert best > 0.95


# Kinds


@pytest.mark.parametrize(
    ("head", "ending", "expected"),
    [
        (WAV[:64], "", "audio"),
        (WAV[:64], ".png", "audio"),
        (FLAC[:64], "", "audio"),
        (b"OggS" + bytes(60), "", "audio"),
        (b"OggS" + bytes(60), ".ogv", "video"),
        (b"ID3\x04" + bytes(60), "", "audio"),
        (b"\xff\xfb\x90\x00", "", "audio"),
        (b"\xff\xf1\x50\x80", "", "audio"),
        (b"\xff\xd8\xff\xe0", ".mp3", "image"),
        (b"\0\0\0\x1cftypisom", "", "video"),
        (b"\0\0\0\x1cftypisom", ".m4a", "audio"),
        (b"\0\0\0\x1cftypM4A ", ".mp4", "audio"),
        (b"\0\0\0\x1cftypavif", ".mp4", "image"),
        (b"\x1aE\xdf\xa3" + bytes(9), "", "video"),
        (b"\x1aE\xdf\xa3" + bytes(9), ".weba", "audio"),
        (b"RIFF\0\0\0\0AVI ", "", "video"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "", "image"),
        (b"", "", "image"),
        (b"words", ".wav", "audio"),
        (b"words", ".mp4", "video"),
        (b"words", ".txt", "image"),
        (bytes(64), ".tga", "image"),
    ],
)
def test_the_bytes_and_then_the_name_tell_the_kind(head: bytes, ending: str, expected: str) -> None:
    assert kind(head, ending) == expected


def test_bytes_that_show_nothing_have_no_container() -> None:
    assert container(b"") is None
    assert container(b"\xff") is None
    assert container(b"words and more words") is None
