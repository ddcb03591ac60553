"""Fetching from a hub: a local one that speaks the API, keeps a log and misbehaves if told to."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hub_server import COMMIT, REPOSITORY, HubServer, sha256
from minicpmo_cpp import HubError, Model, ModelFileError
from minicpmo_cpp.hub import cache as cache_module
from minicpmo_cpp.hub import download as download_module
from minicpmo_cpp.hub import fetch_checkpoint, fetch_model, transport
from minicpmo_cpp.hub.name import RepositoryName, parse_name
from minicpmo_cpp.hub.service import HuggingFace, ModelScope, find_hub

LLM, OTHER, VISION, SMALL = "m-Q4_K_M.gguf", "m-Q8_0.gguf", "vision/m-vision-F16.gguf", "small.gguf"
BYTES = np.random.default_rng(3).integers(0, 256, 3 << 20, dtype=np.uint8).tobytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    server = HubServer({LLM: BYTES, OTHER: BYTES[:5000], VISION: BYTES[1:40001], "README.md": b"hello"})
    monkeypatch.setenv("MODEL_ENDPOINT", server.url)
    monkeypatch.setenv("MODELSCOPE_DOMAIN", server.url)
    monkeypatch.setattr(download_module, "PAUSE_S", 0.001)
    monkeypatch.setattr(transport, "PAUSE_S", 0.001)
    with server.running():
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetched(cache: Path, name: str = REPOSITORY, modules: tuple[str, ...] = (), **options: Any) -> Path:
    return fetch_model(name, modules=modules, cache_dir=cache, token=False, **options).path


def blobs(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("models--*/blobs/*")}


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [REPOSITORY, f"ms://{REPOSITORY}", f"modelscope://{REPOSITORY}:q4_k_m"])
def test_a_file_arrives_once(hub: HubServer, cache: Path, name: str) -> None:
    for _ in range(2):
        assert fetched(cache, name).read_bytes() == BYTES
    assert [(sent.first, sent.n_byte) for sent in hub.sent(LLM)] == [(0, len(BYTES))]
    assert hub.fetched == {LLM}
    assert blobs(cache) == {sha256(BYTES)}


def test_huggingface_hub_finds_it_where_we_put_it(hub: HubServer, cache: Path) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    path = fetched(cache)
    assert try_to_load_from_cache(REPOSITORY, LLM, cache_dir=cache) == str(path)
    fetched(cache, f"ms://{REPOSITORY}")
    info = scan_cache_dir(cache)
    assert not info.warnings
    assert {ref for repo in info.repos for ref in repo.refs} == {"main", "modelscope/master"}


def test_we_find_it_where_huggingface_hub_puts_it(hub: HubServer, cache: Path) -> None:
    from huggingface_hub import hf_hub_download

    theirs = hf_hub_download(REPOSITORY, LLM, cache_dir=cache, endpoint=hub.url)
    n_sent = len(hub.sent(LLM))
    assert str(fetched(cache)) == theirs
    assert str(fetched(cache, offline=True)) == theirs
    assert len(hub.sent(LLM)) == n_sent


def test_both_hubs_share_contents(hub: HubServer, cache: Path) -> None:
    fetched(cache)
    assert fetched(cache, f"ms://{REPOSITORY}").read_bytes() == BYTES
    assert len(hub.sent(LLM)) == 1


def test_a_cut_connection_goes_on_where_it_was_cut(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.cuts[LLM] = [1000, 0, 5, 2 << 20]
    assert fetched(cache).read_bytes() == BYTES
    sent = [(answer.first, answer.n_byte) for answer in hub.sent(LLM)]
    assert sent == [
        *[(0, 1000), (1000, 0), (1000, 5), (1005, 2 << 20)],
        (1005 + (2 << 20), len(BYTES) - 1005 - (2 << 20)),
    ]
    assert sum(n_byte for _, n_byte in sent) == len(BYTES)


def test_a_connection_that_stalls_is_given_up_and_continued(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_S", 1.0)
    hub.misdeeds.stalls[LLM] = [1000]
    assert fetched(cache).read_bytes() == BYTES
    assert [sent.first for sent in hub.sent(LLM)] == [0, 1000]


def test_the_next_run_goes_on_where_one_gave_up(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.cuts[LLM] = [4000] + [0] * (download_module.ATTEMPTS - 1)
    with pytest.raises(HubError, match=rf"expected {len(BYTES)} bytes of {LLM}, got 4000 and then"):
        fetched(cache)
    assert blobs(cache) == {f"{sha256(BYTES)}.incomplete"}
    assert not list(cache.glob("models--*/snapshots/*/*"))
    assert fetched(cache).read_bytes() == BYTES
    assert sum(sent.n_byte for sent in hub.sent(LLM)) == len(BYTES)


def test_a_hub_without_ranges_starts_again(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.cuts[LLM] = [1000]
    hub.misdeeds.ignores_ranges = True
    assert fetched(cache).read_bytes() == BYTES
    assert [sent.n_byte for sent in hub.sent(LLM)] == [1000, len(BYTES)]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_is_asked_again(hub: HubServer, cache: Path, status: int) -> None:
    hub.misdeeds.status = {LLM: [status, status], "listing": [status]}
    assert fetched(cache).read_bytes() == BYTES


@pytest.mark.parametrize("name", [REPOSITORY, f"ms://{REPOSITORY}"])
def test_a_wrong_hash_is_refused_and_nothing_of_it_stays(hub: HubServer, cache: Path, name: str) -> None:
    hub.misdeeds.damaged = {LLM}
    with pytest.raises(
        HubError, match=rf"expected {LLM} with hash {sha256(BYTES)[:16]}\.\.\., got [0-9a-f]+"
    ):
        fetched(cache, name)
    assert blobs(cache) == set()
    assert not list(cache.glob("models--*/snapshots/*/*"))
    with pytest.raises(HubError, match="in the cache, got nothing"):
        fetched(cache, name, offline=True)
    hub.misdeeds.damaged = set()
    assert fetched(cache, name).read_bytes() == BYTES


def test_a_wrong_hash_of_a_small_file_is_refused(hub: HubServer, cache: Path) -> None:
    """Small files have the hash that Git gives them."""
    hub.files = {SMALL: b"GGUF" * 20}
    assert fetched(cache).read_bytes() == b"GGUF" * 20
    shutil.rmtree(cache)
    hub.misdeeds.damaged = {SMALL}
    with pytest.raises(HubError, match="with hash"):
        fetched(cache)
    assert blobs(cache) == set()


def test_a_damaged_beginning_is_fetched_anew(hub: HubServer, cache: Path) -> None:
    """What an earlier run left may be wrong without the hub being wrong."""
    partial = cache / "models--org--model-gguf" / "blobs" / f"{sha256(BYTES)}.incomplete"
    partial.parent.mkdir(parents=True)
    for content in (b"\0" * 500, b"\0" * len(BYTES), b"\0" * (len(BYTES) + 1)):
        partial.write_bytes(content)
        assert fetched(cache).read_bytes() == BYTES
        assert blobs(cache) == {sha256(BYTES)}
        shutil.rmtree(cache / "models--org--model-gguf")
        partial.parent.mkdir(parents=True)


def test_a_blob_of_another_size_is_none(hub: HubServer, cache: Path) -> None:
    path = fetched(cache)
    path.resolve().write_bytes(b"cut short")
    assert fetched(cache).read_bytes() == BYTES


def test_more_bytes_than_were_said_are_refused(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.surplus[LLM] = b"\0" * 100_000_000
    with pytest.raises(HubError, match=rf"expected {len(BYTES)} bytes of {LLM}, got more"):
        fetched(cache)
    assert blobs(cache) == set()


@pytest.mark.parametrize("total", [len(BYTES) - 1, len(BYTES) + 1, 1 << 40])
def test_another_size_than_the_listing_said_is_refused(hub: HubServer, cache: Path, total: int) -> None:
    hub.misdeeds.total[LLM] = total
    with pytest.raises(HubError, match=rf"expected {len(BYTES)} bytes of {LLM}, got {total}"):
        fetched(cache)
    assert blobs(cache) == set()


def test_other_bytes_than_were_asked_for_are_refused(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.cuts[LLM] = [1000]
    hub.misdeeds.wrong_range = True
    with pytest.raises(HubError, match=r"expected bytes from 1000 on, got 'bytes 1001-"):
        fetched(cache)


def test_compressed_answers_are_refused(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.compressed = True
    with pytest.raises(HubError, match=r"as it is, got it compressed"):
        fetched(cache)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "http://[", "/cdn"]
)
def test_redirections_that_lead_nowhere(hub: HubServer, cache: Path, location: str) -> None:
    hub.misdeeds.location = location
    with pytest.raises(HubError, match="expected"):
        fetched(cache)
    assert blobs(cache) == set()


def test_redirections_without_end(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.location = f"{hub.url}/{REPOSITORY}/resolve/{COMMIT}/{LLM}"
    with pytest.raises(HubError, match="got HTTP 302"):
        fetched(cache)


def test_two_programs_at_once(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache_module, "WAIT_S", 0.05)
    hub.misdeeds.stalls[LLM] = [1000]
    paths: list[Path] = []
    threads = [Thread(target=lambda: paths.append(fetched(cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    said, deadline = "", time.monotonic() + 60
    while "another program is fetching" not in said and time.monotonic() < deadline:
        time.sleep(0.02)
        said += capsys.readouterr().err
    assert f"another program is fetching {LLM}: waiting for it" in said
    hub.released.set()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == BYTES for path in paths] == [True, True]
    assert sum(sent.n_byte for sent in hub.sent(LLM)) == len(BYTES)


def test_offline_sends_nothing(hub: HubServer, cache: Path) -> None:
    path = fetched(cache)
    hub.log.clear()
    assert fetched(cache, offline=True) == path
    assert fetched(cache, f"{REPOSITORY}:Q4_K_M", offline=True) == path
    assert fetched(cache, revision=COMMIT, offline=True) == path
    with pytest.raises(HubError, match=r"expected one of Q4_K_M, got q8_0 \(org/model-gguf in the cache\)"):
        fetched(cache, f"{REPOSITORY}:q8_0", offline=True)
    with pytest.raises(HubError, match=r"expected org/model-gguf \(v2\) in the cache, got nothing"):
        fetched(cache, revision="v2", offline=True)
    assert hub.log == []


def test_a_hub_that_is_away_is_not_needed_for_what_is_there(
    hub: HubServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetched(cache)
    hub.misdeeds.status["listing"] = [503] * 9
    assert fetched(cache) == path
    assert "HTTP 503" in capsys.readouterr().err
    hub.stop()
    assert fetched(cache) == path
    assert "what is in the cache is used" in capsys.readouterr().err
    with pytest.raises(HubError, match=r"expected an answer, got: .*refused"):
        fetched(cache, f"{REPOSITORY}:q8_0")


def test_a_new_commit_fetches_what_changed(hub: HubServer, cache: Path) -> None:
    before = fetched(cache, modules=("vision",))
    hub.commit = COMMIT[::-1]
    hub.revisions.add(hub.commit)
    hub.files[VISION] = BYTES[:30000]
    hub.log.clear()
    after = fetched(cache, modules=("vision",))
    assert hub.fetched == {VISION}
    assert before != after
    assert before.read_bytes() == after.read_bytes()
    assert fetched(cache, offline=True) == after
    assert fetched(cache, revision=COMMIT, offline=True) == before


def test_a_revision(hub: HubServer, cache: Path) -> None:
    hub.revisions.add("refs/pr/1")
    assert fetched(cache, revision="refs/pr/1").read_bytes() == BYTES
    assert "/revision/refs%2Fpr%2F1?" in hub.log[0].path
    with pytest.raises(HubError, match="expected a branch, tag or commit of it, got none"):
        fetched(cache, revision="v9")


@pytest.mark.parametrize("revision", ["", "../x", "a/../b", "/main", "-x", "a b", "a//b", "x" * 300, "a\0b"])
def test_revisions_that_can_be_none(cache: Path, revision: str) -> None:
    with pytest.raises(HubError, match="expected a branch, tag or commit"):
        fetched(cache, revision=revision, offline=True)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "model",
        "a/b/c",
        "../x",
        "a/..",
        "/a/b",
        "a/b:",
        "a b/c",
        "a/b?c",
        "http://a/b",
        "a--b/c",
        "ms://a",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(HubError, match="expected owner/name"):
        parse_name(name)


def test_names() -> None:
    assert parse_name("a/b") == RepositoryName("a/b")
    assert parse_name("a/b:q4") == RepositoryName("a/b", "q4")
    assert parse_name("MS://a/b:d/c.gguf") == RepositoryName("a/b", "d/c.gguf", True)


def test_a_private_repository_needs_a_token(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "secret"
    with pytest.raises(HubError, match=r"got HTTP 401: there is none .* or it is private, and HF_TOKEN"):
        fetched(cache)
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert fetch_model(REPOSITORY, cache_dir=cache, modules=()).path.read_bytes() == BYTES
    shutil.rmtree(cache)
    hub.log.clear()
    assert fetch_model(REPOSITORY, cache_dir=cache, modules=(), token="secret").path.exists()
    assert hub.log[0].headers["Authorization"] == "Bearer secret"
    # Files lie on another host, which the token is not for.
    assert [sent.headers.get("Authorization") for sent in hub.sent(LLM)] == [None]


def test_a_private_repository_of_modelscope(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "secret"
    with pytest.raises(HubError, match="got HTTP 403: MODELSCOPE_API_TOKEN says who you are"):
        fetched(cache, f"ms://{REPOSITORY}")
    monkeypatch.setenv("HF_TOKEN", "for another hub")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    assert fetched(cache, f"ms://{REPOSITORY}").read_bytes() == BYTES
    assert not [sent for sent in hub.log if "another" in str(sent.headers)]


def test_a_gated_repository(hub: HubServer, cache: Path) -> None:
    hub.is_gated = True
    with pytest.raises(HubError, match=rf"conditions are to be accepted first, at {hub.url}/{REPOSITORY}"):
        fetched(cache)


@pytest.mark.parametrize("name", ["org/nothing", "ms://org/nothing"])
def test_no_such_repository(hub: HubServer, cache: Path, name: str) -> None:
    with pytest.raises(HubError, match=r"expected a repository, got HTTP 40[14]"):
        fetched(cache, name)
    assert not cache.exists()


@pytest.mark.parametrize(
    "path",
    [
        *["../x.gguf", "/etc/x.gguf", "a/../../x.gguf", "a/./x.gguf", "a//x.gguf", "..\\x.gguf", "C:/x.gguf"],
        *[
            "\0.gguf",
            "a\nb.gguf",
            "\x1b[2J.gguf",
            "x" * 1_000_000 + ".gguf",
            "y" * 300 + ".gguf",
            "",
            ". /a.gguf",
        ],
    ],
)
@pytest.mark.parametrize("name", [REPOSITORY, f"ms://{REPOSITORY}"])
def test_hostile_paths_are_refused(hub: HubServer, tmp_path: Path, cache: Path, name: str, path: str) -> None:
    hub.files = {path: BYTES[:500]}
    with pytest.raises(HubError, match="expected paths inside the repository, got") as raised:
        fetched(cache, name)
    assert len(str(raised.value)) < 600
    assert str(raised.value).isprintable()
    assert list(tmp_path.iterdir()) == []


ENTRY = {"rfilename": "m.gguf", "size": 9, "blobId": "0" * 40}


@pytest.mark.parametrize(
    "listing",
    [
        *[b"", b"<html>sign in</html>", b"[" * 100_000, [], {}, {"sha": "../x", "siblings": [ENTRY]}],
        *[{"sha": COMMIT, "siblings": siblings} for siblings in (None, {}, [[]], [None], "x")],
        *[
            {"sha": COMMIT, "siblings": [ENTRY | change]}
            for change in (
                *({"size": size} for size in (-1, None, "9", 1.5, True, 1 << 60)),
                *({"blobId": digest} for digest in (None, 5, "../../x", "0" * 39)),
                *({"lfs": {"size": 9, "sha256": digest}} for digest in (None, "Z" * 64, "../" + "0" * 61)),
                {"rfilename": None},
            )
        ],
    ],
)
def test_listings_that_cannot_be_true(hub: HubServer, cache: Path, listing: Any) -> None:
    hub.misdeeds.listing = listing
    with pytest.raises(HubError, match="expected"):
        fetched(cache)
    assert not cache.exists()


def test_a_listing_without_end(hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_LISTING_BYTES", 100)
    with pytest.raises(HubError, match="expected a listing of at most 100 bytes"):
        fetched(cache)


@pytest.mark.parametrize("listing", [{"Code": 500, "Message": "no"}, {"Code": 200, "Data": {"Files": 7}}])
def test_listings_of_modelscope_that_are_none(hub: HubServer, cache: Path, listing: Any) -> None:
    hub.misdeeds.listing = listing
    with pytest.raises(HubError, match="expected a l"):
        fetched(cache, f"ms://{REPOSITORY}")


def test_modelscope_without_a_hash_is_not_trusted(hub: HubServer, cache: Path) -> None:
    hub.misdeeds.listing = {"Code": 200, "Data": {"Files": [{"Path": LLM, "Size": 5, "Type": "blob"}]}}
    with pytest.raises(HubError, match=f"expected the hash of {LLM}, got none"):
        fetched(cache, f"ms://{REPOSITORY}")


def test_a_file_where_a_folder_should_be(hub: HubServer, cache: Path) -> None:
    hub.files = {"a.gguf": BYTES[:500], "a.gguf/vision.gguf": BYTES[:600]}
    with pytest.raises(HubError, match="expected a cache that can be written"):
        fetched(cache, modules=("vision",))


def test_a_full_disk(hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(HubError, match=r"expected 3\.1 MB of room on the disk, got 1\.0 MB"):
        fetched(cache)
    assert hub.sent(LLM) == []


def test_a_disk_that_fills_up(hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1_000_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(download_module, "open", Full, raising=False)
    with pytest.raises(HubError, match=r"expected room on the disk, got none: .*blobs is full"):
        fetched(cache)
    assert blobs(cache) == {f"{sha256(BYTES)}.incomplete"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="writes anywhere")
def test_a_cache_that_cannot_be_written(hub: HubServer, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(HubError, match="expected a cache that can be written"):
        fetched(cache)


def test_a_cache_that_is_a_file(hub: HubServer, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(HubError, match="expected a cache that can be written"):
        fetched(cache)


def test_without_symbolic_links(hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("not here")

    monkeypatch.setattr(os, "symlink", refuse)
    assert fetched(cache).read_bytes() == BYTES
    monkeypatch.setattr(os, "link", refuse)
    assert fetched(cache, f"{REPOSITORY}:q8_0").read_bytes() == BYTES[:5000]
    assert fetched(cache, offline=True).read_bytes() == BYTES


@pytest.mark.parametrize("listing", ["config.json", "model.safetensors.index.json"])
def test_a_checkpoint_says_what_converts_it(hub: HubServer, cache: Path, listing: str) -> None:
    hub.files = {listing: b"{}", "model-00001-of-00002.safetensors": BYTES[:900]}
    with pytest.raises(HubError, match=f"minicpmo-convert {REPOSITORY} -o model.gguf makes one of it"):
        fetched(cache)


def test_a_checkpoint_is_fetched_without_what_is_not_read(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    needed = {
        **{"config.json": b"{}", "model.safetensors": BYTES[:900], "merges.txt": b"a b"},
        **{"assets/token2wav/flow.yaml": b"x: 1", "assets/token2wav/flow.pt": BYTES[:700]},
    }
    hub.files = {**needed, "README.md": b"hello", "modeling.py": b"import os", "assets/demo.mp4": BYTES[:999]}
    folder = fetch_checkpoint(REPOSITORY).path
    assert files_below(folder) == needed.keys()
    assert fetch_checkpoint(REPOSITORY, offline=True).path == folder
    hub.files = {LLM: BYTES}
    with pytest.raises(HubError, match=r"expected a checkpoint with a config\.json and weights, got none"):
        fetch_checkpoint(REPOSITORY)


def test_the_environment_says_which_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    usual, theirs = parse_name("a/b"), parse_name("ms://a/b")
    assert find_hub(usual, "https://mirror/hub/", "t") == HuggingFace("https://mirror/hub", "t")
    assert find_hub(theirs, "https://mirror", "t") == ModelScope("https://www.modelscope.cn", None)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "www.modelscope.ai")
    assert find_hub(theirs, "https://mirror", "t") == ModelScope("https://www.modelscope.ai", "ms")
    monkeypatch.setenv("MODEL_ENDPOINT", "https://www.modelscope.cn/")
    assert find_hub(usual, "https://mirror", "t") == ModelScope("https://www.modelscope.cn", "ms")
    monkeypatch.setenv("MODEL_ENDPOINT", "https://notmodelscope.cn")
    assert find_hub(usual, "https://mirror", "t") == HuggingFace("https://notmodelscope.cn", "t")
    for wrong in ("ftp://x", "x", "https://", "file:///etc", "https://x?y"):
        monkeypatch.setenv("MODEL_ENDPOINT", wrong)
        with pytest.raises(HubError, match=r"expected the http\(s\) address of a hub"):
            find_hub(usual, "https://mirror", None)


def test_arguments(cache: Path) -> None:
    for change in ({"quant": 4}, {"revision": 3}, {"name": 5}):
        with pytest.raises(TypeError, match=r"\[hub\] expected a str"):
            fetch_model(**({"name": "a/b", "cache_dir": cache, "offline": True} | change))  # type: ignore[arg-type]
    with pytest.raises(HubError, match="expected one quantisation, got q4_0 and Q8_0"):
        fetch_model("a/b:q4_0", quant="Q8_0")
    for modules in ("vision", ["sight"]):
        with pytest.raises(ValueError, match="expected some of vision, audio, speech"):
            fetch_model("a/b", modules=modules)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"pip install 'minicpmo-cpp\[hub\]'"):
        fetch_model("a/b")


def test_a_model_is_opened(hub: HubServer, cache: Path, model_path: Path) -> None:
    hub.files = {"tiny-F32.gguf": model_path.read_bytes()}
    with Model.from_pretrained(REPOSITORY, quant="f32", cache_dir=cache, n_threads=1) as model:
        assert model.config["modules"] == Model.load(model_path, n_threads=1).config["modules"]
    with Model.from_pretrained(f"{REPOSITORY}:f32", cache_dir=cache, offline=True, n_threads=1) as model:
        assert model.chat("Hi", max_new_tokens=1, ignore_stop=True).token_ids


def test_a_name_that_lied_is_an_error_of_the_model(hub: HubServer, cache: Path, model_path: Path) -> None:
    hub.files = {"tiny-Q4_K_M.gguf": model_path.read_bytes(), "mmproj-F16.gguf": BYTES}
    with pytest.raises(ModelFileError, match=r"mmproj-F16\.gguf"):
        Model.from_pretrained(REPOSITORY, cache_dir=cache)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([], ("llm",)),
        (["vision"], ("llm", "vision")),
        (["audio"], ("llm", "audio")),
        (["audio", "speech"], ("llm", "audio", "speech")),
        (None, ("llm", "vision", "audio", "speech")),
    ],
)
def test_a_published_folder_in_parts(
    hub: HubServer,
    cache: Path,
    omni_files: dict[str, bytes],
    modules: list[str] | None,
    expected: tuple[str, ...],
) -> None:
    """The model has what was asked for, whatever else the cache has by then."""
    hub.files = omni_files
    for is_full in (False, True):
        with Model.from_pretrained(REPOSITORY, modules=modules, cache_dir=cache, n_threads=1) as model:
            assert model.config["modules"] == expected
        if not is_full:
            assert hub.fetched < omni_files.keys() or modules is None
            fetch_model(REPOSITORY, cache_dir=cache)


def test_a_pair_from_a_hub(hub: HubServer, cache: Path, golden: Path, tmp_path: Path) -> None:
    from minicpmo_convert.layouts.folder import write_folder
    from minicpmo_cpp.parity.golden import Golden

    write_folder(Golden(golden / "tiny-b").checkpoint, tmp_path / "pair", "q8_0", "mmproj")
    hub.files = {path: (tmp_path / "pair" / path).read_bytes() for path in files_below(tmp_path / "pair")}
    assert "mmproj-model-f16.gguf" in hub.files
    with Model.from_pretrained(REPOSITORY, cache_dir=cache, n_threads=1) as model:
        assert model.config["modules"] == ("llm", "vision")


def test_a_checkpoint_is_converted_from_a_hub(
    hub: HubServer,
    cache: Path,
    golden: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    convert_once: Callable[[str, str], Path],
) -> None:
    from minicpmo_convert.cli import app
    from minicpmo_cpp.parity.golden import Golden
    from typer.testing import CliRunner

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    data = Golden(golden / "tiny-a")
    hub.files = {path: (data.checkpoint / path).read_bytes() for path in files_below(data.checkpoint)}
    out = tmp_path / "out.gguf"
    arguments = [REPOSITORY, "-o", str(out), "--type", "f32", "--token2wav", str(data.causal_vocoder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (out, convert_once("tiny-a", "f32"))]
    assert digests[0] == digests[1]
    result = CliRunner().invoke(app, ["org/nothing", "-o", str(out)])
    assert result.exit_code == 1
    assert json.dumps(result.output).find("expected a repository, got HTTP 401") > 0
