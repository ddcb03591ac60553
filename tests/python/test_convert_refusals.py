"""What the converter refuses: incomplete, odd and hostile checkpoint folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_folder import (
    Folder,
    check_values_survive,
    read_keys,
    read_types,
)
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.recipe import RECIPES

TYPES = list(RECIPES)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "checkpoint")


def refuse(folder: Folder, match: str, target: Path | None = None) -> None:
    target = target or folder.path.parent / "out.gguf"
    with pytest.raises(ConvertError, match=match):
        convert(folder.write(), target, "f32")
    assert sorted(p.name for p in target.parent.iterdir()) == [folder.path.name]


@pytest.mark.parametrize(
    "name",
    [
        "llm.model.norm.weight",
        "llm.lm_head.weight",
        "llm.model.layers.1.self_attn.k_norm.weight",
        "vpm.embeddings.position_embedding.weight",
        "vpm.encoder.layers.1.mlp.fc2.bias",
        "resampler.proj",
        "resampler.attn.in_proj_bias",
        "apm.conv1.weight",
        "apm.conv2.bias",
        "apm.embed_positions.weight",
        "apm.layers.1.self_attn.k_proj.weight",
        "apm.layers.0.final_layer_norm.bias",
        "audio_projection_layer.linear1.weight",
        "audio_projection_layer.linear2.bias",
    ],
)
def test_missing_and_misshapen_tensors_are_named(folder: Folder, name: str) -> None:
    values = folder.tensors.pop(name)
    refuse(folder, name.replace(".", r"\."))
    shutil.rmtree(folder.path)
    folder.tensors[name] = np.concatenate([values, values[:1]])
    refuse(folder, name.replace(".", r"\."))


def test_a_convolution_with_its_taps_elsewhere_is_refused(folder: Folder) -> None:
    folder.tensors["apm.conv1.weight"] = folder.tensors["apm.conv1.weight"].swapaxes(1, 2).copy()
    refuse(folder, r"shape \[20, 6, 3\], got \[20, 3, 6\] \(apm\.conv1\.weight, model\.safetensors\)")


def test_a_projector_of_another_width_is_refused(folder: Folder) -> None:
    name = "audio_projection_layer.linear1.weight"
    folder.tensors[name] = folder.tensors[name][:, :16].copy()
    refuse(folder, rf"shape \[128, 20\], got \[128, 16\] \({name}, model\.safetensors\)")


@pytest.mark.parametrize(
    "name",
    [
        "llm.model.layers.2.input_layernorm.weight",
        "vpm.encoder.layers.2.mlp.fc1.bias",
        "resampler.extra",
        "apm.layers.2.fc1.bias",
        "apm.layers.0.self_attn.k_proj.bias",
        "audio_projection_layer.extra",
        "other",
    ],
)
def test_surplus_tensors_are_named(folder: Folder, name: str) -> None:
    folder.tensors[name] = np.zeros(4, np.float32)
    refuse(folder, f"'{name}'")


def test_tables_that_the_runtime_computes_are_passed_over(folder: Folder, tmp_path: Path) -> None:
    folder.tensors["resampler.pos_embed"] = np.zeros((4, 128), np.float32)
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    assert "resampler.pos_embed" not in read_types(tmp_path / "out.gguf")


@pytest.mark.parametrize("drop", [True, None])
def test_the_last_vision_layer_is_dropped_unless_the_configuration_keeps_it(
    folder: Folder, drop: bool | None, tmp_path: Path
) -> None:
    folder.config["drop_vision_last_layer"] = drop
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    assert read_keys(tmp_path / "out.gguf")["minicpmo.vision.block_count"] == 1
    check_values_survive(folder.path, tmp_path / "out.gguf", n_vision=1)


def test_a_tied_head_is_not_stored(folder: Folder, tmp_path: Path) -> None:
    folder.config["tie_word_embeddings"] = True
    del folder.tensors["llm.lm_head.weight"]
    convert(folder.write(), tmp_path / "out.gguf", "q4_0")
    types = read_types(tmp_path / "out.gguf")
    assert "output.weight" not in types
    assert types["token_embd.weight"] == "q8_0"  # the head's q6_k on rows of 128


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "128"),
        ("hidden_size", 128.0),
        ("hidden_size", True),
        ("hidden_size", -1),
        ("hidden_size", 10**30),
        ("num_key_value_heads", 0),
        ("rope_theta", "1e6"),
        ("rope_theta", float("nan")),
        ("rms_norm_eps", 0),
        ("rope_scaling", {"rope_type": "yarn", "factor": 4.0}),
        ("hidden_act", "gelu"),
        ("use_sliding_window", True),
        ("attention_bias", True),
        ("scale_emb", 12),
        ("vision_config", []),
        ("vision_config", None),
        ("model_type", "minicpmv"),
        ("version", "2.6"),
        ("drop_vision_last_layer", "no"),
        ("query_num", 9),
        ("vocab_size", 140),
    ],
)
def test_a_configuration_out_of_range_is_refused(folder: Folder, key: str, value: Any) -> None:
    folder.config[key] = value
    refuse(folder, r"^\[(config|checkpoint|tokenizer)\] expected")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "gelu_new"),
        ("activation_function", 1),
        ("scale_embedding", True),
        ("scale_embedding", "no"),
        ("d_model", 0),
        ("d_model", "20"),
        ("encoder_attention_heads", 3),
        ("encoder_attention_heads", 5000),
        ("encoder_layers", -1),
        ("encoder_layers", 10**6),
        ("encoder_ffn_dim", 2.5),
        ("num_mel_bins", 202),
        ("max_source_positions", 1),
        ("max_source_positions", None),
    ],
)
def test_an_audio_configuration_out_of_range_is_named(folder: Folder, key: str, value: Any) -> None:
    folder.config["audio_config"][key] = value
    # The official default of 1500 positions is not what the checkpoint holds.
    named = r"apm\.embed_positions" if value is None else rf"config\.json: audio_config: {key}"
    refuse(folder, rf"expected .* got .*\({named}|expected 3 heads .*\({named}")


def test_an_absent_audio_configuration_is_named(folder: Folder) -> None:
    del folder.config["audio_config"]
    refuse(folder, r"\(config\.json: audio_config\)")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("audio_pool_step", 0),
        ("audio_pool_step", 13),
        ("audio_pool_step", 2.0),
        ("audio_chunk_length", 0),
        ("audio_chunk_length", -1.0),
        ("audio_chunk_length", float("nan")),
        ("audio_chunk_length", "1"),
        ("stream_input", 1),
    ],
)
def test_audio_settings_out_of_range_are_named(folder: Folder, key: str, value: Any) -> None:
    folder.config[key] = value
    refuse(folder, rf"\(config\.json: {key}\)")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("audio_pool_step", 5),
        ("feature_size", 80),
        ("sampling_rate", 24000),
        ("n_fft", 512),
        ("hop_length", 80),
        ("chunk_length", 60),
        ("padding_value", 1.0),
        ("dither", 0.1),
        ("dynamic_log_norm", False),
        ("dynamic_range_db", 6.0),
    ],
)
def test_spectrograms_of_another_kind_are_refused(folder: Folder, key: str, value: Any) -> None:
    folder.preprocessor[key] = value
    refuse(folder, rf"\(preprocessor_config\.json: {key}\)")
    shutil.rmtree(folder.path)
    folder.drop_audio()
    convert(folder.write(), folder.path.parent / "out.gguf", "f32")  # a file that cannot hear has none


def test_the_rope_base_of_newer_configurations_is_found(folder: Folder, tmp_path: Path) -> None:
    del folder.config["rope_theta"]
    folder.config["rope_parameters"] = {"rope_type": "default", "rope_theta": 2e6}
    convert(folder.write(), tmp_path / "out.gguf", "f32")
    assert read_keys(tmp_path / "out.gguf")["qwen3.rope.freq_base"] == 2e6


def test_tokenizer_files_that_disagree_are_refused(folder: Folder) -> None:
    folder.path.mkdir()
    fast = {"model": {"vocab": folder.vocab, "merges": [["a", "b"]]}, "added_tokens": []}
    (folder.path / "tokenizer.json").write_text(json.dumps(fast))
    refuse(folder, r"merges\.txt")


@pytest.mark.parametrize("merges", [["a b", ["ab", "c"]], [["a", "b"], "ab c"]])
def test_tokenizer_json_that_agrees_or_stands_alone_is_taken(
    folder: Folder, merges: Any, tmp_path: Path
) -> None:
    fast = {"model": {"vocab": folder.vocab, "merges": merges}, "added_tokens": []}
    convert(folder.write(), tmp_path / "plain.gguf", "f32")
    (folder.path / "tokenizer.json").write_text(json.dumps(fast))
    convert(folder.path, tmp_path / "both.gguf", "f32")
    (folder.path / "vocab.json").unlink()
    (folder.path / "merges.txt").unlink()
    convert(folder.path, tmp_path / "alone.gguf", "f32")
    plain = (tmp_path / "plain.gguf").read_bytes()
    assert plain == (tmp_path / "both.gguf").read_bytes() == (tmp_path / "alone.gguf").read_bytes()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.merges.append("a z"), "'a z'"),
        (lambda f: f.vocab.update({"new": 5}), "twice"),
        (lambda f: f.vocab.update({"new": -1}), "below vocab_size"),
        (lambda f: f.vocab.update({"new": "7"}), "below vocab_size"),
        (lambda f: f.added.update({"clash": 5}), "'clash'"),
        (lambda f: f.added.update({"<image>": 300}), "'<image>'"),
        (lambda f: f.added.update({"far": 320}), "'far'"),
        (lambda f: f.settings["added_tokens_decoder"].update({"x": {}}), "'x'"),
        (lambda f: f.settings.update(bad_token_ids=[320]), "bad_token_ids"),
        (lambda f: f.settings.update(chat_template=5), "chat_template"),
        (lambda f: f.settings.update(chat_template="\ud800"), "chat_template"),
        (lambda f: f.preprocessor.update(im_start="<picture>"), "'<picture>'"),
        (lambda f: f.preprocessor.update(norm_std=[0.5, 0.0, 0.5]), "norm_std"),
        (lambda f: f.preprocessor.update(image_feature_size=9), "image_feature_size"),
        (lambda f: f.preprocessor.update(patch_size=16), "patch_size"),
        (lambda f: f.generation.update(eos_token_id=[1, 320]), "eos_token_id"),
        (lambda f: f.generation.update(top_p=1.5), "top_p"),
    ],
)
def test_a_tokenizer_or_preprocessor_out_of_range_is_refused(folder: Folder, change: Any, match: str) -> None:
    change(folder)
    refuse(folder, match)


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json", "merges.txt"]
)
def test_a_missing_or_broken_file_is_named(folder: Folder, name: str, tmp_path: Path) -> None:
    path = folder.write() / name
    for content in (None, b"{", b"[" * 100000, b"\xff\xfe{}"):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ConvertError, match=name.replace(".", r"\.")):
            convert(folder.path, tmp_path / "out.gguf", "f32")


def entry(begin: int, end: int, shape: list[Any], dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE_HEADERS: dict[str, Any] = {
    "overlap": {"a": entry(0, 8, [2]), "b": entry(4, 12, [2])},
    "hole": {"a": entry(0, 4, [1]), "b": entry(8, 16, [2])},
    "beyond the end": {"a": entry(0, 32, [8])},
    "short of the end": {"a": entry(0, 8, [2])},
    "shape and range differ": {"a": entry(0, 16, [5])},
    "backwards": {"a": entry(16, 0, [4])},
    "negative": {"a": entry(-16, 0, [4])},
    "shape that overflows": {"a": entry(0, 16, [2**62, 2**62])},
    "huge offsets": {"a": entry(2**70, 2**70 + 16, [4])},
    "negative shape": {"a": entry(0, 16, [-2, -2])},
    "fractional shape": {"a": entry(0, 16, [4.0])},
    "shape of truths": {"a": entry(0, 16, [True, 4])},
    "many dimensions": {"a": entry(0, 16, [1] * 1000 + [4])},
    "unknown dtype": {"a": entry(0, 16, [4], "F33")},
    "dtype of another kind": {"a": entry(0, 16, [4], ["F32"])},
    "no offsets": {"a": {"dtype": "F32", "shape": [4]}},
    "entry of another kind": {"a": 7},
    "not an object": [1, 2],
    "repeated name": b'{"a": {"dtype":"F32","shape":[4],"data_offsets":[0,16]}, "a": 1}',
    "not JSON": b"{x",
    "deep": b"[" * 50000,
    "not UTF-8": b'{"\xff": 1}',
}


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_hostile_safetensors_headers_are_refused(folder: Folder, name: str, tmp_path: Path) -> None:
    header = HOSTILE_HEADERS[name]
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder.write() / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(ConvertError, match=r"^\[safetensors\] expected"):
        convert(folder.path, tmp_path / "out.gguf", "f32")


@pytest.mark.parametrize("length", [0, 1, 17, 2**31, 2**63, 2**64 - 1])
def test_hostile_header_lengths_are_refused(folder: Folder, length: int, tmp_path: Path) -> None:
    (folder.write() / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}" + bytes(14))
    with pytest.raises(ConvertError, match=r"^\[safetensors\] expected"):
        convert(folder.path, tmp_path / "out.gguf", "f32")


def test_cut_safetensors_files_are_refused(folder: Folder, tmp_path: Path) -> None:
    path = folder.write() / "model.safetensors"
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 100, 5000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ConvertError):
            convert(folder.path, tmp_path / "out.gguf", "f32")


def test_a_sharded_checkpoint_equals_the_single_one(folder: Folder, tmp_path: Path) -> None:
    convert(folder.write(), tmp_path / "single.gguf", "q5_k_m")
    shutil.rmtree(folder.path)
    convert(folder.write(shards=3), tmp_path / "sharded.gguf", "q5_k_m")
    assert (tmp_path / "single.gguf").read_bytes() == (tmp_path / "sharded.gguf").read_bytes()


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("llm.model.norm.weight", "../model-0.safetensors"),
        ("llm.model.norm.weight", "/etc/passwd"),
        ("llm.model.norm.weight", "model-9.safetensors"),
        ("llm.model.norm.weight", None),
        ("absent", "model-0.safetensors"),
    ],
)
def test_a_hostile_shard_index_is_refused(folder: Folder, name: str, shard: Any, tmp_path: Path) -> None:
    path = folder.write(shards=2) / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][name] = shard
    path.write_text(json.dumps(index))
    with pytest.raises(ConvertError, match=r"^\[checkpoint\] expected"):
        convert(folder.path, tmp_path / "out.gguf", "f32")
