from __future__ import annotations

import io
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from media_files import film, wav
from minicpmo_cpp import Model
from minicpmo_cpp.duplex import UnitTimings
from minicpmo_cpp.live.input import RealTimeFeed, Unit
from minicpmo_cpp.live.microphone import Loudspeaker, Microphone
from minicpmo_cpp.live.run import DuplexRun
from minicpmo_cpp.live.view import DuplexView, Totals, unit_json, unit_line
from pseudo_terminal import Terminal
from rich.console import Console
from test_cli import BAD_INPUT, FAILED, INTERRUPTED, OK, USAGE, Finished
from test_duplex_video import chunk, sine
from test_voice import RECORDING

av = pytest.importorskip("av")

Run = Callable[..., Finished]
TALK = (0.3 * np.sin(np.arange(40000) / 9)).astype(np.float32)  # two units and a half
SPEAKS = ("--listen-scale", "0.0001")  # it hardly ever listens


@pytest.fixture
def command(model_path: Path) -> list[str]:
    return [sys.executable, "-m", "minicpmo_cpp.cli", "duplex", "-t", "1", "-m", str(model_path)]


@pytest.fixture
def run(command: list[str], environment: dict[str, str]) -> Run:
    """minicpmo-cli duplex with the tiny model."""

    def run(*arguments: str, **changes: str) -> Finished:
        found = subprocess.run(
            [*command, *arguments], env=environment | changes, input=b"", capture_output=True, timeout=120
        )
        result = Finished(found.returncode, found.stdout.decode(), found.stderr.decode())
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Names that the tests use -> paths."""
    contents = {"talk.wav": wav(TALK), "talk.mp4": film(3), "ref.wav": wav(RECORDING), "bad.mp4": b"no film"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in (*contents, "out.wav", "out.flac", "out.mp4", "out.ogv")}


@pytest.fixture
def terminal(command: list[str], environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """minicpmo-cli duplex at a terminal."""
    pytest.importorskip("pty")
    opened: list[Terminal] = []

    def start(*arguments: str, **changes: str) -> Terminal:
        opened.append(Terminal([*command, *arguments], environment | {"TERM": "xterm"} | changes))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


# The command.


def test_help_tells_of_it(run: Run, environment: dict[str, str]) -> None:
    whole = subprocess.run(
        [sys.executable, "-m", "minicpmo_cpp.cli", "--help"],
        env=environment,
        capture_output=True,
        timeout=120,
    )
    assert "minicpmo-cli duplex" in " ".join(whole.stdout.decode().split())
    own = run("--help")
    assert own.returncode == OK
    assert "--mic" in own.stdout
    assert "--task" not in own.stdout


def test_a_line_for_every_second(run: Run, files: dict[str, str]) -> None:
    result = run("--audio", files["talk.wav"], "--ref-audio", files["ref.wav"], "--seed", "1")
    assert (result.returncode, result.stderr) == (OK, "")
    lines = result.stdout.splitlines()
    for i, line in enumerate(lines):
        assert re.match(rf"  {i}  (listen|speak )  [ \d]\d\.\d\d s(  |$)", line), line
    assert len(lines) == 3


def test_json_is_what_the_library_says(run: Run, model: Model, files: dict[str, str]) -> None:
    arguments = (
        "--ref-audio",
        files["ref.wav"],
        "--seed",
        "3",
        "--speech-steps",
        "2",
        "--temperature",
        "0.9",
    )
    result = run("--audio", files["talk.wav"], *arguments, *SPEAKS, "--system", "Be kind.", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    with model.duplex(seed=3, n_steps=2, temperature=0.9, listen_scale=0.0001) as session:
        session.prepare("Be kind.", voice=RECORDING)
        padded = np.pad(TALK, (0, 8000))
        expected = [session.step(padded[i : i + 16000]) for i in range(0, 48000, 16000)]
    assert [unit["token_ids"] for unit in found] == [unit.token_ids for unit in expected]
    assert [unit["text"] for unit in found] == [unit.text for unit in expected]
    lengths = [0 if unit.audio is None else len(unit.audio) / 24000 for unit in expected]
    assert [unit["audio_s"] for unit in found] == pytest.approx(lengths)
    assert [unit["unit"] for unit in found] == [0, 1, 2]
    assert all(unit["timings"]["total_s"] > 0 for unit in found)


def test_a_video_becomes_a_film(run: Run, files: dict[str, str]) -> None:
    arguments = ("--video", files["talk.mp4"], "--ref-audio", files["ref.wav"], "--seed", "1", *SPEAKS)
    result = run(
        *arguments, "--stack-frames", "3", "--subtitles", "track", "-o", files["out.mp4"], "--json", "-v"
    )
    assert result.returncode == OK, result.stderr
    assert re.match(r"3 units of .* turns\na unit: vision .*peak memory \d+ MiB\n$", result.stderr, re.DOTALL)
    units = [json.loads(line) for line in result.stdout.splitlines()]
    said_s = sum(unit["audio_s"] for unit in units)
    assert said_s > 0
    with av.open(files["out.mp4"]) as opened:
        kinds = [stream.type for stream in opened.streams]
        assert kinds == ["video", "audio", "subtitle"]
        assert opened.duration / 1e6 >= min(1 + said_s, 3.9)


def test_both_sides_of_a_recording(run: Run, model: Model, files: dict[str, str]) -> None:
    arguments = ("--audio", files["talk.wav"], "--ref-audio", files["ref.wav"], "--seed", "1", *SPEAKS)
    result = run(*arguments, "-o", files["out.wav"], "--json", "--silence", "1")
    units = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(units) == 4
    both, rate = soundfile.read(files["out.wav"])
    assert (rate, both.shape[1]) == (24000, 2)
    np.testing.assert_allclose(both[500:50000, 0], sine_at_24k()[500:50000], atol=5e-3)
    begin = next(unit["unit"] for unit in units if unit["audio_s"] > 0) + 1
    assert not both[: begin * 24000, 1].any()
    assert both[begin * 24000 :, 1].any()
    assert run(*arguments, "-o", files["out.flac"], "--max-seconds", "1").returncode == OK
    assert soundfile.info(files["out.flac"]).duration >= 1


def sine_at_24k() -> Any:
    return 0.3 * np.sin(np.arange(60000) * 16000 / 24000 / 9)


def test_text_alone(run: Run, files: dict[str, str]) -> None:
    result = run(
        "--video", files["talk.mp4"], "--no-speech", "--seed", "1", *SPEAKS, "--json", "-o", files["out.mp4"]
    )
    units = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.returncode, len(units)) == (OK, 3)
    assert all(unit["audio_s"] == 0 for unit in units)
    assert Path(files["out.mp4"]).stat().st_size > 1000


def test_at_the_speed_of_real_time(run: Run, files: dict[str, str]) -> None:
    begin = time.monotonic()
    result = run("--video", files["talk.mp4"], "--no-speech", "--realtime", "--json", "--seed", "1")
    assert time.monotonic() - begin > 3
    assert result.returncode == OK, result.stderr
    units = [json.loads(line) for line in result.stdout.splitlines()]
    assert [unit["unit"] for unit in units] == [0, 1, 2]
    assert all(0 < unit["latency_s"] < 30 for unit in units)
    assert re.match(r"3 units of .* late, \d+ frames dropped, \d+ turns\n$", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], USAGE, "expected one of --video, --audio, --mic, got none"),
        (["--video", "talk.mp4", "--audio", "talk.wav"], USAGE, "got --video, --audio"),
        (["--audio", "talk.wav", "--mic"], USAGE, "got --audio, --mic"),
        (["--mic", "--realtime"], USAGE, "expected a file with --realtime, got --mic"),
        (["--audio", "talk.wav", "--play"], USAGE, "expected --realtime or --mic with --play"),
        (["--audio", "talk.wav", "-o", "out.mp4"], USAGE, "expected --video with a film, got --audio"),
        (["--audio", "talk.wav", "-o", "out.ogv"], USAGE, ".wav, .flac, .mp4, .mov, .mkv"),
        (["--audio", "talk.wav", "-o", "talk.wav"], USAGE, "another file than the one that is heard"),
        (["--video", "talk.mp4", "-o", "talk.mp4"], USAGE, "another file than the one that is heard"),
        (["--audio", "talk.wav", "-o", "no/out.wav"], BAD_INPUT, "expected a folder"),
        (["--audio", "talk.wav", "-o", "out.wav", "--no-speech"], USAGE, "expected a film with --no-speech"),
        (["--audio", "talk.wav", "--voice", "ref.wav", "--no-speech"], USAGE, "expected no --voice"),
        (["--audio", "talk.wav", "--voice", "a", "--ref-audio", "ref.wav"], USAGE, "got both"),
        (["--audio", "talk.wav", "--window", "open"], USAGE, "expected off, basic, context, got open"),
        (["--video", "talk.mp4", "--subtitles", "soft"], USAGE, "expected burned, track, none, got soft"),
        (["--video", "talk.mp4", "-o", "out.mp4", "--font", "talk.wav"], USAGE, "expected a font file"),
        (["--video", "talk.mp4", "--max-slices", "10"], USAGE, "max-slices"),
        (["--video", "no.mp4"], BAD_INPUT, "expected a video file, got nothing (no.mp4)"),
        (["--video", "bad.mp4"], BAD_INPUT, "expected a sound video file"),
        (["--video", "talk.wav"], BAD_INPUT, "expected a video track"),
        (["--audio", "bad.mp4"], BAD_INPUT, "expected an audio file"),
        (["--video", "http://localhost/talk.mp4"], BAD_INPUT, "--allow-remote"),
        (["--audio", "talk.wav", "--ref-audio", "no.wav"], BAD_INPUT, "no.wav"),
        (["--audio", "talk.wav", "--voice", "nobody"], USAGE, "nobody"),
        (["--audio", "talk.wav", "-m", "no.gguf"], BAD_INPUT, "expected a GGUF file, got nothing"),
        (["--audio", "talk.wav", "--no-speech", "-c", "10"], FAILED, "at most 10 tokens"),
    ],
)
def test_exit_codes_and_messages(
    run: Run, files: dict[str, str], arguments: list[str], code: int, message: str
) -> None:
    before = Path(files["talk.mp4"]).read_bytes()
    result = run(*(files.get(argument, argument) for argument in arguments))
    assert result.returncode == code, result.stderr
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert not any(Path(path).exists() for name, path in files.items() if name.startswith("out"))
    assert Path(files["talk.mp4"]).read_bytes() == before


# The view.


def test_a_unit_in_a_line() -> None:
    timings = UnitTimings(total_s=0.214)
    assert unit_line(chunk(3, timings=timings)) == "  3  listen   0.21 s"
    words = chunk(4, " Hello\nthere\x1b[2J", sine(500), timings=UnitTimings(total_s=12.5))
    assert unit_line(words) == "  4  speak   12.50 s  Hello there\ufffd[2J"
    late = chunk(1000, is_late=True, latency_s=1.26, n_dropped_frames=2, is_interrupted=True, timings=timings)
    assert unit_line(late) == "1000  listen   0.21 s  [interrupted]  [1.26 s late]  [2 frames dropped]"


def test_a_unit_in_json() -> None:
    found = json.loads(unit_json(chunk(4, "Hi", sine(500, 0.5), timings=UnitTimings(flow_s=0.5))))
    assert (found["unit"], found["text"], found["audio_s"], found["timings"]["flow_s"]) == (4, "Hi", 0.5, 0.5)


def test_totals() -> None:
    totals = Totals()
    assert totals.line.startswith("0 units of 0.00 s")
    for unit in (
        chunk(0, timings=UnitTimings(total_s=0.5, flow_s=0.1)),
        chunk(1, "a", timings=UnitTimings(total_s=1.5, flow_s=0.3), is_late=True, n_dropped_frames=2),
        chunk(2, "b", end_of_turn=True),
        chunk(3, "c"),
    ):
        totals.add(unit)
    assert totals.line == "4 units of 0.50 s, the slowest 1.50 s, 1 late, 2 frames dropped, 2 turns"
    assert "flow 0.100 s" in totals.stages


def test_the_live_view_shows_what_happens() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=90, height=20, color_system=None)
    with DuplexView(console, n_ctx=4096, is_live=True, form="", hint="keys") as view:
        view.show(chunk(0, timings=UnitTimings(total_s=0.25), n_past=77))
        assert "● listening  unit 0" in screen.getvalue()
        assert "0.25 of 1 s" in screen.getvalue()
        assert "context 77 of 4096 tokens" in screen.getvalue()
        view.show(chunk(1, "Hello", sine(500), timings=UnitTimings(total_s=2.0), is_late=True))
        assert "● speaking  unit 1" in screen.getvalue()
        assert "late 1" in screen.getvalue()
        view.show(chunk(2, " \x1b]0;you\x07", sine(500), end_of_turn=True))
        assert "00:02  Hello \ufffd]0;you\ufffd\n" in screen.getvalue().replace("\r", "")
        view.show(chunk(3, "And", sine(500), is_interrupted=True))
        assert "00:04  And  [interrupted]" in screen.getvalue()


def test_lines_go_to_stdout_beside_the_live_view(capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=90, height=20, color_system=None)
    with DuplexView(console, n_ctx=4096, is_live=True, form="line") as view:
        view.show(chunk(0, timings=UnitTimings(total_s=0.25)))
    assert capsys.readouterr().out == "  0  listen   0.25 s\n"
    assert "● listening" in screen.getvalue()


def test_the_view_at_a_terminal(terminal: Any, files: dict[str, str]) -> None:
    seen = terminal("--audio", files["talk.wav"], "--ref-audio", files["ref.wav"], "--seed", "1", "-v")
    seen.expect("unit 2")
    seen.expect("3 units of")
    assert seen.code() == OK
    seen = terminal("--audio", files["talk.wav"], "--ref-audio", files["ref.wav"], "--seed", "1", "--json")
    assert seen.expect('"unit": 0').strip() == "{"
    assert seen.code() == OK


def test_keys_end_a_conversation(terminal: Any, files: dict[str, str], tmp_path: Path) -> None:
    Path(files["talk.wav"]).write_bytes(wav(np.tile(TALK, 40)))
    seen = terminal("--audio", files["talk.wav"], "--no-speech", "--realtime", "--seed", "1", *SPEAKS)
    seen.expect("space or Enter interrupts, q ends")
    seen.expect("unit 0")
    seen.type(" ")
    seen.expect("unit 2")
    seen.type("q")
    seen.expect("units of")
    assert seen.code() == OK


def test_ctrl_c_keeps_what_was_said(terminal: Any, files: dict[str, str]) -> None:
    Path(files["talk.wav"]).write_bytes(wav(np.tile(TALK, 40)))
    for mode in ([], ["--realtime"]):
        arguments = ("--audio", files["talk.wav"], "--ref-audio", files["ref.wav"], "-o", files["out.wav"])
        seen = terminal(*arguments, "--seed", "1", *SPEAKS, *mode)
        seen.expect("unit 1")
        seen.type("\x03")
        assert seen.code() == INTERRUPTED
        assert 2 <= soundfile.info(files["out.wav"]).duration < 90
        Path(files["out.wav"]).unlink()


def test_what_was_said_before_an_error_is_kept(run: Run, files: dict[str, str]) -> None:
    Path(files["talk.mp4"]).write_bytes(film(20))
    arguments = ("--video", files["talk.mp4"], "--ref-audio", files["ref.wav"], "--seed", "1", *SPEAKS)
    result = run(*arguments, "-c", "400", "-o", files["out.mp4"])
    n_unit = len(result.stdout.splitlines())
    assert 0 < n_unit < 20
    assert result.returncode == FAILED
    assert "expected room for a unit" in result.stderr
    with av.open(files["out.mp4"]) as opened:
        assert n_unit <= opened.duration / 1e6 <= n_unit + 2
    assert run(*arguments, "-c", "1000", "--window", "basic").returncode == OK
    live = run(*arguments, "-c", "150", "--realtime", "-o", files["out.wav"])
    assert live.returncode == FAILED
    assert "expected room for a unit" in live.stderr
    assert Path(files["out.wav"]).exists()


# Live conversation, with stand-ins for the model and the devices.


class FakeSession:
    """Answers every second that is pushed with a tone."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.pushed: list[tuple[str, Any]] = []
        self.n_interrupt = 0
        self._delay_s = delay_s
        self._units: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._n_sample = self._n_unit = 0

    def push_audio(self, samples: Any) -> None:
        self.pushed.append(("audio", samples))
        self._n_sample += len(samples)
        while self._n_sample >= 16000 * (self._n_unit + 1):
            self._units.put(chunk(self._n_unit, "a", sine(500), latency_s=self._delay_s))
            self._n_unit += 1

    def push_frame(self, image: Any, max_slice_nums: int = 1) -> None:
        self.pushed.append(("frame", max_slice_nums))

    def finish(self) -> None:
        self._units.put(None)

    def chunks(self) -> Iterator[Any]:
        while (unit := self._units.get()) is not None:
            yield unit

    def interrupt(self) -> None:
        self.n_interrupt += 1


