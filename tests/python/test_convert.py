"""A checkpoint folder becomes a GGUF file: what it keeps, in which types, and how it is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_folder import (
    GOLDEN,
    ROLES,
    Folder,
    both,
    check_values_survive,
    needs_golden,
    read_keys,
    read_types,
    read_values,
)
from minicpmo_convert import writer
from minicpmo_convert.cli import app
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.recipe import RECIPES, is_sensitive, type_of
from minicpmo_convert.requantize import requantize
from minicpmo_convert.tensor import Tensor
from numpy.typing import NDArray
from typer.testing import CliRunner

TYPES = list(RECIPES)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "checkpoint")


def test_every_tensor_survives_f32_exactly(folder: Folder, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    check_values_survive(folder.path, tmp_path / "out.gguf", n_vision=2)


@needs_golden
@both
def test_every_golden_tensor_survives_f32_exactly(name: str, tmp_path: Path) -> None:
    convert(GOLDEN / name / "checkpoint", tmp_path / "out.gguf", "f32")
    check_values_survive(GOLDEN / name / "checkpoint", tmp_path / "out.gguf", n_vision=2)


def test_big_tensors_are_read_in_pieces(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(folder.write(), tmp_path / "whole.gguf", "q8_0")
    monkeypatch.setattr("minicpmo_convert.tensor.CHUNK_VALUES", 1000)
    convert(folder.path, tmp_path / "pieces.gguf", "q8_0")
    assert (tmp_path / "pieces.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_keys_come_from_the_folder(folder: Folder, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "out.gguf", "q4_k_m")
    keys = read_keys(tmp_path / "out.gguf")
    expected = {
        **{"general.architecture": "minicpmo", "general.file_type": 15, "minicpmo.version": 1},
        **{"minicpmo.model": "o-4.5", "minicpmo.llm.arch": "qwen3"},
        "minicpmo.modules": ["llm", "vision", "audio"],
        **{"qwen3.block_count": 2, "qwen3.context_length": 1024, "qwen3.embedding_length": 128},
        **{"qwen3.feed_forward_length": 256, "qwen3.attention.head_count": 2, "qwen3.vocab_size": 320},
        **{"qwen3.attention.head_count_kv": 1, "qwen3.attention.key_length": 64, "qwen3.rope.freq_base": 5e5},
        **{"qwen3.attention.value_length": 64},
        **{"minicpmo.vision.embedding_length": 36, "minicpmo.vision.feed_forward_length": 64},
        **{"minicpmo.vision.block_count": 2, "minicpmo.vision.attention.head_count": 2},
        **{"minicpmo.vision.patch_size": 14, "minicpmo.vision.position_grid": 2},
        **{"minicpmo.vision.scale_resolution": 56, "minicpmo.vision.max_slice_nums": 5},
        **{"minicpmo.vision.image_mean": [0.5] * 3, "minicpmo.vision.image_std": [0.5] * 3},
        **{"minicpmo.vision.hidden_act": "gelu_tanh", "minicpmo.vision.use_image_id": True},
        **{"minicpmo.vision.slice_style": "2.6", "minicpmo.vision.projector": "resampler"},
        **{"minicpmo.resampler.query_num": 8, "minicpmo.resampler.embedding_length": 128},
        **{"minicpmo.resampler.attention.head_count": 1, "minicpmo.resampler.temporal_ids": False},
        **{"minicpmo.resampler.embedding_scale_folded": 1.0, "minicpmo.bad_token_ids": [3, 1]},
        **{"minicpmo.audio.embedding_length": 20, "minicpmo.audio.feed_forward_length": 64},
        **{"minicpmo.audio.block_count": 2, "minicpmo.audio.attention.head_count": 4},
        **{"minicpmo.audio.n_mel": 6, "minicpmo.audio.n_fft": 400, "minicpmo.audio.hop_length": 160},
        **{"minicpmo.audio.sample_rate": 16000, "minicpmo.audio.max_positions": 12},
        **{"minicpmo.audio.pool_step": 3, "minicpmo.audio.chunk_length_s": 0.5},
        **{"minicpmo.audio.hidden_act": "gelu", "minicpmo.audio.stream_input": True},
        **{"minicpmo.llm.file_type": 15, "minicpmo.vision.file_type": 7, "minicpmo.audio.file_type": 7},
        **{
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.add_bos_token": False,
        },
        **{"tokenizer.ggml.merges": ["a b", "ab c"], "tokenizer.chat_template": "{{ messages }}"},
        **{"minicpmo.tokens.stop": [folder.added["<|im_end|>"], folder.added["<|endoftext|>"]]},
        **{"tokenizer.ggml.eos_token_id": folder.added["<|im_end|>"]},
        **{"tokenizer.ggml.unknown_token_id": folder.vocab["<unk>"], "minicpmo.sampling.top_k": 20},
    }
    assert {key: keys.get(key) for key in expected} == expected
    assert keys["qwen3.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert keys["minicpmo.vision.attention.layer_norm_epsilon"] == pytest.approx(1e-6)
    assert keys["minicpmo.audio.layer_norm_epsilon"] == pytest.approx(1e-5)
    assert keys["minicpmo.sampling.temperature"] == pytest.approx(0.6)
    assert keys["minicpmo.sampling.top_p"] == pytest.approx(0.95)
    ids = {**folder.vocab, **folder.added}
    assert {role: keys[f"minicpmo.tokens.{role}"] for role in ROLES} == {r: ids[t] for r, t in ROLES.items()}


def test_audio_facts_that_the_configuration_leaves_out_are_the_official_ones(
    folder: Folder, tmp_path: Path
) -> None:
    for key in ("audio_pool_step", "audio_chunk_length", "stream_input"):
        del folder.config[key]
    for key in ("activation_function", "scale_embedding"):
        del folder.config["audio_config"][key]
    stated = {"sampling_rate": 16000, "feature_size": 6, "n_fft": 400, "dynamic_range_db": 8.0}
    folder.preprocessor |= stated | {"audio_pool_step": 5}
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    keys = read_keys(tmp_path / "out.gguf")
    names = ("pool_step", "chunk_length_s", "stream_input", "hidden_act")
    assert [keys[f"minicpmo.audio.{name}"] for name in names] == [5, 1.0, False, "gelu"]


@pytest.mark.parametrize("init_audio", [True, False])
def test_a_checkpoint_without_audio_becomes_a_file_without_it(
    folder: Folder, init_audio: bool, tmp_path: Path
) -> None:
    lines: list[str] = []
    convert(folder.write(), tmp_path / "whole.gguf", "f32", lines.append)
    shutil.rmtree(folder.path)
    folder.drop_audio()
    del folder.config["audio_config"]
    folder.config["init_audio"] = init_audio
    convert(folder.write(), tmp_path / "out.gguf", "f32", lines.append)
    assert [line for line in lines if "layers" in line] == [
        "MiniCPM-o 4.5: 2 layers, 2 of 2 vision layers, 2 audio layers",
        "MiniCPM-o 4.5: 2 layers, 2 of 2 vision layers, no audio: the checkpoint holds none",
    ]
    check_values_survive(folder.path, tmp_path / "out.gguf", n_vision=2)
    whole, keys = read_keys(tmp_path / "whole.gguf"), read_keys(tmp_path / "out.gguf")
    assert keys["minicpmo.modules"] == ["llm", "vision"]
    gone = {key for key in whole if key not in keys}
    assert gone == {key for key in whole if key.startswith("minicpmo.audio.")} != set()


def test_token_list_has_types_and_fills_gaps(folder: Folder, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    keys = read_keys(tmp_path / "out.gguf")
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == 320
    ids = {**folder.vocab, **folder.added}
    assert all(tokens[i] == token for token, i in ids.items())
    kinds = {token: types[i] for token, i in ids.items()}
    assert (kinds["a"], kinds["abc"], kinds["<unk>"], kinds["<image>"], kinds["<think>"]) == (1, 1, 3, 3, 4)
    assert (tokens[319], types[319], tokens[100], types[100]) == ("[PAD319]", 5, "[PAD100]", 5)


@needs_golden
@both
def test_golden_keys(name: str, tmp_path: Path) -> None:
    folder = GOLDEN / name / "checkpoint"
    convert(folder, tmp_path / "out.gguf", "f32")
    keys = read_keys(tmp_path / "out.gguf")
    config = json.loads((folder / "config.json").read_text())
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert keys["qwen3.attention.key_length"] == config["head_dim"]
    assert keys["minicpmo.vision.block_count"] == 2
    assert keys["minicpmo.vision.position_grid"] == 70
    assert keys["minicpmo.vision.max_slice_nums"] == preprocessor["max_slice_nums"]
    assert keys["minicpmo.resampler.query_num"] == config["query_num"]
    assert keys["minicpmo.modules"] == ["llm", "vision", "audio", "tts", "t2w", "s3", "spk"]
    audio = {"embedding_length": "d_model", "feed_forward_length": "encoder_ffn_dim", "n_mel": "num_mel_bins"}
    audio |= {"block_count": "encoder_layers", "attention.head_count": "encoder_attention_heads"}
    audio |= {"max_positions": "max_source_positions", "hidden_act": "activation_function"}
    for ours, theirs in audio.items():
        assert keys[f"minicpmo.audio.{ours}"] == config["audio_config"][theirs]
    root = {"pool_step": "audio_pool_step", "chunk_length_s": "audio_chunk_length"}
    for ours, theirs in (root | {"stream_input": "stream_input"}).items():
        assert keys[f"minicpmo.audio.{ours}"] == config[theirs]
    assert keys["tokenizer.chat_template"] == settings["chat_template"]
    assert keys["minicpmo.bad_token_ids"] == settings["bad_token_ids"]
    assert keys["minicpmo.tokens.stop"] == [603, 601]
    assert keys["tokenizer.ggml.tokens"][627] == "<image>"


# Mean error allowed, in units of a tensor's root mean square.
TOLERANCE = {
    **{
        "f32": 0.0,
        "f16": 1e-3,
        "bf16": 4e-3,
        "q8_0": 0.01,
        "q6_k": 0.02,
        "q5_k": 0.05,
        "q5_1": 0.05,
        "q5_0": 0.06,
    },
    **{"q4_k": 0.1, "q4_0": 0.12, "q4_1": 0.12, "iq4_nl": 0.1, "iq4_xs": 0.1, "q3_k": 0.2, "q2_k": 0.35},
}


def check_types(path: Path, exact: Path, type_name: str) -> None:
    types, values, reference = read_types(path), read_values(path), read_values(exact)
    assert values.keys() == reference.keys()
    values = {name: without_zeros(each, reference[name].shape) for name, each in values.items()}
    for name, kind in types.items():
        if reference[name].ndim == 1 or name in ("resampler.query", "a.position_embd.weight"):
            assert kind == "f32", name
        scale = float(np.sqrt(np.mean(reference[name] ** 2)))
        error = float(np.abs(values[name] - reference[name]).mean())
        assert error <= TOLERANCE[kind] * scale, (name, kind, error)


def without_zeros(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What is left of a tensor without the zeros that made it wider than `shape`."""
    inside = tuple(slice(n) for n in shape)
    outside = values.copy()
    outside[inside] = 0
    assert not outside.any()
    return values[inside]


