"""A minimal checkpoint made with numpy, the golden ones, and readers written apart from the converter's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGUFReader
from numpy.typing import NDArray
from safetensors_file import read_safetensors, write_safetensors

GOLDEN = Path(os.environ.get("MINICPMO_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden data: set MINICPMO_GOLDEN")
both = pytest.mark.parametrize("name", ["tiny-a", "tiny-b"])

ROLES = {
    **{"unk": "<unk>", "endoftext": "<|endoftext|>", "im_start": "<|im_start|>", "im_end": "<|im_end|>"},
    **{"image_start": "<image>", "image_end": "</image>", "slice_start": "<slice>", "slice_end": "</slice>"},
    **{"image_id_start": "<image_id>", "image_id_end": "</image_id>", "unit_start": "<unit>"},
    **{"unit_end": "</unit>", "audio_start": "<|audio_start|>", "audio": "<|audio|>"},
    **{"audio_end": "<|audio_end|>", "spk_bos": "<|spk_bos|>", "spk": "<|spk|>", "spk_eos": "<|spk_eos|>"},
    **{"tts_bos": "<|tts_bos|>", "tts_eos": "<|tts_eos|>", "tts_pad": "<|tts_pad|>", "listen": "<|listen|>"},
    **{"speak": "<|speak|>", "interrupt": "<|interrupt|>", "turn_bos": "<|turn_bos|>"},
    **{"turn_eos": "<|turn_eos|>", "chunk_bos": "<|chunk_bos|>", "chunk_eos": "<|chunk_eos|>"},
    **{"chunk_tts_bos": "<|chunk_tts_bos|>", "chunk_tts_eos": "<|chunk_tts_eos|>"},
    **{"think_start": "<think>", "think_end": "</think>"},
}


AUDIO = ("apm.", "audio_projection_layer.")
SPEECH = ("tts.", "t2w.", "s3.", "spk.")  # in GGUF


def make_tensors(n_vision: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    d, kv, head, ff, vocab, v, vff, a, aff, mel = 128, 64, 64, 256, 320, 36, 64, 20, 64, 6
    shapes: dict[str, tuple[int, ...]] = {"llm.model.embed_tokens.weight": (vocab, d)}
    for i in range(2):
        p = f"llm.model.layers.{i}."
        shapes |= {f"{p}{n}_layernorm.weight": (d,) for n in ("input", "post_attention")}
        shapes |= {f"{p}self_attn.q_proj.weight": (2 * head, d), f"{p}self_attn.o_proj.weight": (d, 2 * head)}
        shapes |= {f"{p}self_attn.{n}_proj.weight": (kv, d) for n in "kv"}
        shapes |= {f"{p}self_attn.{n}_norm.weight": (head,) for n in "qk"}
        shapes |= {f"{p}mlp.{n}_proj.weight": (ff, d) for n in ("gate", "up")}
        shapes |= {f"{p}mlp.down_proj.weight": (d, ff)}
    shapes |= {"llm.model.norm.weight": (d,), "llm.lm_head.weight": (vocab, d)}
    shapes |= {
        "vpm.embeddings.patch_embedding.weight": (v, 3, 14, 14),
        "vpm.embeddings.patch_embedding.bias": (v,),
    }
    shapes |= {"vpm.embeddings.position_embedding.weight": (4, v)}
    for i in range(n_vision):
        p = f"vpm.encoder.layers.{i}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{p}self_attn.{part}.weight": (v, v), f"{p}self_attn.{part}.bias": (v,)}
        shapes |= {f"{p}mlp.fc1.weight": (vff, v), f"{p}mlp.fc1.bias": (vff,)}
        shapes |= {f"{p}mlp.fc2.weight": (v, vff), f"{p}mlp.fc2.bias": (v,)}
        shapes |= {f"{p}layer_norm{n}.{kind}": (v,) for n in (1, 2) for kind in ("weight", "bias")}
    shapes |= {f"vpm.post_layernorm.{kind}": (v,) for kind in ("weight", "bias")}
    shapes |= {"resampler.query": (8, d), "resampler.kv_proj.weight": (d, v), "resampler.proj": (d, d)}
    shapes |= {"resampler.attn.in_proj_weight": (3 * d, d), "resampler.attn.in_proj_bias": (3 * d,)}
    shapes |= {"resampler.attn.out_proj.weight": (d, d), "resampler.attn.out_proj.bias": (d,)}
    shapes |= {f"resampler.ln_{n}.{kind}": (d,) for n in ("q", "kv", "post") for kind in ("weight", "bias")}
    shapes |= {"apm.conv1.weight": (a, mel, 3), "apm.conv1.bias": (a,)}
    shapes |= {"apm.conv2.weight": (a, a, 3), "apm.conv2.bias": (a,), "apm.embed_positions.weight": (12, a)}
    for i in range(2):
        p = f"apm.layers.{i}."
        shapes |= {f"{p}self_attn.{part}_proj.weight": (a, a) for part in ("q", "k", "v", "out")}
        shapes |= {f"{p}self_attn.{part}_proj.bias": (a,) for part in ("q", "v", "out")}
        shapes |= {f"{p}fc1.weight": (aff, a), f"{p}fc1.bias": (aff,)}
        shapes |= {f"{p}fc2.weight": (a, aff), f"{p}fc2.bias": (a,)}
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{p}{norm}.{kind}": (a,) for kind in ("weight", "bias")}
    shapes |= {f"apm.layer_norm.{kind}": (a,) for kind in ("weight", "bias")}
    p = "audio_projection_layer.linear"
    shapes |= {f"{p}1.weight": (d, a), f"{p}1.bias": (d,), f"{p}2.weight": (d, d), f"{p}2.bias": (d,)}
    return {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


CONFIG: dict[str, Any] = {
    **{"model_type": "minicpmo", "version": "4.5", "hidden_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "intermediate_size": 256},
    **{"vocab_size": 320, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 5e5},
    **{"query_num": 8, "tie_word_embeddings": False, "drop_vision_last_layer": False, "rope_scaling": None},
    "vision_config": {
        **{"hidden_size": 36, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"patch_size": 14, "image_size": 28, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
    },
    **{"audio_pool_step": 3, "audio_chunk_length": 0.5, "stream_input": True},
    "audio_config": {
        **{"d_model": 20, "encoder_ffn_dim": 64, "encoder_layers": 2, "encoder_attention_heads": 4},
        **{"num_mel_bins": 6, "max_source_positions": 12, "num_hidden_layers": 9},
        **{"activation_function": "gelu", "scale_embedding": False},
    },
}


class Folder:
    """A minimal checkpoint folder whose parts a test can change before writing it out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors = make_tensors(n_vision=2)
        self.config: dict[str, Any] = json.loads(json.dumps(CONFIG))
        self.preprocessor: dict[str, Any] = {
            "max_slice_nums": 5,
            "scale_resolution": 56,
            "use_image_id": True,
        }
        self.generation: dict[str, Any] = {"temperature": 0.6, "top_k": 20, "top_p": 0.95}
        letters = [chr(c) for c in range(33, 127)] + ["ab", "abc"]
        self.vocab = {token: i for i, token in enumerate([*letters, "<unk>"])}
        self.merges = ["a b", "ab c"]
        added = [token for token in ROLES.values() if token != "<unk>"]
        self.added = {token: 120 + i for i, token in enumerate(added)}
        self.settings: dict[str, Any] = {
            "added_tokens_decoder": {
                str(i): {"content": token, "special": token not in ("<think>", "</think>")}
                for token, i in {**self.added, "<unk>": self.vocab["<unk>"]}.items()
            },
            **{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
            **{"unk_token": {"content": "<unk>"}, "bad_token_ids": [3, 1], "chat_template": "{{ messages }}"},
        }

    def drop_audio(self) -> None:
        self.tensors = {name: t for name, t in self.tensors.items() if not name.startswith(AUDIO)}
        self.config["init_audio"] = False

    def write(self, shards: int = 1) -> Path:
        self.path.mkdir(exist_ok=True)
        for name, content in {
            "config.json": self.config,
            "preprocessor_config.json": self.preprocessor,
            "generation_config.json": self.generation,
            "vocab.json": self.vocab,
            "added_tokens.json": self.added,
            "tokenizer_config.json": self.settings,
        }.items():
            (self.path / name).write_text(json.dumps(content), encoding="utf-8")
        (self.path / "merges.txt").write_text(
            "#version: 0.2\n" + "\n".join(self.merges) + "\n", encoding="utf-8"
        )
        if shards == 1:
            write_safetensors(self.path / "model.safetensors", self.tensors)
            return self.path
        place = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(self.tensors)}
        for shard in set(place.values()):
            write_safetensors(self.path / shard, {n: t for n, t in self.tensors.items() if place[n] == shard})
        (self.path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
        return self.path


def golden_that_only_sees(name: str, target: Path) -> Path:
    """A copy of a golden checkpoint that cannot hear or speak."""
    source = GOLDEN / name / "checkpoint"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", "assets"))
    tensors = read_safetensors(source / "model.safetensors")
    kept = {name: values for name, values in tensors.items() if not name.startswith((*AUDIO, "tts."))}
    write_safetensors(target / "model.safetensors", kept)
    return target


def read_keys(path: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


def read_types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name.lower() for tensor in GGUFReader(path).tensors}


def read_values(path: Path) -> dict[str, NDArray[np.float32]]:
    """By the gguf package's own dequantization, in the order of a torch shape."""
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}