def quiet_view() -> DuplexView:
    return DuplexView(Console(file=io.StringIO()), n_ctx=10, is_live=False, form="")


def test_a_file_at_the_speed_of_real_time() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    sound = np.arange(32000, dtype=np.float32)
    units = [Unit(sound[:16000], [picture, picture]), Unit(sound[16000:], [picture])]
    session: Any = FakeSession()
    feed = RealTimeFeed(units, [4, 1])
    begin = time.monotonic()
    feed.run(session, threading.Event())
    assert 1.9 < time.monotonic() - begin < 4
    np.testing.assert_array_equal(np.concatenate(feed.heard), sound)
    kinds = [kind if kind == "audio" else what for kind, what in session.pushed]
    assert kinds == [4, *["audio"] * 9, 1, "audio", 4, *["audio"] * 10]
    stopped = threading.Event()
    stopped.set()
    RealTimeFeed(units, [1, 1]).run(session, stopped)


def test_an_interruption_silences_the_loudspeaker_and_the_track() -> None:
    class FakeLoudspeaker:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def write(self, samples: Any) -> None:
            self.calls.append("write")

        def silence(self) -> None:
            self.calls.append("silence")

        def close(self) -> None:
            self.calls.append("close")

    session: Any = FakeSession()
    loudspeaker: Any = FakeLoudspeaker()
    run = DuplexRun(session, quiet_view(), loudspeaker)

    class Feed:
        heard: ClassVar[list[Any]] = []
        now_s = 1.25

        def run(self, session: Any, stop: threading.Event) -> None:
            session.push_audio(np.zeros(16000, np.float32))
            while "write" not in loudspeaker.calls:
                time.sleep(0.01)
            run._interrupt(self.now_s)

    run.live(Feed())
    assert session.n_interrupt == 1
    assert loudspeaker.calls == ["write", "silence", "close", "silence"]
    assert run.track.seconds == 1.25


