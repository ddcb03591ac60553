"""The official interface: what its calls become, and what they refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import minicpmo_cpp
import numpy as np
import pytest
from media_files import film, wav
from minicpmo_cpp import Model, ModelFileError, system_prompt
from minicpmo_cpp.official import MiniCPMO, MiniCPMOProcessor, get_video_frame_audio_segments
from minicpmo_cpp.official.chunk import chunks
from minicpmo_cpp.types import Piece

DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 6}
QUESTION = [{"role": "user", "content": ["Who are you?"]}]


def sound(seconds: float, level: float = 0.1) -> np.ndarray:
    return np.full(int(16000 * seconds), level, np.float32)


class Recorder:
    """A model that remembers what it was asked."""

    allow_remote = False

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def chat(self, messages: Any, **options: Any) -> Any:
        self.asked = {"messages": messages, **options}
        if options.get("stream"):
            return SimpleNamespace(result=lambda: SimpleNamespace(text="yes", audio=None, stop_reason="stop"))
        return SimpleNamespace(text="yes", audio=sound(0.1), sample_rate=24000)


@pytest.fixture(scope="module")
def official() -> MiniCPMO:
    return MiniCPMO(Model.load(DEMO, n_threads=1))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorded(recorder: Recorder) -> MiniCPMO:
    return MiniCPMO(recorder)  # type: ignore[arg-type]


def test_a_model_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="'openbmb/MiniCPM-o-4_5', the name of a repository: minicpmo-convert"
    ):
        MiniCPMO.from_pretrained("openbmb/MiniCPM-o-4_5")
    with pytest.raises(ValueError, match=r"got the folder .*: minicpmo-convert"):
        MiniCPMO.from_pretrained(tmp_path)
    with pytest.raises(ModelFileError, match="missing"):
        MiniCPMO.from_pretrained("folder/missing.gguf")
    with pytest.raises(TypeError, match="expected the path of a GGUF file, got int"):
        MiniCPMO.from_pretrained(5)  # type: ignore[arg-type]


def test_torch_s_keywords_and_calls_change_nothing() -> None:
    model = MiniCPMO.from_pretrained(
        DEMO, trust_remote_code=True, attn_implementation="sdpa", torch_dtype="bfloat16", init_audio=False
    )
    assert model.eval().cuda().to("cuda", dtype="float16").bfloat16().half().float().cpu() is model
    assert model.tts.float() is model.tts
    assert model.init_tts(streaming=True) is model.tts


def test_unknown_keywords_are_named(official: MiniCPMO) -> None:
    with pytest.raises(TypeError, match="'beam_width'"):
        official.chat(msgs=QUESTION, beam_width=3)
    with pytest.raises(TypeError, match="'top_g'"):
        official.generate(msgs=QUESTION, top_g=3)
    with pytest.raises(TypeError, match="'quantise'"):
        MiniCPMO.from_pretrained(DEMO, quantise=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'loudness'"):
        official.as_duplex(loudness=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_new_tokens", 5),
        ("teacher_forcing", True),
        ("tts_proj_layer", -2),
        ("merge_audio_from_same_content", False),
        ("vision_hidden_states", np.zeros(3)),
    ],
)
def test_what_nothing_corresponds_to_is_refused(official: MiniCPMO, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"\[official\] expected .*\({name}\)"):
        official.chat(msgs=QUESTION, **{name: value})


def test_what_is_not_done_is_said(official: MiniCPMO) -> None:
    with pytest.warns(UserWarning, match="num_beams=1, got 3") as caught:
        official.chat(msgs=QUESTION, num_beams=3, **GREEDY)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no tts_sampling_params"):
        official.chat(msgs=QUESTION, tts_sampling_params={"top_k": 3}, **GREEDY)
    official.chat(msgs=QUESTION, num_beams=1, **GREEDY)


def test_without_sampling_the_likeliest_token_is_taken(official: MiniCPMO) -> None:
    text = official.chat(msgs=QUESTION, **GREEDY)
    assert text == official.model.chat(QUESTION, temperature=0, max_new_tokens=6).text
    assert text == "".join(official.chat(msgs=QUESTION, stream=True, **GREEDY))
    answer, prompt = official.chat(msgs=QUESTION, return_prompt=True, **GREEDY)
    assert (answer, prompt) == (text, official.model.build_prompt(QUESTION).text)


def test_messages_have_the_official_forms(recorded: MiniCPMO, recorder: Recorder) -> None:
    recorded.chat(msgs=json.dumps(QUESTION))
    assert recorder.asked["messages"] == QUESTION
    picture = np.zeros((8, 8, 3), np.uint8)
    recorded.chat(picture, [{"role": "user", "content": "What?"}])
    assert recorder.asked["messages"][0]["content"] == [picture, "What?"]
    recorded.chat(msgs=[{"role": "assistant", "content": ["Speak."]}, *QUESTION])
    assert [message["role"] for message in recorder.asked["messages"]] == ["system", "user"]
    with pytest.raises(ValueError, match="expected one conversation"):
        recorded.chat(msgs=[QUESTION, QUESTION])
    with pytest.raises(ValueError, match="expected messages as JSON"):
        recorded.chat(msgs="Who are you?")
    with pytest.raises(TypeError, match="got NoneType"):
        recorded.chat()
    with pytest.raises(ValueError, match="whose content is a str"):
        recorded.chat(picture, QUESTION)


def test_defaults_are_the_official_ones(recorded: MiniCPMO, recorder: Recorder) -> None:
    assert recorded.chat(msgs=QUESTION) == "yes"
    assert recorder.asked == {
        "messages": QUESTION,
        "max_new_tokens": 4096,
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 100,
        "repetition_penalty": 1.02,
        "seed": None,
        "enable_thinking": False,
        "max_slice_nums": None,
        "use_image_id": None,
        "use_tts_template": None,  # where there is sound, as there
        "omni_mode": None,
        "stream_input": False,
        "parse_special": True,
        "stream": True,
    }


def test_the_first_sound_is_the_voice(recorded: MiniCPMO, recorder: Recorder, tmp_path: Path) -> None:
    def voice(*content: Any) -> Any:
        messages = [{"role": "system", "content": "Speak."}, {"role": "user", "content": [*content]}]
        recorded.chat(msgs=messages, generate_audio=True, output_audio_path=str(tmp_path / "out.wav"))
        assert recorder.asked["audio"] is True
        assert recorder.asked["voice_prompt"] is None
        return recorder.asked["voice"]

    np.testing.assert_array_equal(voice("Say", sound(1), sound(2, 0.2)), sound(1))
    (tmp_path / "me.wav").write_bytes(wav(sound(2)))
    part = {"type": "audio_url", "audio_url": {"url": str(tmp_path / "me.wav")}}
    np.testing.assert_array_equal(voice(part), sound(2))
    assert len(voice(sound(40))) == 16 * 16000
    assert voice(sound(0.2)) is None
    assert voice("Say it.") is None
    assert (tmp_path / "out.wav").stat().st_size == 44 + 2 * 1600


def test_sound_without_a_file_is_no_sound(recorded: MiniCPMO, recorder: Recorder, tmp_path: Path) -> None:
    recorded.chat(msgs=QUESTION, generate_audio=True)
    assert "audio" not in recorder.asked
    with pytest.raises(ValueError, match=r"\.wav or \.flac"):
        recorded.chat(msgs=QUESTION, generate_audio=True, output_audio_path=tmp_path / "out.mp3")
    with pytest.raises(ValueError, match="no stream"):
        recorded.chat(msgs=QUESTION, generate_audio=True, output_audio_path="out.wav", stream=True)


def test_the_keywords_of_2_6_are_known(recorded: MiniCPMO, recorder: Recorder, tmp_path: Path) -> None:
    written = recorded.chat(msgs=QUESTION, sampling=False, omni_input=True, return_dict=True, tokenizer=None)
    assert (written.text, written.audio_wav) == ("yes", None)
    assert (recorder.asked["temperature"], recorder.asked["omni_mode"]) == (0, True)
    path = tmp_path / "out.wav"
    said = recorded.chat(msgs=QUESTION, generate_audio=True, output_audio_path=path, return_dict=True)
    assert (said.text, len(said.audio_wav), said.sampling_rate) == ("yes", 1600, 24000)
    with pytest.raises(ValueError, match="expected one of"):
        recorded.chat(msgs=QUESTION, stream=True, return_dict=True)


def test_system_prompts_are_the_official_ones(tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(wav(sound(2)))
    path = str(tmp_path / "me.wav")
    for owner in (MiniCPMO, MiniCPMOProcessor):
        ours = owner.get_sys_prompt(ref_audio=path, mode="omni")
        theirs = system_prompt(sound(2), "omni", "en")
        assert [str(part) for part in ours["content"]] == [str(part) for part in theirs["content"]]
    assert len(MiniCPMO.get_sys_prompt(path, "audio_roleplay", "zh", 500)["content"][1]) == 8000
    with pytest.raises(FileNotFoundError):
        MiniCPMO.get_sys_prompt("missing.wav", "omni")
    with pytest.raises(ValueError, match="expected reference audio"):
        MiniCPMO.get_sys_prompt(mode="voice_cloning")


def test_inputs_of_the_processor_are_keywords(recorded: MiniCPMO, recorder: Recorder) -> None:
    inputs = recorded.processor.apply_chat_template(msgs=QUESTION).to(recorded.device)
    recorded.generate(**inputs, processor=recorded.processor, sampling=False)
    assert (recorder.asked["messages"], recorder.asked["temperature"]) == (QUESTION, 0)


def pieces(*items: str | np.ndarray) -> Any:
    """An answer of words and sounds."""
    made = [Piece(item) if isinstance(item, str) else Piece("", -1, item) for item in items]

    class Answer(list[Piece]):
        stop_reason = "stop"
        sample_rate = 24000 if any(piece.audio is not None for piece in made) else 0

    return Answer(made)


def test_chunks_are_the_pairs_of_4_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    said = pieces("one ", "two ", sound(1), "three", sound(0.5), "four")
    shapes = [(wave.shape, text) for wave, text in chunks(said)]
    assert shapes == [((1, 16000), "one two "), ((1, 8000), "three"), ((1, 0), "four")]
    assert list(chunks(pieces("one", "", "two"))) == [("one", False), ("two", False), ("", True)]


def test_chunks_have_the_names_of_2_6() -> None:
    first, second = chunks(pieces("one ", sound(1), "two", sound(0.5)))
    assert (first.text, first["text"], first[1]) == ("one ", "one ", "one ")
    assert (first.audio_wav.shape, first["audio_wav"].shape) == ((16000,), (16000,))
    assert (second.sampling_rate, second["sampling_rate"]) == (24000, 24000)
    (written, _) = chunks(pieces("one"))
    assert (written["text"], written.audio_wav, written.sampling_rate) == ("one", None, 0)
    with pytest.raises(KeyError):
        written["words"]


def test_waveforms_are_tensors_where_torch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: ("tensor", array)))
    ((kind, array), _) = next(chunks(pieces(sound(1))))
    assert (kind, array.shape) == ("tensor", (1, 16000))


def test_a_video_is_frames_and_sound(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(film(2))
    frames, segments, stacked = get_video_frame_audio_segments(path)
    assert [frame.size for frame in frames] == [(64, 48)] * 2
    assert segments is not None
    assert [len(segment) for segment in segments] == pytest.approx(
        [16000, 16000], abs=1100
    )  # the codec's frame
    assert stacked is None
    _, segments, stacked = get_video_frame_audio_segments(path, stack_frames=3, adjust_audio_length=True)
    assert segments is not None
    assert [len(segment) for segment in segments] == [16000, 16000]
    assert stacked is not None
    assert [frame is not None and frame.size for frame in stacked] == [(64, 102)] * 2
    assert get_video_frame_audio_segments(path, use_audio=False)[1] is None
    (tmp_path / "me.wav").write_bytes(wav(sound(1.01)))
    segments = get_video_frame_audio_segments(path, tmp_path / "me.wav")[1]
    assert segments is not None
    assert [len(segment) for segment in segments] == [16000, 1600]
    with pytest.raises(ValueError, match="last_vad_timestamp"):
        get_video_frame_audio_segments(path, last_vad_timestamp=1.0)  # type: ignore[arg-type]


def test_a_silent_video_has_no_segments(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(film(2, has_sound=False))
    frames, segments, stacked = get_video_frame_audio_segments(path, stack_frames=2, adjust_audio_length=True)
    assert (len(frames), segments) == (2, None)
    assert stacked is not None
    assert len(stacked) == 2


def test_live_conversation_wants_every_second_of_a_long_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(film(66))
    assert len(get_video_frame_audio_segments(path)[0]) == 64
    frames, segments, _ = get_video_frame_audio_segments(path, adjust_audio_length=True)
    assert segments is not None
    assert (len(frames), len(segments)) == (66, 66)