def expected_values(source: dict[str, NDArray[np.float32]], n_vision: int) -> dict[str, NDArray[np.float32]]:
    """GGUF name -> values, spelled out apart from the converter's name book."""
    llm = {
        **{
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "ffn_norm",
            "self_attn.q_proj": "attn_q",
        },
        **{"self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output"},
        **{"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate"},
        **{"mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"},
    }
    vision = {
        **{
            "layer_norm1": "ln1",
            "layer_norm2": "ln2",
            "self_attn.q_proj": "attn_q",
            "self_attn.k_proj": "attn_k",
        },
        **{
            "self_attn.v_proj": "attn_v",
            "self_attn.out_proj": "attn_out",
            "mlp.fc1": "ffn_up",
            "mlp.fc2": "ffn_down",
        },
    }
    audio = {
        **{"self_attn_layer_norm": "ln1", "final_layer_norm": "ln2", "fc1": "ffn_up", "fc2": "ffn_down"},
        **{f"self_attn.{part}_proj": f"attn_{part}" for part in ("q", "k", "v", "out")},
    }
    single = {
        "llm.model.embed_tokens": "token_embd",
        "llm.model.norm": "output_norm",
        "llm.lm_head": "output",
        "vpm.embeddings.patch_embedding": "v.patch_embd",
        "vpm.embeddings.position_embedding": "v.position_embd",
        "vpm.post_layernorm": "v.post_ln",
        "resampler.kv_proj": "resampler.kv",
        "resampler.attn.out_proj": "resampler.attn.out",
        **{f"resampler.ln_{part}": f"resampler.ln_{part}" for part in ("q", "kv", "post")},
        "apm.embed_positions": "a.position_embd",
        "apm.layer_norm": "a.post_ln",
        **{f"audio_projection_layer.linear{n}": f"mm.a.linear{n}" for n in (1, 2)},
    }
    expected = {}
    for name, values in source.items():
        stem, _, leaf = name.rpartition(".")
        if stem in single:
            expected[f"{single[stem]}.{leaf}"] = values
        elif name.startswith("llm.model.layers."):
            layer, _, part = stem.removeprefix("llm.model.layers.").partition(".")
            expected[f"blk.{layer}.{llm[part]}.{leaf}"] = values
        elif name.startswith("vpm.encoder.layers."):
            layer, _, part = stem.removeprefix("vpm.encoder.layers.").partition(".")
            if int(layer) < n_vision:
                expected[f"v.blk.{layer}.{vision[part]}.{leaf}"] = values
        elif name.startswith("apm.layers."):
            layer, _, part = stem.removeprefix("apm.layers.").partition(".")
            expected[f"a.blk.{layer}.{audio[part]}.{leaf}"] = values
        elif name.startswith("apm.conv"):  # a matrix for each tap, side by side
            taps = [values[:, :, k] for k in range(3)] if leaf == "weight" else [values]
            expected[f"a.{name.removeprefix('apm.')}"] = np.concatenate(taps, axis=-1)
    for leaf in ("weight", "bias"):
        for part, values in zip("qkv", np.split(source[f"resampler.attn.in_proj_{leaf}"], 3), strict=True):
            expected[f"resampler.attn.{part}.{leaf}"] = values
    return {
        **expected,
        "resampler.query": source["resampler.query"],
        "resampler.proj.weight": source["resampler.proj"].T,
    }


def check_values_survive(source: Path, target: Path, n_vision: int) -> None:
    expected = expected_values(read_safetensors(source / "model.safetensors"), n_vision)
    got = read_values(target)
    assert {name for name in got if not name.startswith(SPEECH)} == expected.keys()
    for name, values in expected.items():
        assert got[name].shape == values.shape, name
        np.testing.assert_array_equal(got[name], values, err_msg=name)