def test_a_feed_that_fails_ends_the_conversation() -> None:
    class Feed:
        heard: ClassVar[list[Any]] = []
        now_s = 0.0

        def run(self, session: Any, stop: threading.Event) -> None:
            session.push_audio(np.zeros(16000, np.float32))
            raise OSError("[microphone] expected sound, got a microphone that stopped")

    session: Any = FakeSession()
    run = DuplexRun(session, quiet_view())
    with pytest.raises(OSError, match="a microphone that stopped"):
        run.live(Feed())
    assert run.track.spoken_s == 1


class FakeDevices:
    """As the module sounddevice, with one microphone."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rate: int, sound: Any, has_microphone: bool = True) -> None:
        self._rate = rate
        self._sound = sound
        self._has_microphone = has_microphone

    def check_input_settings(self, samplerate: int, channels: int, dtype: str) -> None:
        if samplerate != self._rate:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, kind: str) -> dict[str, float]:
        return {"default_samplerate": float(self._rate)}

    def InputStream(self, samplerate: int, channels: int, dtype: str, callback: Any) -> Any:
        assert (samplerate, channels, dtype) == (self._rate, 1, "float32")
        if not self._has_microphone:
            raise self.PortAudioError("Error querying device -1")
        sound = self._sound

        class Stream:
            active = True

            def __enter__(self) -> None:
                for begin in range(0, len(sound), 1000):
                    part = sound[begin : begin + 1000, None]
                    callback(part, len(part), SimpleNamespace(), 0)
                self.active = False

            def __exit__(self, *_: Any) -> None:
                pass

        return Stream()


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_microphone_of_any_rate(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    sound = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)).astype(np.float32)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeDevices(rate, sound))
    session: Any = FakeSession()
    microphone = Microphone(2.0)
    microphone.run(session, threading.Event())
    heard = np.concatenate(microphone.heard)
    assert len(heard) == 32000
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16000)
    np.testing.assert_allclose(heard[100:], expected[100:], atol=0.01)
    with pytest.raises(OSError, match=r"^\[microphone\] expected sound, got a microphone that stopped"):
        Microphone(10.0).run(session, threading.Event())


def test_no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeDevices(16000, np.zeros(0), has_microphone=False))
    with pytest.raises(
        OSError, match=r"^\[microphone\] expected a microphone, got: Error querying device -1"
    ):
        Microphone()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"pip install 'minicpmo-cpp\[live\]'"):
        Microphone()


@pytest.mark.parametrize("error", ["ImportError('no')", "OSError('PortAudio library not found')"])
def test_without_sounddevice_the_command_says_so(
    run: Run, environment: dict[str, str], files: dict[str, str], tmp_path: Path, error: str
) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "sounddevice.py").write_text(f"raise {error}\n")
    paths = os.pathsep.join([str(folder), environment["PYTHONPATH"]])
    result = run("--mic", "--ref-audio", files["ref.wav"], PYTHONPATH=paths)
    assert (result.returncode, result.stdout) == (FAILED, "")
    assert "[microphone] recording needs" in result.stderr


def test_a_loudspeaker_goes_on_after_a_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heard = tmp_path / "heard.raw"
    program = tmp_path / "aplay"
    program.write_text(f"#!/bin/sh\nexec /bin/cat >> '{heard}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    loudspeaker = Loudspeaker(24000)
    loudspeaker.silence()
    loudspeaker.write(np.full(100, 0.5, np.float32))
    loudspeaker.silence()
    n_before = heard.stat().st_size if heard.exists() else 0
    loudspeaker.write(np.full(200, 0.5, np.float32))
    loudspeaker.close()
    assert heard.stat().st_size - n_before == 400
    loudspeaker.close()
