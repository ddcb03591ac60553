"""A published pair of files, language model and vision tower, becomes one file."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_folder import ROLES, Folder, both, golden_that_only_sees, needs_golden, read_keys, read_types
from gguf import GGUFReader
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.merge import merge
from minicpmo_convert.requantize import requantize
from published_pair import CLIP, Pair
from typer.testing import CliRunner


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "checkpoint")
    folder.drop_audio()  # a pair is language model and vision tower
    folder.write()
    return folder


@pytest.fixture
def direct(folder: Folder, tmp_path: Path) -> Path:
    """The same model converted without the detour."""
    convert(folder.path, tmp_path / "direct.gguf", "f32")
    return tmp_path / "direct.gguf"


def check_same_tensors(got: Path, expected: Path) -> None:
    ours, theirs = GGUFReader(got).tensors, GGUFReader(expected).tensors
    assert [t.name for t in ours] == [t.name for t in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.tensor_type, a.shape.tolist()) == (b.tensor_type, b.shape.tolist()), a.name
        np.testing.assert_array_equal(a.data, b.data, err_msg=a.name)


@needs_golden
@both
@pytest.mark.parametrize("type_name", ["f32", "f16", "q4_k_m"])
def test_merging_the_two_files_equals_converting(name: str, type_name: str, tmp_path: Path) -> None:
    checkpoint = golden_that_only_sees(name, tmp_path / "checkpoint")
    convert(checkpoint, tmp_path / "direct.gguf", type_name)
    pair = Pair(tmp_path / "direct.gguf").write(tmp_path / "pair")
    merge(*pair, tmp_path / "merged.gguf", checkpoint)
    check_same_tensors(tmp_path / "merged.gguf", tmp_path / "direct.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()
    assert read_keys(tmp_path / "merged.gguf")["minicpmo.modules"] == ["llm", "vision"]


@needs_golden
def test_the_language_models_own_vocabulary_is_kept(tmp_path: Path) -> None:
    checkpoint = golden_that_only_sees("tiny-a", tmp_path / "checkpoint")
    convert(checkpoint, tmp_path / "direct.gguf", "f32")
    merge(*Pair(tmp_path / "direct.gguf").write(tmp_path / "pair"), tmp_path / "merged.gguf")
    check_same_tensors(tmp_path / "merged.gguf", tmp_path / "direct.gguf")
    merged, expected = read_keys(tmp_path / "merged.gguf"), read_keys(tmp_path / "direct.gguf")
    only_in_a_folder = {"minicpmo.sampling.temperature", "minicpmo.sampling.top_k", "minicpmo.sampling.top_p"}
    gone = {key for key in expected if key not in merged} - {"GGUF.kv_count"}
    assert gone <= only_in_a_folder | {"minicpmo.bad_token_ids", "minicpmo.tokens.special"}
    differs = {key for key in merged if merged[key] != expected[key]} - {"GGUF.kv_count"}
    assert not differs


@pytest.mark.parametrize("swap", [True, False])
def test_feed_forward_names_are_decided_by_shape(swap: bool, direct: Path, tmp_path: Path) -> None:
    merge(*Pair(direct, swap=swap).write(tmp_path / "pair"), tmp_path / "merged.gguf")
    check_same_tensors(tmp_path / "merged.gguf", direct)
    assert "resampler.pos_embed_k" not in read_types(tmp_path / "merged.gguf")


def test_feed_forward_names_are_decided_in_each_layer(direct: Path, tmp_path: Path) -> None:
    pair, right = Pair(direct), Pair(direct, swap=False)
    for part in ("up.weight", "up.bias", "down.weight", "down.bias"):
        name = f"v.blk.1.ffn_{part}"
        pair.vision.tensors[name] = right.vision.tensors[name]
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    check_same_tensors(tmp_path / "merged.gguf", direct)


def test_a_fused_attention_matrix_is_taken_apart(direct: Path, tmp_path: Path) -> None:
    pair = Pair(direct)
    parts = [pair.llm.tensors.pop(f"blk.1.attn_{part}.weight")[0] for part in "qkv"]
    pair.llm.tensors["blk.1.attn_qkv.weight"] = (np.concatenate(parts), None)
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    check_same_tensors(tmp_path / "merged.gguf", direct)


def test_a_tied_model_stays_tied(direct: Path, tmp_path: Path) -> None:
    pair = Pair(direct)
    del pair.llm.tensors["output.weight"]
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    types = read_types(tmp_path / "merged.gguf")
    assert "output.weight" not in types
    assert "token_embd.weight" in types


def test_facts_that_the_vision_file_lacks_are_said_aloud(
    folder: Folder, direct: Path, tmp_path: Path
) -> None:
    pair = Pair(direct).write(tmp_path / "pair")
    lines: list[str] = []
    merge(*pair, tmp_path / "merged.gguf", None, lines.append)
    assert lines == [
        "mmproj.gguf does not state max_slice_nums: 9 (the usual value)",
        "mmproj.gguf does not state use_image_id: True (the usual value)",
        "mmproj.gguf does not state position_grid: 2 (its table)",
    ]
    keys = read_keys(tmp_path / "merged.gguf")
    assert (keys["minicpmo.vision.max_slice_nums"], keys["minicpmo.vision.use_image_id"]) == (9, True)
    assert (keys["minicpmo.vision.position_grid"], keys["minicpmo.vision.scale_resolution"]) == (2, 56)

    merge(*pair, tmp_path / "merged.gguf", folder.path, lines.append)
    assert lines[3] == "mmproj.gguf does not state max_slice_nums: 5 (preprocessor_config.json)"
    assert read_keys(tmp_path / "merged.gguf")["minicpmo.vision.max_slice_nums"] == 5
    (folder.path / "preprocessor_config.json").unlink()
    merge(*pair, tmp_path / "merged.gguf", folder.path)
    assert read_keys(tmp_path / "merged.gguf")["minicpmo.vision.max_slice_nums"] == 9


@pytest.mark.parametrize("stated", [1, 3])
def test_layers_are_counted_where_the_key_is_wrong(stated: int, direct: Path, tmp_path: Path) -> None:
    pair = Pair(direct)
    pair.vision.put(CLIP + "block_count", stated)
    lines: list[str] = []
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf", None, lines.append)
    expected = f"mmproj.gguf: clip.vision.block_count is {stated}, 2 layers are stored and taken"
    assert lines[0] == expected
    assert read_keys(tmp_path / "merged.gguf")["minicpmo.vision.block_count"] == 2


@pytest.mark.parametrize("version", [451, 6, None])
def test_a_projector_of_another_number_is_taken_with_a_line(
    version: int | None, direct: Path, tmp_path: Path
) -> None:
    pair = Pair(direct)
    del pair.vision.keys["clip.minicpmv_version"]
    if version is not None:
        pair.vision.put("clip.minicpmv_version", version)
    lines: list[str] = []
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf", None, lines.append)
    assert sum("minicpmv_version" in line for line in lines) == int(version != 451)
    check_same_tensors(tmp_path / "merged.gguf", direct)


def forget(pair: Pair, gone: str) -> None:
    tokens, *kinds = pair.llm.keys["tokenizer.ggml.tokens"]
    kept = [f"[PAD{i}]" if token == gone else token for i, token in enumerate(tokens)]
    pair.llm.keys["tokenizer.ggml.tokens"] = (kept, *kinds)


@pytest.mark.parametrize("token", ["<image>", "<|tts_eos|>", "<|im_end|>"])
def test_a_vocabulary_without_the_special_tokens_needs_another_one(
    token: str, folder: Folder, direct: Path, tmp_path: Path
) -> None:
    pair = Pair(direct)
    forget(pair, token)
    files = pair.write(tmp_path / "pair")
    with pytest.raises(ConvertError, match=r"--tokenizer DIR") as caught:
        merge(*files, tmp_path / "merged.gguf")
    assert repr(token) in str(caught.value)
    merge(*files, tmp_path / "merged.gguf", folder.path)
    assert token in read_keys(tmp_path / "merged.gguf")["tokenizer.ggml.tokens"]


def test_tokens_with_a_role_are_special(direct: Path, tmp_path: Path) -> None:
    pair = Pair(direct)
    types, *kinds = pair.llm.keys["tokenizer.ggml.token_type"]
    pair.llm.keys["tokenizer.ggml.token_type"] = ([1] * len(types), *kinds)
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    keys = read_keys(tmp_path / "merged.gguf")
    special = {
        keys["tokenizer.ggml.tokens"][i] for i, k in enumerate(keys["tokenizer.ggml.token_type"]) if k == 3
    }
    assert special == set(ROLES.values())


def test_a_short_vocabulary_is_padded_and_a_long_one_refused(
    folder: Folder, direct: Path, tmp_path: Path
) -> None:
    pair = Pair(direct)
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
        values, *kinds = pair.llm.keys[key]
        pair.llm.keys[key] = (values[:310], *kinds)
    merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
        assert read_keys(tmp_path / "merged.gguf")[key] == read_keys(direct)[key]

    pair = Pair(direct)
    for key, more in (("tokenizer.ggml.tokens", "more"), ("tokenizer.ggml.token_type", 1)):
        values, *kinds = pair.llm.keys[key]
        pair.llm.keys[key] = ([*values, more], *kinds)
    with pytest.raises(ConvertError, match="at most 320 tokens, got 321"):
        merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf")
    shutil.rmtree(folder.path)
    folder.added["far"] = 320
    with pytest.raises(ConvertError, match="below vocab_size 320, got 320"):
        merge(*pair.write(tmp_path / "pair"), tmp_path / "merged.gguf", folder.write())


def narrow(pair: Pair) -> None:
    data, kind = pair.vision.tensors["resampler.query"]
    pair.vision.tensors["resampler.query"] = (np.ascontiguousarray(data[:, :64]), kind)


def reshape(name: str) -> Callable[[Pair], None]:
    def change(pair: Pair) -> None:
        parts = pair.llm if name in pair.llm.tensors else pair.vision
        data, kind = parts.tensors[name]
        parts.tensors[name] = (np.concatenate([data, data[:1]]), kind)

    return change


def drop(name: str) -> Callable[[Pair], None]:
    def change(pair: Pair) -> None:
        del (pair.llm if name in pair.llm.tensors else pair.vision).tensors[name]

    return change


ODD_PAIRS: list[tuple[Callable[[Pair], Any], str]] = [
    (lambda p: setattr(p.llm, "arch", "llama"), "a language model of architecture 'qwen3', got 'llama'"),
    (lambda p: setattr(p.vision, "arch", "whisper"), "architecture 'clip', got 'whisper'"),
    (narrow, r"as wide as the language model \(128\), got 64"),
    (drop("blk.1.ffn_gate.weight"), r"blk\.1\.ffn_gate\.weight"),
    (drop("token_embd.weight"), r"token_embd\.weight"),
    (drop("v.blk.1.attn_out.bias"), r"v\.blk\.1\.attn_out\.bias"),
    (drop("v.blk.0.ln1.weight"), r"v\.blk\.0\.ln1\.weight"),
    (drop("resampler.kv.weight"), r"resampler\.kv\.weight"),
    (drop("resampler.query"), r"resampler\.query"),
    (reshape("blk.0.attn_k_norm.weight"), r"expected shape \[64\], got \[65\]"),
    (reshape("v.position_embd.weight"), "square grid of positions, got 5"),
    (reshape("v.post_ln.bias"), r"v\.post_ln\.bias"),
    (lambda p: p.llm.tensors.update({"rope_freqs.weight": (np.ones(8, np.float32), None)}), "'rope_freqs"),
    (lambda p: p.vision.tensors.update({"v.pre_ln.weight": (np.ones(8, np.float32), None)}), "'v.pre_ln"),
    (lambda p: p.llm.tensors.update({"output_norm.weight": (np.ones(128, np.int32), None)}), "type i32"),
    (lambda p: p.llm.put("qwen3.rope.scaling.type", "yarn"), "'yarn'"),
    (lambda p: p.llm.put("qwen3.rope.dimension_count", 32), "rope.dimension_count"),
    (lambda p: p.llm.put("qwen3.block_count", 3), r"blk\.2\.attn_norm\.weight"),
    (lambda p: p.llm.put("qwen3.block_count", 1), r"'blk\.1\."),
    (lambda p: p.llm.put("qwen3.attention.head_count", 0), r"llm\.gguf: qwen3\.attention\.head_count"),
    (lambda p: p.llm.put("qwen3.vocab_size", 319), "vocab_size"),
    (lambda p: p.llm.put("split.count", 3), "part of 3"),
    (lambda p: p.llm.put("general.quantization_version", 1), "quantization_version"),
    (lambda p: p.llm.put("tokenizer.ggml.model", "llama"), r"tokenizer\.ggml\.model"),
    (lambda p: p.llm.put("tokenizer.ggml.tokens", [1.0, 2.0]), r"tokenizer\.ggml\.tokens"),
    (lambda p: p.llm.put("tokenizer.ggml.token_type", [1.0]), r"tokenizer\.ggml\.token_type"),
    (lambda p: p.vision.keys.pop("clip.use_gelu"), "use_gelu"),
    (lambda p: p.vision.put("clip.projector_type", "mlp"), "'mlp'"),
    (lambda p: p.vision.put("clip.minicpmv_version", 2), "version 2"),
    (lambda p: p.vision.put(CLIP + "image_std", [0.5, 0.0, 0.5]), "norm_std"),
    (lambda p: p.vision.put(CLIP + "image_mean", [0.5]), "image_mean"),
    (lambda p: p.vision.put(CLIP + "attention.head_count", 5), "5 heads"),
    (lambda p: p.vision.keys.pop(CLIP + "patch_size"), r"mmproj\.gguf: clip\.vision\.patch_size"),
]


@pytest.mark.parametrize(("change", "match"), ODD_PAIRS, ids=[match for _, match in ODD_PAIRS])
def test_pairs_that_do_not_fit_are_refused(
    change: Callable[[Pair], Any], match: str, direct: Path, tmp_path: Path
) -> None:
    pair = Pair(direct)
    change(pair)
    files = pair.write(tmp_path / "pair")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "merged.gguf").write_bytes(b"old")
    with pytest.raises(ConvertError, match=match):
        merge(*files, tmp_path / "out" / "merged.gguf")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir()] == [("merged.gguf", b"old")]


def test_exchanged_files_and_their_own_names_are_refused(direct: Path, tmp_path: Path) -> None:
    llm, vision = Pair(direct).write(tmp_path / "pair")
    with pytest.raises(ConvertError, match=r"expected a language model .* got 'clip' \(mmproj\.gguf\)"):
        merge(vision, llm, tmp_path / "merged.gguf")
    for target in (llm, vision):
        before = target.read_bytes()
        with pytest.raises(ConvertError, match="other than the inputs"):
            merge(llm, vision, target)
        assert target.read_bytes() == before
    with pytest.raises(ConvertError, match="expected a GGUF file with a vision file"):
        merge(llm, tmp_path / "none.gguf", tmp_path / "merged.gguf")
    with pytest.raises(ConvertError, match="folder of tokenizer files"):
        merge(llm, vision, tmp_path / "merged.gguf", tmp_path / "none")


def test_damaged_pairs_are_refused_or_merged(direct: Path, tmp_path: Path) -> None:
    files = Pair(direct).write(tmp_path / "pair")
    rng = np.random.default_rng(5)
    for damaged in files:
        whole = damaged.read_bytes()
        header = whole.index(b"resampler.proj.weight" if damaged is files[1] else b"output_norm.weight") + 64
        for _ in range(120):
            place = int(rng.integers(0, header - 8))
            patch = bytes(rng.choice([b"\xff" * 8, b"\x00" * 8, b"\xff" * 4, rng.bytes(1), rng.bytes(3)]))
            damaged.write_bytes(whole[:place] + patch + whole[place + len(patch) :])
            with contextlib.suppress(ConvertError):
                merge(*files, tmp_path / "merged.gguf")
        damaged.write_bytes(whole[: header // 2])
        with pytest.raises(ConvertError):
            merge(*files, tmp_path / "merged.gguf")
        damaged.write_bytes(whole)
    assert not list(tmp_path.glob(".*"))


def test_the_command_line_merges(folder: Folder, direct: Path, tmp_path: Path) -> None:
    files = [str(path) for path in Pair(direct).write(tmp_path / "pair")]
    target = str(tmp_path / "merged.gguf")
    done = CliRunner().invoke(app, ["--merge", *files, "--tokenizer", str(folder.path), "-o", target])
    assert done.exit_code == 0, done.output
    assert "max_slice_nums" in done.stderr
    assert done.stdout.startswith(f"{target}: ")
    check_same_tensors(Path(target), direct)
    shutil.copy(folder.path / "vocab.json", tmp_path / "pair" / "llm.gguf")
    done = CliRunner().invoke(app, ["--merge", *files, "-o", target])
    assert done.exit_code == 1
    assert done.stderr == "minicpmo-convert: [gguf] expected a GGUF file, got another format (llm.gguf)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--merge", "a", "-o", "c"],
        ["a", "--merge", "a", "b", "-o", "c"],
        ["--merge", "a", "b", "-o", "c", "--type", "q8_0"],
        ["--tokenizer", "t", "a", "-o", "c"],
    ],
)
def test_the_command_line_refuses_odd_combinations(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_merged_file_takes_other_types(folder: Folder, direct: Path, tmp_path: Path) -> None:
    merge(*Pair(direct).write(tmp_path / "pair"), tmp_path / "merged.gguf", folder.path)
    requantize(tmp_path / "merged.gguf", tmp_path / "again.gguf", "q8_0")
    convert(folder.path, tmp_path / "q8_0.gguf", "q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "q8_0.gguf").read_bytes()
