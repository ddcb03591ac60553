"""The speech side in numpy, frame by frame, from the tensors of a converted file: what their layout means."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Frames: TypeAlias = NDArray[np.float64]  # [n_time, n_feature]


class Part:
    """The tensors below a prefix and the keys below another."""

    def __init__(self, tensors: dict[str, Any], keys: dict[str, Any], prefix: str, section: str) -> None:
        self._tensors, self._keys = tensors, keys
        self._prefix, self._section = prefix, section

    def __getitem__(self, name: str) -> Frames:
        values: Frames = self._tensors[f"{self._prefix}{name}"].astype(np.float64)
        return values

    def has(self, name: str) -> bool:
        return f"{self._prefix}{name}" in self._tensors

    def key(self, name: str) -> Any:
        return self._keys[f"{self._section}{name}"]

    def linear(self, name: str, x: Frames) -> Frames:
        y = x @ self[f"{name}.weight"].T
        return y + self[f"{name}.bias"] if self.has(f"{name}.bias") else y

    def conv(
        self, name: str, x: Frames, left: int = 0, right: int = 0, stride: int = 1, dilation: int = 1
    ) -> Frames:
        """Taps are runs of the matrix's columns, from the oldest frame to the newest."""
        n_tap = self[f"{name}.weight"].shape[1] // x.shape[1]
        padded = np.pad(x, ((left, right), (0, 0)))
        n_out = (len(padded) - dilation * (n_tap - 1) - 1) // stride + 1
        columns = [padded[k * dilation :][: stride * (n_out - 1) + 1 : stride] for k in range(n_tap)]
        return self.linear(name, np.concatenate(columns, axis=1))

    def layer_norm(self, name: str, x: Frames, epsilon: float) -> Frames:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
        return x * self[f"{name}.weight"] + self[f"{name}.bias"]

    def norm_relu(self, name: str, x: Frames) -> Frames:
        return np.maximum(x * self[f"{name}.scale"] + self[f"{name}.shift"], 0)


def gelu(x: Frames) -> Frames:
    erf: Frames = np.vectorize(math.erf)(x / math.sqrt(2))
    return 0.5 * x * (1 + erf)


