"""minicpmo-cli -hf, against a hub on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import REPOSITORY, HubServer
from media_files import wav
from PIL import Image
from pseudo_terminal import Terminal

CLI = [sys.executable, "-m", "minicpmo_cpp.cli"]
ASK = ("-t", "1", "-p", "Hi", "--max-tokens", "2", "--seed", "1")
SINGLE = "tiny-Q4_K_M.gguf"
NAME = "MiniCPM-o-4_5"
LLM, VISION, AUDIO = f"{NAME}-Q8_0.gguf", f"vision/{NAME}-vision-F16.gguf", f"audio/{NAME}-audio-F16.gguf"
SUPPLEMENT = f"{NAME}-supplement.gguf"
SPEECH = {
    *(f"tts/{NAME}-{part}-F16.gguf" for part in ("tts", "projector")),
    *(
        f"token2wav-gguf/{part}.gguf"
        for part in ("encoder", "flow_extra", "flow_matching", "hifigan2", "prompt_cache")
    ),
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(model_path: Path) -> Iterator[HubServer]:
    with HubServer({SINGLE: model_path.read_bytes(), "README.md": b"hello"}).running() as server:
        yield server


@pytest.fixture
def settings(environment: dict[str, str], hub: HubServer, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if not name.startswith(("HF_", "MODEL"))}
    return kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}


@pytest.fixture
def run(settings: dict[str, str]) -> Run:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command, environment = [*CLI, *arguments], settings | changes
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((28, 28, 3), np.uint8)).save(path)
    return str(path)


@pytest.fixture
def sound(tmp_path: Path) -> str:
    path = tmp_path / "sound.wav"
    path.write_bytes(wav((0.3 * np.sin(np.arange(16000) / 4)).astype(np.float32)))
    return str(path)


@pytest.mark.parametrize(
    "spelling", [["-hf", REPOSITORY], ["--hf-repo", REPOSITORY], [f"--hf-repo={REPOSITORY}"]]
)
def test_a_model_is_fetched_and_answers(
    run: Run, hub: HubServer, tmp_path: Path, spelling: list[str]
) -> None:
    first = run(*ASK, *spelling)
    assert first.returncode == 0, first.stderr
    assert f"fetching {SINGLE} (" in first.stderr
    assert hub.fetched == {SINGLE}
    assert list((tmp_path / "home" / "hub").glob("models--org--model-gguf/snapshots/*/*.gguf"))
    again = run(*ASK, *spelling)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    assert len(hub.sent(SINGLE)) == 1


def test_offline_runs_from_the_cache(run: Run, hub: HubServer) -> None:
    online = run(*ASK, "-hf", f"{REPOSITORY}:q4_k_m")
    hub.log.clear()
    for arguments, changes in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
        offline = run(*ASK, "-hf", REPOSITORY, *arguments, **changes)
        assert (offline.returncode, offline.stdout, offline.stderr) == (0, online.stdout, "")
    nothing = run(*ASK, "-hf", "org/other", "--offline")
    assert nothing.returncode == 3
    assert "expected org/other (main) in the cache, got nothing" in nothing.stderr
    assert hub.log == []
    hub.stop()
    away = run(*ASK, "-hf", REPOSITORY)
    assert (away.returncode, away.stdout) == (0, online.stdout)
    assert "what is in the cache is used" in away.stderr


def test_modelscope(run: Run, hub: HubServer) -> None:
    done = run(*ASK, "-hf", f"ms://{REPOSITORY}", MODELSCOPE_DOMAIN=hub.url, HF_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert hub.fetched == {SINGLE}


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_an_interrupted_run_is_continued_by_the_next(
    run: Run, settings: dict[str, str], hub: HubServer, tmp_path: Path
) -> None:
    hub.misdeeds.stalls[SINGLE] = [100_000]
    command = [*CLI, *ASK, "-hf", REPOSITORY]
    process = subprocess.Popen(
        command, env=settings, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    partial, deadline = tmp_path / "home" / "hub" / "models--org--model-gguf" / "blobs", time.monotonic() + 60
    while sum(path.stat().st_size for path in partial.glob("*.incomplete")) < 100_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith("interrupted\n")
    assert process.returncode == 130
    assert run(*ASK, "-hf", REPOSITORY).returncode == 0
    assert [sent.first for sent in hub.sent(SINGLE)] == [0, 100_000]
    assert sum(sent.n_byte for sent in hub.sent(SINGLE)) == len(hub.files[SINGLE])


def test_a_wrong_hash_is_refused(run: Run, hub: HubServer, tmp_path: Path) -> None:
    hub.misdeeds.damaged = {SINGLE}
    for _ in range(2):
        done = run(*ASK, "-hf", REPOSITORY)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"expected {SINGLE} with hash" in done.stderr
    assert len(hub.sent(SINGLE)) == 2
    assert run(*ASK, "-hf", REPOSITORY, "--offline").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-hf", REPOSITORY, "-m", "x.gguf"], "expected --model or --hf-repo, got both"),
        (["--offline"], "expected --hf-repo with --offline, got none"),
        (["--revision", "v1"], "expected --hf-repo with --revision, got none"),
        (["-hf", REPOSITORY, "--mmproj", "x.gguf"], "expected the language model of these files, got none"),
    ],
)
def test_arguments_that_make_no_sense_together(run: Run, arguments: list[str], message: str) -> None:
    done = run(*ASK, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-hf", "model.gguf"], "[hub] expected owner/name or owner/name:QUANTISATION, got 'model.gguf'"),
        (["-hf", f"{REPOSITORY}:Q2_K"], "[hub] expected one of Q4_K_M, got Q2_K"),
        (["-hf", "org/nothing"], "[hub] expected a repository, got HTTP 401"),
        (["-hf", REPOSITORY, "--revision", "v9"], "[hub] expected a branch, tag or commit of it"),
    ],
)
def test_what_cannot_be_had(run: Run, arguments: list[str], message: str) -> None:
    done = run(*ASK, *arguments)
    assert done.returncode == 3
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_shows_how_far_it_is(settings: dict[str, str], hub: HubServer) -> None:
    hub.misdeeds.stalls[SINGLE] = [1_000_000]
    terminal = Terminal([*CLI, *ASK, "-hf", REPOSITORY], settings | {"TERM": "xterm", "COLUMNS": "100"})
    try:
        terminal.expect(f"{SINGLE} ")
        terminal.expect("1.0/")
        hub.released.set()
        assert terminal.code() == 0
    finally:
        terminal.close()


def test_a_run_fetches_just_what_it_needs(
    run: Run, hub: HubServer, omni_files: dict[str, bytes], picture: str, sound: str, tmp_path: Path
) -> None:
    hub.files = omni_files | {f"{NAME}-F16.gguf": b"GGUF"}
    spoken = ["-o", str(tmp_path / "out.wav"), "--ref-audio", sound, "--speech-steps", "1"]
    for arguments, new in (
        ([], {LLM}),
        (["--image", picture], {VISION, SUPPLEMENT}),
        (["--audio", sound], {AUDIO}),
    ):
        hub.log.clear()
        done = run(*ASK, "-hf", f"{REPOSITORY}:q8_0", *arguments)
        assert done.returncode == 0, done.stderr
        assert hub.fetched == new
    hub.log.clear()
    done = run(*ASK, "-hf", f"{REPOSITORY}:q8_0", *spoken)
    assert done.returncode in (0, 1), done.stderr  # random weights may say nothing
    assert hub.fetched == SPEECH


def test_duplex(run: Run, hub: HubServer, omni_files: dict[str, bytes], sound: str) -> None:
    hub.files = omni_files
    arguments = ["duplex", "-t", "1", "-hf", f"{REPOSITORY}:Q8_0", "--audio", sound]
    done = run(*arguments, "--no-speech")
    assert done.returncode == 0, done.stderr
    assert hub.fetched == {LLM, AUDIO, SUPPLEMENT}
    done = run(*arguments, "--no-speech", "--offline")
    assert done.returncode == 0, done.stderr


def test_a_conversation_fetches_everything(
    settings: dict[str, str], hub: HubServer, omni_files: dict[str, bytes]
) -> None:
    hub.files = omni_files
    command = [*CLI, "-t", "1", "-hf", f"{REPOSITORY}:Q8_0", "--max-tokens", "2"]
    terminal = Terminal(command, settings)
    try:
        terminal.expect("> ")
        terminal.type("/quit\n")
        assert terminal.code() == 0
    finally:
        terminal.close()
    assert hub.fetched == omni_files.keys()