@needs_golden
@both
@pytest.mark.parametrize("type_name", TYPES)
def test_golden_sets_convert_to_every_type(name: str, type_name: str, tmp_path: Path) -> None:
    folder = GOLDEN / name / "checkpoint"
    convert(folder, tmp_path / "f32.gguf", "f32")
    convert(folder, tmp_path / "out.gguf", type_name)
    check_types(tmp_path / "out.gguf", tmp_path / "f32.gguf", type_name)
    types = read_types(tmp_path / "out.gguf")
    base = type_name.removesuffix("_s").removesuffix("_m").removesuffix("_l")
    has_own_head = type_name in ("f32", "f16", "bf16", "q8_0", "q6_k")
    assert types["output.weight"] == (type_name if has_own_head else "q6_k")
    assert types["blk.0.ffn_up.weight"] == base
    media = type_name if type_name in ("f32", "f16", "bf16") else "q8_0"
    # Rows of 144 are no whole blocks and stay in float16; those of the hidden width are made whole.
    assert types["v.blk.0.attn_q.weight"] == (media if media != "q8_0" else "f16")
    assert types["v.blk.0.ffn_down.weight"] == media
    for table in ("v.patch_embd", "v.position_embd", "a.conv1", "a.conv2"):
        assert types[f"{table}.weight"] == ("f32" if type_name == "f32" else "f16")
    assert types["resampler.proj.weight"] == media
    for part in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"):
        assert types[f"a.blk.1.{part}.weight"] == media
    assert types["mm.a.linear1.weight"] == types["mm.a.linear2.weight"] == media


