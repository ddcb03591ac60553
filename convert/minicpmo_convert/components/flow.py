"""The flow: speech codes to a spectrum, an upsampling conformer encoder and a diffusion transformer."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from minicpmo_convert import names, speech_names
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.folding import computed, exact, fold_repeated, repeated_reach
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_file import TorchFile
from minicpmo_convert.yaml_facts import agree, section

FILE, CONFIG = "flow.pt", "flow.yaml"
UP_RATE = 2  # spectrum frames of a code
SAMPLE_RATE, HOP = 24000, 480
_BLOCK = re.compile(r"(encoder\.encoders|encoder\.up_encoders|decoder\.estimator\.blocks)\.([0-9]{1,4})\.")
_DIT = "decoder.estimator"


class Flow:
    """The sizes are those of the tensors; what the configuration states must agree with them."""

    def __init__(self, file: TorchFile, config: Facts) -> None:
        self._file = file
        n_code, n_input = _shape(file, "input_embedding.weight", 2)
        n_mel, n_speaker = _shape(file, "spk_embed_affine_layer.weight", 2)
        n_head, d_head = _shape(file, "encoder.encoders.0.self_attn.pos_bias_u", 2)
        base = {"n_mel": n_mel, "n_embd": n_head * d_head}
        self.encoder = base | {
            **{"n_code": n_code, "n_input": n_input, "n_speaker": n_speaker},
            **{"n_head": n_head, "d_head": d_head},
            "n_ff": _shape(file, "encoder.encoders.0.feed_forward.w_1.weight", 2)[0],
            "n_tap_ahead": _shape(file, "encoder.pre_lookahead_layer.conv1.weight", 3)[2],
            "n_tap_behind": _shape(file, "encoder.pre_lookahead_layer.conv2.weight", 3)[2],
            "n_tap_up": _shape(file, "encoder.up_layer.conv.weight", 3)[2],
            "n_layer": _count(file.names(), "encoder.encoders"),
            "n_up_layer": _count(file.names(), "encoder.up_encoders"),
        }
        n_embd, n_in = _shape(file, f"{_DIT}.in_proj.weight", 2)
        d_head = _shape(file, f"{_DIT}.blocks.0.attn.q_norm.weight", 1)[0]
        n_inner = _shape(file, f"{_DIT}.blocks.0.attn.to_q.weight", 2)[0]
        good = n_inner % d_head == 0 and n_in == 4 * n_mel
        check(good, f"[flow] expected heads of {d_head} and {n_mel} bands, got {n_inner} and {n_in} ({FILE})")
        self.dit = {
            **{"n_mel": n_mel, "n_embd": n_embd, "n_in": n_in, "n_inner": n_inner, "d_head": d_head},
            **{"n_head": n_inner // d_head, "n_modulation": 9 * n_embd, "n_final": 2 * n_embd},
            "n_ff": _shape(file, f"{_DIT}.blocks.0.mlp.fc1.weight", 2)[0],
            "n_time": _shape(file, f"{_DIT}.t_embedder.mlp.0.weight", 2)[1],
            "n_tap": _shape(file, f"{_DIT}.blocks.0.conv.block.1.weight", 3)[2],
            "n_layer": _count(file.names(), f"{_DIT}.blocks"),
        }
        check(self.dit["n_time"] % 2 == 0, f"[flow] expected pairs of cosines and sines ({FILE})")
        self._check(config)

    def _check(self, config: Facts) -> None:
        flow = section(config, "flow")
        encoder, decoder = section(flow, "encoder"), section(flow, "decoder")
        sizes, dit = self.encoder, self.dit
        agree(flow, {"vocab_size": sizes["n_code"], "input_size": sizes["n_input"]})
        agree(flow, {"output_size": sizes["n_mel"], "spk_embed_dim": sizes["n_speaker"]})
        agree(encoder, {"input_size": sizes["n_input"], "output_size": sizes["n_embd"]})
        agree(encoder, {"num_blocks": sizes["n_layer"], "num_up_blocks": sizes["n_up_layer"]})
        agree(encoder, {"attention_heads": sizes["n_head"], "linear_units": sizes["n_ff"]})
        agree(encoder, {"pre_lookahead_len": sizes["n_tap_ahead"] - 1, "up_stride": UP_RATE})
        agree(encoder, {"up_scale_factor": UP_RATE, "key_bias": True, "normalize_before": True})
        agree(encoder, {"input_layer": "linear", "pos_enc_layer_type": "rel_pos_espnet"})
        agree(encoder, {"selfattention_layer_type": "rel_selfattn"})
        estimator = section(decoder, "estimator")
        agree(estimator, {"in_channels": dit["n_in"], "out_channels": dit["n_mel"], "depth": dit["n_layer"]})
        agree(estimator, {"num_heads": dit["n_head"], "head_dim": dit["d_head"]})
        agree(estimator, {"hidden_size": dit["n_embd"], "mlp_ratio": dit["n_ff"] / dit["n_embd"]})
        self._cfg_rate = decoder.number("inference_cfg_rate", 0.7, high=100.0)

    def stored(self) -> list[Tensor]:
        """All tensors as the file has them."""
        return [self._file.take(name, self._file.shape(name)) for name in self._file.names()]

    def take_tensors(self) -> list[Tensor]:
        sizes, file = self.encoder, self._file
        tensors = names.take_all(speech_names.FLOW, file, sizes)
        tensors += names.take_all(speech_names.FLOW_BLOCKS, file, sizes, sizes["n_layer"])
        tensors += self._take_upsampling()
        tensors += names.take_all(speech_names.FLOW_UP_BLOCKS, file, sizes, sizes["n_up_layer"])
        tensors += names.take_all(speech_names.DIT, file, self.dit, self.dit["n_layer"])
        left = file.left()
        check(not left, f"[flow] expected only tensors of the flow, got {left[:1]} ({FILE})")
        return tensors

    def _take_upsampling(self) -> list[Tensor]:
        n_embd, n_tap = self.encoder["n_embd"], self.encoder["n_tap_up"]
        weight = self._file.take("encoder.up_layer.conv.weight", (n_embd, n_embd, n_tap))
        bias = self._file.take("encoder.up_layer.conv.bias", (n_embd,))
        shape = (UP_RATE * n_embd, (repeated_reach(n_tap, UP_RATE) + 1) * n_embd)
        return [
            computed("t2w.enc.up_conv.weight", shape, lambda: fold_repeated(exact(weight), UP_RATE)),
            computed("t2w.enc.up_conv.bias", shape[:1], lambda: np.tile(exact(bias), UP_RATE)),
        ]

    def write_keys(self, keys: Metadata, tts: Facts) -> None:
        """`tts` states how streams are cut into chunks."""
        sizes = self.encoder
        keys.u32("minicpmo.t2w.vocab_size", sizes["n_code"])
        keys.u32("minicpmo.t2w.speaker_length", sizes["n_speaker"])
        keys.u32("minicpmo.t2w.n_mel", sizes["n_mel"])
        keys.u32("minicpmo.t2w.token_rate", SAMPLE_RATE // HOP // UP_RATE)
        keys.u32("minicpmo.t2w.up_rate", UP_RATE)
        n_ahead = sizes["n_tap_ahead"] - 1
        agree(tts, {"s3_stream_prelook_size": n_ahead})
        keys.u32("minicpmo.t2w.pre_lookahead", n_ahead)
        keys.u32("minicpmo.t2w.chunk_tokens", tts.integer("s3_stream_chunk_size", 25, high=1000))
        silence = 4218
        check(silence < sizes["n_code"], f"[flow] expected the code {silence}, got {sizes['n_code']} codes")
        keys.u32("minicpmo.t2w.silence_token", silence)
        keys.u32("minicpmo.t2w.n_timesteps", tts.integer("s3_stream_n_timesteps", 10, high=1000))
        keys.f32("minicpmo.t2w.cfg_rate", self._cfg_rate)
        keys.f32("minicpmo.t2w.temperature", 1.0)
        keys.u32("minicpmo.t2w.sample_rate", SAMPLE_RATE)
        keys.u32("minicpmo.t2w.mel.n_fft", 1920)
        keys.u32("minicpmo.t2w.mel.win_length", 1920)
        keys.u32("minicpmo.t2w.mel.hop_length", HOP)
        keys.f32("minicpmo.t2w.mel.f_min", 0.0)
        keys.f32("minicpmo.t2w.mel.f_max", 8000.0)
        self._write_encoder_keys(keys)
        self._write_dit_keys(keys)

    def _write_encoder_keys(self, keys: Metadata) -> None:
        sizes, prefix = self.encoder, "minicpmo.t2w.enc."
        keys.u32(prefix + "block_count", sizes["n_layer"])
        keys.u32(prefix + "up_block_count", sizes["n_up_layer"])
        keys.u32(prefix + "input_length", sizes["n_input"])
        keys.u32(prefix + "embedding_length", sizes["n_embd"])
        keys.u32(prefix + "feed_forward_length", sizes["n_ff"])
        keys.u32(prefix + "attention.head_count", sizes["n_head"])
        keys.u32(prefix + "lookahead_kernel", sizes["n_tap_behind"])
        keys.u32(prefix + "up_conv.left", repeated_reach(sizes["n_tap_up"], UP_RATE))
        keys.u32(prefix + "up_conv.right", 0)
        keys.f32(prefix + "layer_norm_epsilon", 1e-5)
        keys.f32(prefix + "block_layer_norm_epsilon", 1e-12)
        keys.f32(prefix + "lookahead_slope", 0.01)

    def _write_dit_keys(self, keys: Metadata) -> None:
        sizes, prefix = self.dit, "minicpmo.t2w.dit."
        keys.u32(prefix + "block_count", sizes["n_layer"])
        keys.u32(prefix + "embedding_length", sizes["n_embd"])
        keys.u32(prefix + "feed_forward_length", sizes["n_ff"])
        keys.u32(prefix + "attention.head_count", sizes["n_head"])
        keys.u32(prefix + "attention.key_length", sizes["d_head"])
        keys.u32(prefix + "time_length", sizes["n_time"])
        keys.u32(prefix + "conv_kernel", sizes["n_tap"])
        keys.f32(prefix + "layer_norm_epsilon", 1e-6)
        keys.f32(prefix + "qk_norm_epsilon", 1e-5)
        keys.f32(prefix + "conv_norm_epsilon", 1e-5)
        keys.f32(prefix + "time_scale", 1000.0)


def _shape(file: TorchFile, name: str, n_dim: int) -> tuple[int, ...]:
    shape = file.shape(name)
    good = len(shape) == n_dim and min(shape, default=0) >= 1
    check(good, f"[flow] expected {n_dim} dimensions, got {[*shape]} ({name}, {file.path.name})")
    return shape


def _count(stored: Iterable[str], prefix: str) -> int:
    numbers = [int(m[2]) for m in map(_BLOCK.match, stored) if m is not None and m[1] == prefix]
    return 1 + max(numbers, default=-1)