def softmax(x: Frames) -> Frames:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def rotate(x: Frames, base: float) -> Frames:
    """[n_time, n_head, d]; dimension i pairs with i + d / 2."""
    n_time, _, d = x.shape
    angle = np.arange(n_time)[:, None, None] * base ** (-np.arange(d // 2) * 2 / d)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1)


def tokenize_speech(s3: Part, mel: Frames) -> tuple[Frames, NDArray[np.int64]]:
    """(encoder output, codes) of a spectrum [n_time, n_mel]."""
    x = mel
    for name in ("conv1", "conv2"):
        x = gelu(s3.conv(name, x, 1, 1, stride=s3.key("conv_stride")))
    n_time, n_head = len(x), s3.key("attention.head_count")
    for i in range(s3.key("block_count")):
        block = f"blk.{i}"
        normed = s3.layer_norm(f"{block}.ln1", x, s3.key("attention_layer_norm_epsilon"))
        q, k, v = (s3.linear(f"{block}.attn_{part}", normed) for part in "qkv")
        heads = [y.reshape(n_time, n_head, -1) for y in (q, k, v)]
        q, k = (rotate(y, s3.key("rope.freq_base")) for y in heads[:2])
        weights = softmax(np.einsum("thd,shd->hts", q, k) / math.sqrt(q.shape[-1]))
        mixed = np.einsum("hts,shd->thd", weights, heads[2]).reshape(n_time, -1)
        taps = s3[f"{block}.attn_fsmn.weight"]
        around = np.pad(v, ((len(taps) // 2, len(taps) // 2), (0, 0)))
        memory = v + sum(around[k : k + n_time] * taps[k] for k in range(len(taps)))
        x = x + s3.linear(f"{block}.attn_out", mixed) + memory
        normed = s3.layer_norm(f"{block}.ln2", x, s3.key("ffn_layer_norm_epsilon"))
        x = x + s3.linear(f"{block}.ffn_down", gelu(s3.linear(f"{block}.ffn_up", normed)))
    digits = np.round(np.tanh(s3.linear("quant", x))) + 1
    codes = (digits @ s3.key("code_levels") ** np.arange(s3.key("code_dimensions"))).astype(np.int64)
    return x, codes


def find_condition(tts: Part, ids: NDArray[np.int64], hidden: Frames) -> Frames:
    """Rows that the language model of codes continues, from text and what the big one made of it."""
    p = tts.linear("projector.linear2", np.maximum(tts.linear("projector.linear1", hidden), 0))
    if tts.key("normalize_projected_hidden"):
        p = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    return tts["emb_text.weight"][ids] + p


def predict_codes(tts: Part, x: Frames) -> Frames:
    """Logits after each row."""
    n_time, epsilon = len(x), tts.key("attention.layer_norm_rms_epsilon")

    def norm(name: str, x: Frames) -> Frames:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * tts[f"{name}.weight"]

    future = np.triu(np.full((n_time, n_time), -np.inf), 1)
    n_share = tts.key("attention.head_count") // tts.key("attention.head_count_kv")
    for i in range(tts.key("block_count")):
        block = f"blk.{i}"
        y = norm(f"{block}.attn_norm", x)
        q, k, v = (
            tts.linear(f"{block}.attn_{part}", y).reshape(n_time, -1, tts.key("attention.key_length"))
            for part in "qkv"
        )
        q, k = (rotate(z, tts.key("rope.freq_base")) for z in (q, k))
        k, v = np.repeat(k, n_share, axis=1), np.repeat(v, n_share, axis=1)
        weights = softmax(np.einsum("thd,shd->hts", q, k) / math.sqrt(q.shape[-1]) + future)
        x = x + tts.linear(f"{block}.attn_output", np.einsum("hts,shd->thd", weights, v).reshape(n_time, -1))
        y = norm(f"{block}.ffn_norm", x)
        y = silu(tts.linear(f"{block}.ffn_gate", y)) * tts.linear(f"{block}.ffn_up", y)
        x = x + tts.linear(f"{block}.ffn_down", y)
    return tts.linear("head_code", norm("output_norm", x))


def image_conv(spk: Part, name: str, x: Frames, stride: int = 1) -> Frames:
    """[n_time, n_frequency, n_channel]; a column holds time taps of frequency taps of channels."""
    n_channel = x.shape[2]
    weight = spk[f"{name}.weight"]
    n_tap = math.isqrt(weight.shape[1] // n_channel)
    pad = n_tap // 2
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    n_time, n_freq = x.shape[0], (x.shape[1] - 1) // stride + 1
    columns = [
        padded[kt : kt + n_time, kf : kf + stride * (n_freq - 1) + 1 : stride]
        for kt in range(n_tap)
        for kf in range(n_tap)
    ]
    return np.concatenate(columns, axis=2) @ weight.T + spk[f"{name}.bias"]


def encode_speaker(spk: Part, features: Frames) -> Frames:
    """The vector of a voice, from features [n_time, n_mel] without their mean."""
    x = np.maximum(image_conv(spk, "head.conv_in", features[:, :, None]), 0)
    for i, stride in enumerate(spk.key("head.strides")):
        name = f"head.blk.{i}"
        y = np.maximum(image_conv(spk, f"{name}.conv1", x, stride), 0)
        y = image_conv(spk, f"{name}.conv2", y)
        x = np.maximum(y + (image_conv(spk, f"{name}.shortcut", x, stride) if stride > 1 else x), 0)
    x = np.maximum(image_conv(spk, "head.conv_out", x, 2), 0)
    x = x.reshape(len(x), -1)
    x = np.maximum(spk.conv("tdnn", x, 2, 2, stride=spk.key("tdnn.stride")), 0)
    n_segment, shape = (
        spk.key("segment_length"),
        zip(spk.key("block_layers"), spk.key("block_dilations"), strict=True),
    )
    for b, (n_layer, dilation) in enumerate(shape):
        for i in range(n_layer):
            name = f"block.{b}.layer.{i}"
            y = np.maximum(spk.linear(f"{name}.bottleneck", spk.norm_relu(f"{name}.norm", x)), 0)
            local = spk.conv(f"{name}.local", y, dilation, dilation, dilation=dilation)
            parts = [y[t : t + n_segment] for t in range(0, len(y), n_segment)]
            means = [np.repeat(part.mean(0, keepdims=True), len(part), 0) for part in parts]
            context = y.mean(0) + np.concatenate(means)
            gate = spk.linear(f"{name}.gate2", np.maximum(spk.linear(f"{name}.gate1", context), 0))
            x = np.concatenate([x, local / (1 + np.exp(-gate))], axis=1)
        x = spk.linear(f"transit.{b}", spk.norm_relu(f"transit.{b}.norm", x))
    x = np.maximum(x, 0)
    return spk.linear("dense", np.concatenate([x.mean(0), x.std(0, ddof=1)]))


def interleave(x: Frames, rate: int) -> Frames:
    """[n_time, rate * n] -> [rate * n_time, n]: as the values lie."""
    return x.reshape(len(x) * rate, -1)


def silu(x: Frames) -> Frames:
    return x / (1 + np.exp(-x))


def conform(enc: Part, block: str, x: Frames) -> Frames:
    """A layer of the conformer: attention with relative positions, then a feed-forward part."""
    epsilon, n_time = enc.key("block_layer_norm_epsilon"), len(x)
    normed = enc.layer_norm(f"{block}.ln1", x, epsilon)
    n_head = enc.key("attention.head_count")
    q, k, v = (enc.linear(f"{block}.attn_{part}", normed).reshape(n_time, n_head, -1) for part in "qkv")
    distance = np.arange(n_time - 1, -n_time, -1.0)
    angle = distance[:, None] * 10000 ** (-np.arange(0, x.shape[1], 2) / x.shape[1])
    sinusoid = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(len(distance), -1)
    places = (sinusoid @ enc[f"{block}.attn_pos.weight"].T).reshape(len(distance), n_head, -1)
    content = np.einsum("ihd,jhd->hij", q + enc[f"{block}.attn_pos_bias_u"], k)
    place = np.einsum("ihd,rhd->hir", q + enc[f"{block}.attn_pos_bias_v"], places)
    i, j = np.arange(n_time)[:, None], np.arange(n_time)[None]
    content += place[:, i, n_time - 1 - (i - j)]
    mixed = np.einsum("hij,jhd->ihd", softmax(content / math.sqrt(q.shape[-1])), v).reshape(n_time, -1)
    x = x + enc.linear(f"{block}.attn_out", mixed)
    y = silu(enc.linear(f"{block}.ffn_up", enc.layer_norm(f"{block}.ln2", x, epsilon)))
    return x + enc.linear(f"{block}.ffn_down", y)


def encode_codes(t2w: Part, enc: Part, codes: NDArray[np.int64]) -> tuple[Frames, Frames]:
    """(encoder output, spectrum it suggests) of a whole sequence of codes."""
    epsilon = enc.key("layer_norm_epsilon")

    def embed(name: str, x: Frames) -> Frames:
        y = enc.layer_norm(f"{name}_norm", enc.linear(name, x), epsilon)
        return y * math.sqrt(y.shape[1])

    x = embed("embd", t2w["input_embd.weight"][codes])
    y = enc.conv("lookahead1", x, 0, t2w.key("pre_lookahead"))
    y = np.where(y > 0, y, enc.key("lookahead_slope") * y)
    x = x + enc.conv("lookahead2", y, enc.key("lookahead_kernel") - 1)
    for i in range(enc.key("block_count")):
        x = conform(enc, f"blk.{i}", x)
    x = enc.conv("up_conv", x, enc.key("up_conv.left"), enc.key("up_conv.right"))
    x = embed("up_embd", interleave(x, t2w.key("up_rate")))
    for i in range(enc.key("up_block_count")):
        x = conform(enc, f"up_blk.{i}", x)
    x = enc.layer_norm("output_norm", x, epsilon)
    return x, t2w.linear("enc_proj", x)


def plain_norm(x: Frames, epsilon: float) -> Frames:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def find_velocity(dit: Part, x: Frames, time: float) -> Frames:
    """One pass of the diffusion transformer; x holds spectrum, suggestion, speaker and condition."""
    frequency = 10000 ** (-np.arange(dit.key("time_length") // 2) / (dit.key("time_length") // 2))
    angle = dit.key("time_scale") * time * frequency
    c = dit.linear("time1", np.concatenate([np.cos(angle), np.sin(angle)]))
    c = silu(dit.linear("time2", silu(c)))
    x = dit.linear("in", x)
    epsilon, n_left = dit.key("layer_norm_epsilon"), dit.key("conv_kernel") - 1
    for i in range(dit.key("block_count")):
        block = f"blk.{i}"
        parts = np.split(dit.linear(f"{block}.adaln", c), 9)
        (shift, scale, gate), mlp, conv = parts[:3], parts[3:6], parts[6:]
        y = plain_norm(x, epsilon) * (1 + scale) + shift
        q, k, v = (
            dit.linear(f"{block}.attn_{part}", y).reshape(len(x), dit.key("attention.head_count"), -1)
            for part in "qkv"
        )
        q, k = (
            dit.layer_norm(f"{block}.attn_{n}_norm", z, dit.key("qk_norm_epsilon"))
            for n, z in (("q", q), ("k", k))
        )
        weights = softmax(np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1]))
        mixed = np.einsum("hij,jhd->ihd", weights, v).reshape(len(x), -1)
        x = x + gate * dit.linear(f"{block}.attn_out", mixed)
        shift, scale, gate = conv
        y = dit.conv(f"{block}.conv1", plain_norm(x, epsilon) * (1 + scale) + shift, n_left)
        y = dit.layer_norm(f"{block}.conv_norm", y, dit.key("conv_norm_epsilon"))
        x = x + gate * dit.conv(f"{block}.conv2", y * np.tanh(np.log1p(np.exp(y))), n_left)
        shift, scale, gate = mlp
        y = dit.linear(f"{block}.ffn_up", plain_norm(x, epsilon) * (1 + scale) + shift)
        y = 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        x = x + gate * dit.linear(f"{block}.ffn_down", y)
    shift, scale = np.split(dit.linear("final_adaln", c), 2)
    return dit.linear("out", plain_norm(x, epsilon) * (1 + scale) + shift)


def find_pitch(hift: Part, mel: Frames) -> Frames:
    x = mel
    for i, kernel in enumerate(hift.key("f0.kernels")):
        right = hift.key("f0.look_right") if i == 0 or not hift.key("causal") else 0
        x = hift.conv(f"f0.conv.{i}", x, kernel - 1 - right, right)
        x = np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)
    return np.abs(hift.linear("f0.out", x))[:, 0]


def make_causal_source(hift: Part, pitch: Frames) -> Frames:
    """Without noise: the phase stands still within a frame."""
    n, rate = hift.key("frame_length"), hift.key("sample_rate")
    harmonics = pitch[:, None] * np.arange(1, hift.key("harmonics") + 1)
    phase = 2 * np.pi * n * np.cumsum(harmonics / rate % 1, axis=0)
    voiced = pitch[:, None] > hift.key("voiced_threshold")
    sines = np.repeat(hift.key("sine_amplitude") * np.sin(phase) * voiced, n, axis=0)
    return np.tanh(hift.linear("source", sines))[:, 0]


def vocode(hift: Part, mel: Frames, source: Frames) -> Frames:
    """A whole spectrum with its source, as one wave."""
    n_fft, hop, causal = hift.key("n_fft"), hift.key("hop_length"), hift.key("causal")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(source, n_fft // 2, mode="reflect")
    n_frame = len(source) // hop + 1
    spectrum = np.fft.rfft([padded[t * hop : t * hop + n_fft] * window for t in range(n_frame)])
    bins = np.concatenate([spectrum.real, spectrum.imag], axis=1)

    def sides(kernel: int, dilation: int = 1) -> tuple[int, int]:
        reach = (kernel - 1) * dilation
        return (reach, 0) if causal else (reach // 2, reach // 2)

    def resblock(name: str, x: Frames, kernel: int, dilations: list[int]) -> Frames:
        for j, dilation in enumerate(dilations):
            y = snake(x, hift[f"{name}.snake1.{j}.alpha"])
            y = hift.conv(f"{name}.conv1.{j}", y, *sides(kernel, dilation), dilation=dilation)
            y = snake(y, hift[f"{name}.snake2.{j}.alpha"])
            x = x + hift.conv(f"{name}.conv2.{j}", y, *sides(kernel))
        return x

    right = hift.key("look_right")
    x = hift.conv("conv_pre", mel, hift.key("conv_pre_kernel") - 1 - right, right)
    kernels, n_stage = hift.key("resblock_kernels"), len(hift.key("channels"))
    for i, rate in enumerate(hift.key("upsample_rates")):
        x = leaky(x, hift.key("slope"))
        x = interleave(
            hift.conv(f"up.{i}", x, hift.key("upsample_left")[i], hift.key("upsample_right")[i]), rate
        )
        if i == n_stage - 1:
            x = np.concatenate([x[1:2], x])
        left = hift.key("source_down_left")[i]
        stride = hift.key("source_down_strides")[i]
        s = hift.conv(f"source_down.{i}", bins, left, 0 if causal else left, stride=stride)
        dilations = hift.key("source_resblock_dilations")[3 * i : 3 * i + 3]
        x = x + resblock(f"source_res.{i}", s, hift.key("source_resblock_kernels")[i], dilations)
        x = sum(
            resblock(
                f"res.{i * len(kernels) + j}", x, kernel, hift.key("resblock_dilations")[3 * j : 3 * j + 3]
            )
            for j, kernel in enumerate(kernels)
        ) / len(kernels)
    x = hift.conv("conv_post", leaky(x, hift.key("final_slope")), *sides(hift.key("conv_post_kernel")))
    half = n_fft // 2 + 1
    magnitude, angle = np.minimum(np.exp(x[:, :half]), 100), np.sin(x[:, half:])
    frames = np.fft.irfft(magnitude * np.exp(1j * angle), n_fft) * window
    wave, weight = np.zeros(len(padded)), np.zeros(len(padded))
    for t, frame in enumerate(frames):
        wave[t * hop : t * hop + n_fft] += frame
        weight[t * hop : t * hop + n_fft] += window**2
    inner = slice(n_fft // 2, -(n_fft // 2))
    return np.clip(wave[inner] / weight[inner], -hift.key("audio_limit"), hift.key("audio_limit"))


def snake(x: Frames, alpha: Frames) -> Frames:
    return x + np.sin(alpha * x) ** 2 / (alpha + 1e-9)


def leaky(x: Frames, slope: float) -> Frames:
    return np.where(x > 0, x, slope * x)
