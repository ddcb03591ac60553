"""The house rules that a machine can check: include direction, what each room may name, sizes, file names.

The rules themselves are in docs/architecture.md; this file is their enforcement.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# A room may include itself and the rooms listed here.
BELOW: dict[str, set[str]] = {
    "base": set(),
    "core": {"base"},
    "layouts": {"base", "core"},
    "text": {"base"},
    "image": {"base"},
    "audio": {"base"},
    "kernels": {"base", "core"},
    "nn": {"base", "core", "kernels"},
    "models": {"base", "core", "audio", "kernels", "nn"},
    "engine": {"base", "core", "layouts", "text", "image", "audio", "models"},
    "api": {"base", "core", "text", "image", "audio", "models", "engine", "include"},
    "include": set(),
}
# models/x may include models/y only where x is made of y.
COMPOSED = {
    "vision_encoder": {"siglip", "resampler"},
    "audio_encoder": {"whisper_encoder"},
    "decoder": {"token_embedding"},
    "conditional_tts": {"decoder", "token_embedding"},
    "tts_lm": {"decoder", "token_embedding"},
    "conformer": {"stream_cache"},
    "upsample_encoder": {"conformer", "stream_cache"},
    "dit": {"stream_cache"},
    "flow_matching": {"dit", "frame_cells", "stream_cache"},
    "flow": {"upsample_encoder", "dit", "flow_matching"},
    "flow_memory": {"flow", "voice_cache"},
    "voice": {"voice_cache"},
    "f0_predictor": {"causal_conv1d"},
    "hift": {"causal_conv1d"},
    "vocoder": {"hift", "harmonic_source", "f0_predictor"},
}
FORBIDDEN_STEMS = {"utils", "util", "common", "impl", "misc", "helpers"}
GENERATED = {"unicode_tables.cpp"}
LIMITS = {".cpp": 600, ".h": 250, ".py": 400}  # lines


def sources(*suffixes: str) -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in suffixes)


def room_of(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def includes(path: Path) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)


def code(path: Path) -> str:
    """The text without comments."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", text)


def offenders(pattern: str, rooms: set[str], allowed: set[str] = frozenset()) -> list[str]:
    found = []
    for path in sources(".h", ".cpp"):
        if room_of(path) not in rooms or path.relative_to(CSRC).as_posix() in allowed:
            continue
        for match in re.finditer(pattern, code(path)):
            found.append(f"{path.relative_to(ROOT)}: {match.group(0)}")
    return found


ALL = set(BELOW)


@pytest.mark.parametrize("path", sources(".h", ".cpp"), ids=lambda p: p.relative_to(CSRC).as_posix())
def test_a_room_includes_itself_and_the_rooms_below(path: Path) -> None:
    room = room_of(path)
    for include in includes(path):
        target = include.split("/")[0] if "/" in include else "include"
        assert target == room or target in BELOW[room], f"{room} must not include {include}"
        if room == target == "models" and Path(include).stem != path.stem:
            allowed = COMPOSED.get(path.stem, set())
            assert Path(include).stem in allowed, f"models/{path.stem} is not made of {include}"


def test_host_rooms_do_not_see_ggml() -> None:
    assert offenders(r"ggml\w*", {"base", "text", "image", "audio"}) == []


def test_the_engine_calls_no_ggml_function() -> None:
    assert offenders(r"\bggml_\w+\(", {"engine", "api"}) == []


def test_metadata_keys_are_spelled_where_configurations_are_read() -> None:
    keys = r'"(?:minicpmo\.(?!h")|tokenizer\.ggml\.|general\.)[a-z_.]*'
    readers = [p for p in sources(".cpp") if p.stem.endswith("_config") or room_of(p) == "layouts"]
    rooms = {p.relative_to(CSRC).as_posix() for p in readers}
    assert offenders(keys, ALL, rooms | {"core/gguf_file.cpp", "core/gguf_header.cpp"}) == []


def test_only_the_log_prints_and_nothing_reads_the_environment() -> None:
    assert offenders(r"\bf?printf\(|std::c(?:out|err)\b|\bputs\(", ALL, {"base/log.cpp"}) == []
    assert offenders(r"\bgetenv\(|\bsystem\(|\bpopen\(", ALL) == []


def test_nothing_is_owned_by_hand() -> None:
    assert (
        offenders(
            r"\bnew (?!\()[A-Z]\w*|\bdelete \w|\bmalloc\(|\bfree\(", ALL - {"api"}, {"engine/model.cpp"}
        )
        == []
    )


def test_no_member_of_the_family_is_named_in_code() -> None:
    """Facts decide, never a model's name or version."""
    assert offenders(r'"(?:o|v)-?[0-9]\.[0-9]"|minicpmv_version|MiniCPM', ALL) == []


def python_sources() -> list[Path]:
    return [
        p
        for folder in ("python", "convert", "benchmarks", "demo")
        for p in sorted((ROOT / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize(
    "path", sources(".h", ".cpp") + python_sources(), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_files_are_small_and_named_by_a_noun(path: Path) -> None:
    assert path.stem not in FORBIDDEN_STEMS
    assert not re.search(r"\d$", path.stem) or path.stem.endswith(("int8", "avx512")), (
        "split by noun, not by number"
    )
    if path.name not in GENERATED:
        n_line = len(path.read_text(encoding="utf-8").splitlines())
        assert n_line <= LIMITS[path.suffix], f"{n_line} lines: which noun hides in it?"


@pytest.mark.parametrize("path", sources(".h"), ids=lambda p: p.relative_to(CSRC).as_posix())
def test_headers_begin_by_saying_what_they_hold(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines[0] == "#pragma once" else lines[0]
    assert first.startswith(("//", "/*")), f"{path.name} does not say what it holds"


def test_print_lines_per_room(capsys: pytest.CaptureFixture[str]) -> None:
    """Growth is visible in every run."""
    rows: dict[str, int] = {}
    for path in sources(".h", ".cpp"):
        if path.name not in GENERATED:
            n_line = len(path.read_text(encoding="utf-8").splitlines())
            rows[room_of(path)] = rows.get(room_of(path), 0) + n_line
    with capsys.disabled():
        print(
            "\nlines per room:",
            ", ".join(f"{room} {n}" for room, n in rows.items()),
            f"(sum {sum(rows.values())})",
        )
    assert sum(rows.values()) <= 32000  # docs/decisions/010