@pytest.mark.parametrize(
    ("width", "type_name", "stored"), [(70, "q8_0", 96), (70, "f16", 70), (64, "q4_0", 64)]
)
def test_the_hidden_width_of_vision_is_made_of_whole_blocks(
    folder: Folder, width: int, type_name: str, stored: int, tmp_path: Path
) -> None:
    folder.config["vision_config"]["intermediate_size"] = width
    rng = np.random.default_rng(7)
    for i in range(2):
        at = f"vpm.encoder.layers.{i}.mlp."
        for name, shape in {
            "fc1.weight": (width, 36),
            "fc1.bias": (width,),
            "fc2.weight": (36, width),
        }.items():
            folder.tensors[at + name] = rng.normal(0, 0.05, shape).astype(np.float32)
    convert(folder.write(), tmp_path / "f32.gguf", "f32")
    convert(folder.path, tmp_path / "out.gguf", type_name)
    keys, values = read_keys(tmp_path / "out.gguf"), read_values(tmp_path / "out.gguf")
    assert keys["minicpmo.vision.feed_forward_length"] == stored
    assert values["v.blk.1.ffn_up.weight"].shape == (stored, 36)
    assert values["v.blk.1.ffn_up.bias"].shape == (stored,)
    assert values["v.blk.1.ffn_down.weight"].shape == (36, stored)
    check_types(tmp_path / "out.gguf", tmp_path / "f32.gguf", type_name)
    requantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", type_name)
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "out.gguf").read_bytes()
    requantize(tmp_path / "out.gguf", tmp_path / "wide.gguf", "f16")  # what was added stays
    assert read_keys(tmp_path / "wide.gguf")["minicpmo.vision.feed_forward_length"] == stored


