from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import wav
from minicpmo_convert.convert import convert
from minicpmo_cpp import (
    Audio,
    MiniCPMOError,
    Model,
    ModelFileError,
    UnsupportedModelError,
    Voice,
    system_prompt,
)
from minicpmo_cpp.messages import parse_messages
from minicpmo_cpp.parity.golden import Golden
from minicpmo_cpp.voice_store import VoiceStore
from numpy.typing import NDArray


def sweep(seconds: float) -> NDArray[np.float32]:
    time = np.arange(int(seconds * 16000)) / 16000
    return (0.3 * np.sin(2 * np.pi * (150 + 60 * time) * time)).astype(np.float32)


RECORDING = sweep(2.0)


@pytest.fixture(scope="module")
def speaker(convert_once: Callable[[str, str], Path]) -> Model:
    return Model.load(convert_once("tiny-a", "f32"), n_threads=1)


@pytest.fixture(scope="module")
def store(speaker: Model) -> VoiceStore:
    return speaker._open_voices()


@pytest.fixture(scope="module")
def voice(speaker: Model) -> Voice:
    return speaker.encode_voice(RECORDING, name="Anna")


def test_a_recording_becomes_a_voice(voice: Voice) -> None:
    assert voice.name == "Anna"
    assert voice.duration_s == 2.0
    assert len(voice.codes) == 50
    assert voice.mel.shape == (100, 80)
    assert voice.speaker.shape == (192,)
    np.testing.assert_allclose(voice.samples, RECORDING, rtol=0, atol=1 / 32768)
    assert repr(voice) == "<Voice 'Anna', 2.0 s>"


def test_a_saved_voice_is_the_same_voice(voice: Voice, tmp_path: Path) -> None:
    voice.save(tmp_path / "anna.gguf")
    found = Voice.load(tmp_path / "anna.gguf")
    assert (found.name, found.key, found.duration_s) == (voice.name, voice.key, voice.duration_s)
    np.testing.assert_array_equal(found.samples, voice.samples)
    np.testing.assert_array_equal(found.mel, voice.mel)


def test_a_voice_that_cannot_be_saved_or_loaded_says_so(
    voice: Voice, tmp_path: Path, model_path: Path
) -> None:
    with pytest.raises(MiniCPMOError, match="none"):
        voice.save(tmp_path / "none" / "anna.gguf")
    with pytest.raises(ModelFileError, match=r"no\.gguf"):
        Voice.load(tmp_path / "no.gguf")
    (tmp_path / "short.gguf").write_bytes(b"GGUF" + bytes(8))
    with pytest.raises(ModelFileError, match=r"short\.gguf"):
        Voice.load(tmp_path / "short.gguf")
    with pytest.raises(ModelFileError, match="one voice"):
        Voice.load(model_path)


@pytest.mark.parametrize("seconds", [0.1, 30])
def test_recordings_too_short_or_too_long_are_refused_in_seconds(speaker: Model, seconds: float) -> None:
    message = rf"^\[voice\] expected a recording of 0\.5 to .* s, got {seconds} s"
    with pytest.raises(ValueError, match=message):
        speaker.encode_voice(sweep(seconds))


def test_a_voice_is_named_by_a_str(speaker: Model) -> None:
    with pytest.raises(TypeError, match="name"):
        speaker.encode_voice(RECORDING, name=3)  # type: ignore[arg-type]


def test_every_way_to_name_a_voice(store: VoiceStore, voice: Voice, tmp_path: Path) -> None:
    recording, saved = tmp_path / "anna.wav", tmp_path / "anna.gguf"
    recording.write_bytes(wav(RECORDING))
    voice.save(saved)
    ways: list[Any] = [voice, RECORDING, Audio(RECORDING), (RECORDING, 16000), recording.read_bytes()]
    for way in [*ways, recording, str(recording), recording.as_uri(), saved, str(saved)]:
        assert store.choose(way, None).key == voice.key, way
    assert store.choose(None, RECORDING).key == voice.key


def test_a_voice_in_the_file_is_taken_by_its_name(golden: Path, tmp_path: Path) -> None:
    data = Golden(golden / "tiny-a")
    recordings = {}
    for name, seconds in (("Anna", 1.0), ("Bert", 1.5)):
        recordings[name] = tmp_path / f"{name}.wav"
        recordings[name].write_bytes(wav(sweep(seconds)))
    path = tmp_path / "with-voices.gguf"
    convert(data.checkpoint, path, "f32", token2wav=[data.causal_vocoder], voices=recordings)
    model = Model.load(path, n_threads=1)
    assert model.voices == ["Anna", "Bert"]
    assert model.voice("Bert").duration_s == 1.5
    store = model._open_voices()
    assert store.choose("Bert", None).name == "Bert"
    assert store.choose(None, None).name == "Anna"
    assert store.choose(None, sweep(2.0)).duration_s == 2.0, "who gives a recording wants its voice"
    with pytest.raises(ValueError, match="Anna, Bert"):
        store.choose("Carl", None)
    with pytest.raises(ValueError, match="Anna, Bert"):
        model.voice("Carl")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("nobody", ValueError, "got 'nobody', and the model has none"),
        (None, ValueError, r"expected a voice, got none.*--ref-audio"),
        (Path("no.wav"), FileNotFoundError, r"no\.wav"),
        (Path(__file__), ValueError, "expected an audio file"),
        (3, TypeError, "got int"),
        (np.zeros((3, 3, 3), np.float32), ValueError, "shape"),
        (sweep(0.2), ValueError, "0.2 s"),
    ],
)
def test_what_is_no_voice_is_refused(
    store: VoiceStore, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.choose(given, None)


def test_a_recording_is_encoded_once_and_a_voice_heard_once(store: VoiceStore, voice: Voice) -> None:
    assert store.choose(RECORDING, None) is store.choose(RECORDING.copy(), None)
    first = store.take(voice, 0)
    second = store.take(voice, 0)
    assert first is not second, "a decoder serves one answer at a time"
    store.give_back(voice, 0, first)
    assert store.take(voice, 0) is first
    store.give_back(voice, 0, first)
    assert store.take(voice, 2) is not first
    for _ in range(3):
        store.give_back(voice, 0, second)
    assert len(store._idle) == 2


def test_a_model_without_speech_has_no_voices(mute_path: Path) -> None:
    mute = Model.load(mute_path, n_threads=1)
    assert mute.voices == []
    for refused in (
        lambda: mute.encode_voice(RECORDING),
        lambda: mute.voice("Anna"),
        lambda: mute.chat("Hi", audio=True, voice=RECORDING),
        lambda: mute.speak("Hi", RECORDING),
        lambda: mute.mel_to_wave(np.zeros((4, 80), np.float32)),
    ):
        with pytest.raises(UnsupportedModelError, match="speaks"):
            refused()


def test_a_system_prompt_takes_a_voice(voice: Voice) -> None:
    content = system_prompt(voice, "audio_roleplay", "en")["content"]
    np.testing.assert_array_equal(content[1], voice.samples)


def test_the_one_sound_of_the_system_message_is_the_reference() -> None:
    def reference(*content: Any) -> Any:
        system = {"role": "system", "content": list(content)}
        return parse_messages([system, {"role": "user", "content": [RECORDING]}], is_whole=True).reference

    np.testing.assert_array_equal(reference("Clone", RECORDING, "this"), RECORDING)
    assert reference("Be brief.") is None
    assert reference(RECORDING, RECORDING) is None
