"""Live conversation with the official calls: what they become, and what a second returns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import minicpmo_cpp
import numpy as np
import pytest
from media_files import film
from minicpmo_cpp import Model
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.official import MiniCPMO, MiniCPMODuplex, generate_duplex_video

DEMO = Path(minicpmo_cpp.__file__).parent / "data" / "demo.gguf"
SECOND = np.full(16000, 0.1, np.float32)
FRAME = np.zeros((8, 8, 3), np.uint8)
PREFIX = "<|im_start|>system\nStreaming Omni Conversation.\n<|audio_start|>"
SUFFIX = "<|audio_end|><|im_end|>"
TIMINGS = SimpleNamespace(
    vision_s=0.1,
    audio_s=0.1,
    prefill_s=0.1,
    decode_s=0.1,
    codes_s=0.2,
    flow_s=0.2,
    vocoder_s=0.2,
    total_s=1.0,
)


class FakeSession:
    """A live conversation that hears, and says what it is told to."""

    unit_samples = 16000

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.prompt: dict[str, Any] = {}
        self.steps: list[dict[str, Any]] = []
        self.says: dict[str, Any] = {}
        self.on_step = lambda: None
        self.is_closed = False
        self.n_interrupt = 0

    def prepare(self, **prompt: Any) -> None:
        self.prompt = prompt

    def step(self, **unit: Any) -> Any:
        self.steps.append(unit)
        self.on_step()
        said = {"is_listen": True, "text": "", "audio": None, "end_of_turn": False, "token_ids": [7]}
        return SimpleNamespace(
            unit=len(self.steps) - 1, sample_rate=24000, timings=TIMINGS, **said | self.says
        )

    def set_options(self, **options: Any) -> None:
        self.options |= options

    @property
    def unit(self) -> int:
        return len(self.steps)

    def interrupt(self) -> None:
        self.n_interrupt += 1

    def close(self) -> None:
        self.is_closed = True


class FakeModel:
    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.samples = np.zeros(0, np.float32)  # of the first voice of the file

    def _open_voices(self) -> FakeModel:
        return self

    def choose(self, voice: Any, reference: None) -> Any:
        return SimpleNamespace(of=voice, samples=self.samples)

    def duplex(self, **options: Any) -> FakeSession:
        self.sessions.append(FakeSession(options))
        return self.sessions[-1]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def simplex(model: FakeModel) -> MiniCPMO:
    return MiniCPMO(model)  # type: ignore[arg-type]


@pytest.fixture
def duplex(simplex: MiniCPMO) -> MiniCPMODuplex:
    return simplex.as_duplex()


def test_the_defaults_are_the_official_ones(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare()
    assert model.sessions[0].options == {
        "audio": True,
        "force_listen": 0,
        "speech_temperature": 0.8,
        "n_steps": None,
        "window": "off",
        "window_high": None,
        "window_low": None,
        "max_previous": 500,
        "max_units": 24,
        "seed": None,
        "max_tokens_per_unit": 20,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "listen_scale": 1.0,
        "repetition_penalty": 1.05,
        "repetition_window": 512,
        "length_penalty": 1.1,
    }


def test_a_prompt_gets_its_tags(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    def prompt(*arguments: Any, **options: Any) -> tuple[str, Any]:
        text = duplex.prepare(*arguments, **options)
        return text, model.sessions[-1].prompt

    nobody = "<|im_start|>system\nStreaming Omni Conversation.<|im_end|>"
    assert prompt()[0] == nobody
    text, asked = prompt(ref_audio=SECOND)
    assert text == PREFIX + "[audio embedding]" + SUFFIX
    assert (asked["prefix"], asked["suffix"]) == (PREFIX, SUFFIX)
    assert asked["reference"] is SECOND
    assert asked["voice"].of is SECOND
    assert prompt("Say hello.", ref_audio=SECOND)[1]["prefix"] == PREFIX.replace(
        "Streaming Omni Conversation", "Say hello"
    )
    assert prompt(ref_audio=SECOND, prompt_wav_path="me.wav")[1]["voice"].of == "me.wav"
    whole = ("<|im_start|>system\nStreaming Vision Caption.", "<|im_end|>")
    text, asked = prompt(*whole)
    assert text == "".join(whole)
    assert (asked["prefix"], asked["suffix"], asked["reference"]) == (*whole, None)
    assert [session.is_closed for session in model.sessions] == [True] * 4 + [False]


def test_without_a_recording_the_voice_s_own_is_heard(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    model.samples = SECOND
    assert duplex.prepare() == PREFIX + "[audio embedding]" + SUFFIX
    assert model.sessions[-1].prompt["reference"] is SECOND


def test_a_second_is_read_when_it_is_answered(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare()
    done = duplex.streaming_prefill(SECOND, [FRAME, FRAME], ["a", "b"], max_slice_nums=[2, 1])
    assert (done["success"], done["reason"], done["cost_all"]) == (True, "", 0)
    assert model.sessions[0].steps == []
    result = duplex.streaming_generate(force_listen_override=True)
    (unit,) = model.sessions[0].steps
    assert (unit["text"], unit["max_slice_nums"], unit["force_listen"]) == ("ab", [2, 1], True)
    assert (len(unit["frames"]), len(unit["audio"])) == (2, 16000)
    assert (result["is_listen"], result["text"], result["end_of_turn"]) == (True, "", False)
    assert (result["current_time"], duplex.get_current_time()) == (1, 1)
    assert result["audio_waveform"].tolist() == [0] * 24000


def test_what_is_said_is_in_the_result(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare()
    session = model.sessions[0]
    session.says = {"is_listen": False, "text": "one ", "token_ids": [8, 1, 2, 9]}
    duplex.streaming_prefill(SECOND)
    first = duplex.streaming_generate()
    assert (first["audio_waveform"], first["n_tokens"], first["n_tts_tokens"]) == (None, 2, 0)
    session.says |= {"text": "two", "audio": np.ones(24000, np.float32), "end_of_turn": True}
    duplex.streaming_prefill(SECOND)
    second = duplex.streaming_generate()
    assert (len(second["audio_waveform"]), second["n_tts_tokens"], second["end_of_turn"]) == (24000, 25, True)
    costs = {name: round(value, 9) for name, value in second.items() if name.startswith("cost_")}
    assert costs == {
        "cost_llm": 0.4,
        "cost_tts_prep": 0,
        "cost_tts": 0.2,
        "cost_token2wav": 0.4,
        "cost_all": 1,
    }
    assert duplex.get_generated_text() == "one two"
    duplex.prepare()
    assert duplex.get_generated_text() == ""


def test_samples_wait_for_their_second(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare()
    done = duplex.streaming_prefill(SECOND[:9600])
    assert (done["success"], done["reason"]) == (False, "audio not enough: expected 16000 samples, got 9600")
    assert duplex.streaming_generate()["is_listen"]
    assert model.sessions[0].steps == []
    assert duplex.streaming_prefill(SECOND[:9600])["success"]
    duplex.streaming_generate()
    assert not duplex.streaming_prefill(SECOND[:12000])["success"]
    assert duplex.streaming_prefill(SECOND[:800])["success"]


def test_what_cannot_be_read_says_why(duplex: MiniCPMODuplex) -> None:
    assert duplex.streaming_prefill(SECOND)["reason"] == "prepare() was not called"
    assert duplex.streaming_generate()["is_listen"]
    duplex.prepare()
    assert duplex.streaming_prefill()["reason"] == "there is no input"
    assert duplex.streaming_prefill(frame_list=[FRAME])["success"]
    assert "was not called for the last second" in duplex.streaming_prefill(SECOND)["reason"]


def test_a_break_lets_nothing_in_or_out(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare()
    session = model.sessions[0]
    duplex.set_break_event()
    assert duplex.is_break_set()
    assert duplex.streaming_prefill(SECOND)["reason"] == "a break is set"
    result = duplex.streaming_generate()
    assert (result["is_listen"], result["end_of_turn"], len(result["audio_waveform"])) == (True, True, 24000)
    assert session.n_interrupt == 0  # else the second after the break would be cut
    duplex.clear_break_event()
    session.on_step = duplex.set_break_event
    duplex.streaming_prefill(SECOND)
    duplex.streaming_generate()
    assert session.n_interrupt == 1
    duplex.set_session_stop()
    duplex.clear_break_event()
    assert duplex.is_session_stop_set()
    assert not duplex.streaming_prefill(SECOND)["success"]
    duplex.prepare()
    assert not duplex.is_session_stop_set()
    assert duplex.streaming_prefill(SECOND)["success"]


def test_sampling_may_change_from_second_to_second(duplex: MiniCPMODuplex, model: FakeModel) -> None:
    duplex.prepare(ref_audio=SECOND)
    for decode_mode, top_k, temperature in (("greedy", 3, 0.0), ("sampling", 7, 0.7)):
        duplex.streaming_prefill(SECOND)
        duplex.streaming_generate(decode_mode=decode_mode, top_k=top_k, listen_prob_scale=0.5)
        options = model.sessions[0].options
        assert (options["temperature"], options["top_k"], options["listen_scale"]) == (
            temperature,
            top_k,
            0.5,
        )
    duplex.streaming_prefill(SECOND)
    duplex.streaming_generate()
    assert model.sessions[0].options["top_k"] == 20
    assert len(model.sessions) == 1


def test_simplex_and_duplex_are_one_model(simplex: MiniCPMO, model: FakeModel) -> None:
    duplex = simplex.as_duplex("cuda", generate_audio=False, sliding_window_mode="context", n_timesteps=5)
    duplex.prepare()
    options = model.sessions[0].options
    assert (options["audio"], options["window"], options["n_steps"]) == (False, "context", 5)
    assert duplex.eval().cuda().as_simplex() is simplex
    assert model.sessions[0].is_closed
    duplex.finalize_unit()


@pytest.mark.parametrize(
    ("name", "value"), [("ls_mode", "implicit"), ("chunk_ms", 500), ("sample_rate", 8000)]
)
def test_what_nothing_corresponds_to_is_refused(simplex: MiniCPMO, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"\[official\] expected .*\({name}\)"):
        simplex.as_duplex(**{name: value})


def test_what_a_second_does_not_know_is_refused(duplex: MiniCPMODuplex) -> None:
    with pytest.raises(ValueError, match=r"\(listen_top_k\)"):
        duplex.streaming_generate(listen_top_k=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sampling or greedy"):
        duplex.streaming_generate(decode_mode="beam")
    with pytest.raises(ValueError, match=r"\(context_previous_marker\)"):
        duplex.prepare(context_previous_marker="before: ")


def test_a_conversation_with_the_demo(tmp_path: Path) -> None:
    simplex = MiniCPMO(Model.load(DEMO, n_threads=1))
    simplex.init_tts(n_timesteps=1)
    duplex = simplex.as_duplex(seed=1, force_listen_count=1)
    assert "[audio embedding]" in duplex.prepare("Say hello.")

    def second(**options: Any) -> dict[str, Any]:
        assert duplex.streaming_prefill(SECOND, [FRAME])["success"]
        return duplex.streaming_generate(decode_mode="greedy", **options)

    results = [second() for _ in range(3)]
    assert [result["current_time"] for result in results] == [1, 2, 3]
    assert [result["is_listen"] for result in results] == [True, False, False]
    assert all(result["n_tokens"] > 0 for result in results[1:])
    assert sum(len(result["audio_waveform"]) for result in results[1:]) >= 48000
    assert duplex.get_generated_text() == "".join(result["text"] for result in results)
    forced = second(force_listen_override=True)
    assert (forced["is_listen"], forced["text"]) == (True, "")
    duplex.prepare()
    assert second()["current_time"] == 1
    assert duplex.streaming_prefill(SECOND, [FRAME], max_slice_nums=[1, 2])["success"]
    with pytest.raises(ValueError, match="max_slice_nums"):
        duplex.streaming_generate(decode_mode="greedy")
    assert duplex.as_simplex() is simplex
    assert isinstance(simplex.chat(msgs=[{"role": "user", "content": "Hi"}], max_new_tokens=2), str)


def test_a_conversation_becomes_a_video(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(film(3, has_sound=False))
    tone = (0.3 * np.sin(np.arange(30000) / 9)).astype(np.float32)
    log = [
        {"chunk_idx": 0, "is_listen": False, "text": "Hello ", "end_of_turn": True, "current_time": 1},
        {"chunk_idx": 1, "is_listen": True, "text": "", "end_of_turn": False},
        {"chunk_idx": 2, "is_listen": False, "text": "there.", "end_of_turn": True},
    ]
    sounds = [(0, tone), (1, np.zeros(24000, np.float32)), (2, tone)]
    path = str(tmp_path / "out.mp4")
    assert generate_duplex_video(str(tmp_path / "clip.mp4"), path, log, sounds) == path
    with av.open(path) as film_file:
        assert [stream.type for stream in film_file.streams] == ["video", "audio"]
    heard = np.abs(to_samples(path))
    loud = [bool(heard[int(16000 * time) :][:1600].max() > 0.05) for time in (0.5, 1.1, 2.5, 3.2, 4.1)]
    assert loud == [False, True, False, True, True]  # a second after what it answers, each
    with pytest.raises(ValueError, match="24000 Hz, got 16000"):
        generate_duplex_video(str(tmp_path / "clip.mp4"), path, log, sounds, output_sample_rate=16000)