@pytest.mark.parametrize("type_name", TYPES)
def test_rows_that_blocks_do_not_divide_take_the_next_type(
    folder: Folder, type_name: str, tmp_path: Path
) -> None:
    convert(folder.write(), tmp_path / "f32.gguf", "f32")
    convert(folder.path, tmp_path / "out.gguf", type_name)
    check_types(tmp_path / "out.gguf", tmp_path / "f32.gguf", type_name)
    types = read_types(tmp_path / "out.gguf")
    base = type_name.removesuffix("_s").removesuffix("_m").removesuffix("_l")
    next_type = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl"}
    next_type |= {"q3_k": "q4_0", "q2_k": "q4_0"}
    assert types["blk.0.attn_q.weight"] == next_type.get(base, base)  # rows of 128
    better = {"q3_k_m": "q4_k", "q3_k_l": "q5_k", "q2_k": "q3_k"}
    assert types["blk.0.ffn_down.weight"] == better.get(type_name, base)  # rows of 256
    assert types["v.blk.0.attn_q.weight"] == (
        type_name if type_name in ("f32", "bf16") else "f16"
    )  # rows of 36
    assert types["a.blk.0.attn_q.weight"] == types["v.blk.0.attn_q.weight"]  # rows of 20


def test_the_mixes_name_the_layers_that_llama_quantize_names() -> None:
    chosen = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31, 32, 33, 34, 35]
    assert [i for i in range(36) if is_sensitive(i, 36)] == chosen


def types_of_layers(type_name: str, part: str) -> list[str]:
    """Of 36 layers, as in the published model."""
    zeros = np.zeros((256, 256), np.float32)
    tensors = [
        Tensor(
            f"blk.{i}.{part}.weight",
            (256, 256),
            "f32",
            lambda first, n: zeros[first : first + n].view(np.uint8),
        )
        for i in range(36)
    ]
    return [type_of(RECIPES[type_name], tensor, 36, False) for tensor in tensors]


@pytest.mark.parametrize(
    ("type_name", "part", "expected"),
    [
        ("q2_k", "attn_v", ["q4_k"] * 36),
        ("q2_k", "attn_output", ["q3_k"] * 36),
        ("q2_k", "attn_k", ["q2_k"] * 36),
        ("q3_k_s", "ffn_down", ["q3_k"] * 36),
        ("q3_k_m", "attn_v", ["q5_k"] * 2 + ["q4_k"] * 34),
        ("q3_k_m", "ffn_down", ["q5_k"] * 2 + ["q4_k"] * 34),
        ("q3_k_m", "attn_output", ["q4_k"] * 36),
        ("q3_k_l", "attn_output", ["q5_k"] * 36),
        ("q4_k_s", "attn_v", ["q5_k"] * 4 + ["q4_k"] * 32),
        ("q4_k_s", "ffn_down", ["q5_k"] * 4 + ["q4_k"] * 32),
        ("q5_k_s", "ffn_down", ["q5_k"] * 36),
        ("iq4_xs", "attn_v", ["q5_k"] * 36),
        ("iq4_nl", "ffn_down", ["q5_k"] * 4 + ["iq4_nl"] * 32),
        ("q4_1", "ffn_down", ["q4_1"] * 36),
    ],
)
def test_mixes_are_those_of_llama_quantize(type_name: str, part: str, expected: list[str]) -> None:
    assert types_of_layers(type_name, part) == expected


@needs_golden
def test_mixes_store_sensitive_layers_better(tmp_path: Path) -> None:
    convert(GOLDEN / "tiny-b" / "checkpoint", tmp_path / "out.gguf", "q4_k_m")
    types = read_types(tmp_path / "out.gguf")
    assert [types[f"blk.{i}.attn_v.weight"] for i in range(3)] == ["q4_k", "q4_k", "q6_k"]
    assert [types[f"blk.{i}.attn_k.weight"] for i in range(3)] == ["q4_k"] * 3
    assert types["token_embd.weight"] == "q4_k"


def test_a_value_beyond_float16_makes_that_tensor_bf16(folder: Folder, tmp_path: Path) -> None:
    folder.tensors["llm.model.layers.1.mlp.up_proj.weight"][5, 7] = -1e5
    convert(folder.write(), tmp_path / "out.gguf", "f16")
    types = read_types(tmp_path / "out.gguf")
    assert types["blk.1.ffn_up.weight"] == "bf16"
    assert types["blk.0.ffn_up.weight"] == "f16"
    assert read_values(tmp_path / "out.gguf")["blk.1.ffn_up.weight"][5, 7] < -99000
    with pytest.raises(ConvertError, match=r"blk\.1\.ffn_up\.weight"):
        convert(folder.path, tmp_path / "q8_0.gguf", "q8_0")


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(
    folder: Folder, type_name: str, value: float, tmp_path: Path
) -> None:
    folder.tensors["llm.model.layers.0.self_attn.q_proj.weight"][1, 2] = value
    with pytest.raises(ConvertError, match=r"blk\.0\.attn_q\.weight"):
        convert(folder.write(), tmp_path / "out.gguf", type_name)
    assert not list(tmp_path.glob("*gguf*"))


def test_a_failed_run_leaves_the_old_file(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.gguf"
    target.write_bytes(b"old")
    real, calls = writer.encode, []

    def failing(values: Any, name: str, importance: Any) -> Any:
        calls.append(name)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return real(values, name, importance)

    monkeypatch.setattr(writer, "encode", failing)
    with pytest.raises(OSError, match="No space"):
        convert(folder.write(), target, "f32")
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "out.gguf"]


SLOW = """
import sys, time
from minicpmo_convert import cli, writer
real = writer.encode
writer.encode = lambda *args: (time.sleep(0.2), real(*args))[1]
cli.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind are not sent there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_leaves_no_file(folder: Folder, number: signal.Signals, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        SLOW,
        str(folder.write()),
        "-o",
        str(tmp_path / "out.gguf"),
        "--type",
        "f32",
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 4096 for p in tmp_path.glob(".out.gguf.*")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert errors == "minicpmo-convert: interrupted, nothing written\n"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_the_command_line_converts_and_requantizes(folder: Folder, tmp_path: Path) -> None:
    target, again = str(tmp_path / "out.gguf"), str(tmp_path / "again.gguf")
    done = CliRunner().invoke(app, [str(folder.write()), "-o", target, "--type", "f16"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["--requantize", target, "-o", again])
    assert done.exit_code == 0, done.output
    assert read_keys(Path(again))["general.file_type"] == 15


def test_the_command_line_refuses_in_one_line(folder: Folder, tmp_path: Path) -> None:
    del folder.tensors["llm.model.norm.weight"]
    folder.tensors["evil\nname"] = np.zeros(1, np.float32)
    command = [
        sys.executable,
        "-m",
        "minicpmo_convert",
        str(folder.write()),
        "-o",
        str(tmp_path / "out.gguf"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("minicpmo-convert: [checkpoint] expected the tensor llm.model.norm.weight")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["a", "--requantize", "b", "-o", "c"], ["a", "-o", "b", "--type", "q3"]]
)
def test_the_command_line_refuses_odd_arguments(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
