"""The speech side of a checkpoint: its files, the layers rewritten, and what a converted file computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import speech_reference as reference
from checkpoint_folder import (
    GOLDEN,
    SPEECH,
    Folder,
    read_keys,
    read_safetensors,
    read_types,
    read_values,
    write_safetensors,
)
from minicpmo_convert.cli import app
from minicpmo_convert.components.speaker import Speaker
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.folding import (
    fold_repeated,
    fold_transposed,
    normed_weight,
    repeated_reach,
    transposed_reach,
)
from minicpmo_convert.onnx_file import OnnxFile
from minicpmo_convert.requantize import requantize
from minicpmo_convert.torch_file import TorchFile
from minicpmo_convert.yaml_facts import read_yaml
from numpy.typing import NDArray
from speech_files import (
    message,
    onnx_node,
    pickled_tensor,
    text,
    write_onnx,
    write_torch,
)
from speech_files import (
    name as global_name,
)
from speech_reference import Part
from typer.testing import CliRunner

Values = NDArray[np.float32]
ASSETS = Path("assets", "token2wav")


def draw(*shape: int, seed: int = 3) -> Values:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


# Layers rewritten


def slide(x: NDArray[np.float64], weight: NDArray[np.float64], left: int, right: int) -> NDArray[np.float64]:
    """A plain convolution with a flat weight over frames x [n_time, n_in]."""
    padded = np.pad(x, ((left, right), (0, 0)))
    columns = [padded[k : k + len(x)] for k in range(left + 1 + right)]
    return np.concatenate(columns, axis=1) @ weight.T


@pytest.mark.parametrize(("kernel", "stride"), [(16, 8), (11, 5), (7, 3), (4, 2), (3, 3)])
def test_a_transposed_convolution_becomes_a_plain_one(kernel: int, stride: int) -> None:
    x, weight = draw(9, 4).astype(np.float64), draw(4, 3, kernel).astype(np.float64)
    padding = (kernel - stride) // 2
    spread = np.zeros((9 * stride + kernel, 3))
    for t in range(9):
        for k in range(kernel):
            spread[t * stride + k] += x[t] @ weight[:, :, k]
    expected = spread[padding : padding + 9 * stride]
    got = slide(x, fold_transposed(weight, stride), *transposed_reach(kernel, stride))
    np.testing.assert_allclose(reference.interleave(got, stride), expected, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(16, 8), (11, 5), (7, 3), (5, 2), (1, 2)])
def test_repeated_frames_and_a_causal_convolution_become_a_plain_one(kernel: int, stride: int) -> None:
    x, weight = draw(9, 4).astype(np.float64), draw(3, 4, kernel).astype(np.float64)
    repeated = np.pad(np.repeat(x, stride, axis=0), ((kernel - 1, 0), (0, 0)))
    expected = sum(repeated[k : k + 9 * stride] @ weight[:, :, k].T for k in range(kernel))
    got = slide(x, fold_repeated(weight, stride), repeated_reach(kernel, stride), 0)
    np.testing.assert_allclose(reference.interleave(got, stride), expected, atol=1e-12)


@pytest.mark.parametrize("style", ["c.parametrizations.weight.original{}", "c.weight_{}"])
def test_weight_norms_are_folded_in_both_spellings(style: str, tmp_path: Path) -> None:
    gain, direction = draw(5, 1, 1), draw(5, 2, 3, seed=4)
    marks = "gv" if style.endswith("_{}") else "01"
    tensors = {style.format(mark): v for mark, v in zip(marks, (gain, direction), strict=True)}
    file = TorchFile(write_torch(tmp_path / "x.pt", tensors))
    wide = direction.astype(np.float64)
    expected = gain * wide / np.sqrt((wide**2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(normed_weight(file, "c", (5, 2, 3))(), expected, rtol=1e-12)
    assert file.left() == []


def test_a_direction_of_no_length_is_refused(tmp_path: Path) -> None:
    tensors = {"c.weight_g": draw(2, 1), "c.weight_v": np.zeros((2, 3), np.float32)}
    make = normed_weight(TorchFile(write_torch(tmp_path / "x.pt", tensors)), "c", (2, 3))
    with pytest.raises(ConvertError, match=r"\[weight norm\]"):
        make()


# Files of torch.save


def test_tensors_of_a_torch_file_are_read_by_rows(tmp_path: Path) -> None:
    tensors = {"a": draw(7), "b.weight": draw(4, 3), "c": draw(2, 3, 5)}
    file = TorchFile(write_torch(tmp_path / "x.pt", tensors))
    assert {key: file.shape(key) for key in file.names()} == {k: v.shape for k, v in tensors.items()}
    for key, values in tensors.items():
        tensor = file.take(key, values.shape)
        np.testing.assert_array_equal(tensor.values(0, tensor.n_row).reshape(values.shape), values)
    np.testing.assert_array_equal(file.take("b.weight", (4, 3)).values(2, 1)[0], tensors["b.weight"][2])
    with pytest.raises(ConvertError, match=r"expected shape \[3, 4\], got \[4, 3\]"):
        file.take("b.weight", (3, 4))


def evil(code: bytes) -> bytes:
    return b"\x80\x02" + code + b"."


@pytest.mark.parametrize(
    ("pickle", "message"),
    [
        (evil(global_name("os", "system") + b"(" + text("true") + b"tR"), "the name os.system"),
        (evil(global_name("builtins", "eval") + b"(" + text("1") + b"tR"), "the name builtins.eval"),
        (evil(b"i" + b"os\nsystem\n"), "the instruction b'i'"),
        (evil(b"]"), "expected a dictionary of tensors, got list"),
        (evil(b"}"), "expected tensors, got none"),
        (evil(b"}(" + text("a") + b"]u"), "expected a tensor, got list"),
        (evil(b"h\x05"), "KeyError"),
        (evil(b"t"), "IndexError"),
        (evil(b"X" + b"\xff\xff\xff\x7f"), "its end"),
        (evil(global_name("torch", "FloatStorage") + b")R"), "KeyError"),
        (b"\x80\x02}", "its end"),
        (b"", "its end"),
    ],
)
def test_a_pickle_is_never_executed(pickle: bytes, message: str, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "x.pt", {"a": draw(2)}, pickle)
    with pytest.raises(ConvertError, match=r"\[torch\]") as caught:
        TorchFile(path)
    assert message in str(caught.value)


def test_tensors_beyond_their_storage_are_refused(tmp_path: Path) -> None:
    lies = {"more": pickled_tensor("0", draw(3)), "elsewhere": pickled_tensor("9", draw(2))}
    lies["integers"] = pickled_tensor("0", draw(2), "LongStorage")
    for key, code in lies.items():
        pickle = evil(b"}(" + text("a") + code + b"u")
        file = TorchFile(write_torch(tmp_path / "x.pt", {"a": draw(2)}, pickle))
        with pytest.raises(ConvertError, match=r"\[torch\]"):
            file.take("a", file.shape("a"))
        assert key in lies


def check_damage(path: Path, read: Callable[[Path], Any], n_case: int) -> None:
    """Damaged copies of a file are read or refused, and nothing else."""
    raw, random = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for case in range(n_case):
        data = bytearray(raw)
        for at in random.integers(0, len(data), random.integers(1, 6)):
            data[at] = random.integers(0, 256)
        if case % 5 == 0:
            data = data[: random.integers(0, len(data))]
        path.write_bytes(data)
        try:
            read(path)
        except ConvertError:
            refused += 1
    assert refused > n_case // 10


def test_damaged_torch_files_are_refused_or_read(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        file = TorchFile(path)
        for key in file.names():
            tensor = file.take(key, file.shape(key))
            tensor.read(0, tensor.n_row)

    check_damage(write_torch(tmp_path / "x.pt", {"a": draw(3, 4), "b": draw(2)}), read, 1500)


# ONNX files


def test_nodes_and_tensors_of_an_onnx_file(tmp_path: Path) -> None:
    tensors = {"w": draw(4, 3, 2), "b": draw(4)}
    conv = onnx_node(
        "Conv", ["x", "w", "b"], "y", "/c/Conv", {"pads": [1, 1], "group": 1, "alpha": 0.5, "axis": -1}
    )
    same = onnx_node("Identity", ["w"], "w2")
    file = OnnxFile(write_onnx(tmp_path / "x.onnx", [conv, same], tensors))
    node = file.nodes[0]
    assert (node.op, node.name, node.inputs, node.outputs) == ("Conv", "/c/Conv", ["x", "w", "b"], ["y"])
    assert node.attributes == {"pads": [1, 1], "group": 1, "alpha": 0.5, "axis": -1}
    for key in ("w", "w2"):
        tensor = file.take(key, (4, 3, 2))
        np.testing.assert_array_equal(tensor.values(0, 12).reshape(4, 3, 2), tensors["w"])
    with pytest.raises(ConvertError, match=r"expected shape \[4, 6\]"):
        file.take("w", (4, 6))
    with pytest.raises(ConvertError, match="expected the tensor 'x'"):
        file.take("x", (4,))


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 20, message(7, b"\x0a\x7f"), message(3, b"")])
def test_what_is_no_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(ConvertError, match=r"\[onnx\]"):
        OnnxFile(tmp_path / "x.onnx")


def test_damaged_onnx_files_are_refused_or_read(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        file = OnnxFile(path)
        for key in ("w", "b"):
            if key in file:
                tensor = file.take(key, file.shape(key))
                tensor.read(0, tensor.n_row)

    conv = onnx_node("Conv", ["x", "w", "b"], "y", "/c/Conv", {"pads": [1, 1]})
    check_damage(write_onnx(tmp_path / "x.onnx", [conv], {"w": draw(2, 3), "b": draw(2)}), read, 1500)


# YAML


def test_yaml_tags_name_classes_that_are_not_made(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(
        "a: 3\nflow: !new:os.system\n  size: 4\n  rate: !ref <a>\n  list: [1, 2]\n"
        "other: !apply:os.system [exit 1]\nname: !name:matcha.mel\n  n: 1\n",
        encoding="utf-8",
    )
    flow = read_yaml(path).section("flow")
    assert (flow.integer("size"), flow.raw("list"), flow.has("rate")) == (4, [1, 2], False)
    assert not read_yaml(tmp_path / "absent.yaml").has("flow")


@pytest.mark.parametrize(
    "content", ["a: [", "[1]", "? [1, 2]\n: 3\n? {a: 1}\n: 4", "[" * 5000, "a: !!python/name:os.system"]
)
def test_broken_yaml_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConvertError, match=r"\[config\]"):
        read_yaml(tmp_path / "flow.yaml")


# Golden checkpoints


def convert_golden(name: str, target: Path, type_name: str, checkpoint: Path | None = None) -> Path:
    checkpoint = checkpoint or GOLDEN / name / "checkpoint"
    causal = GOLDEN / name / "checkpoint" / "assets" / "token2wav_causal"
    convert(checkpoint, target, type_name, token2wav=[causal])
    return target


class Converted:
    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.tensors, self.keys = read_values(path), read_keys(path)
        self._golden = GOLDEN / name / "golden"

    def part(self, prefix: str, section: str | None = None) -> Part:
        return Part(self.tensors, self.keys, f"{prefix}.", f"minicpmo.{section or prefix}.")

    def golden(self, name: str) -> dict[str, Any]:
        return dict(np.load(self._golden / f"{name}.npz"))


@pytest.fixture(scope="module", params=["tiny-a", "tiny-b"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    if not GOLDEN.is_dir():
        pytest.skip("no golden data: set MINICPMO_GOLDEN")
    path = tmp_path_factory.mktemp("speech") / f"{request.param}.gguf"
    return Converted(convert_golden(request.param, path, "f32"), request.param)


def test_the_file_lists_its_modules(converted: Converted) -> None:
    modules = ["llm", "vision", "audio", "tts", "t2w", "s3", "spk"]
    assert converted.keys["minicpmo.modules"] == modules
    assert converted.keys["minicpmo.t2w.vocoders"] == ["hift", "hift_causal"]
    assert all(converted.keys[f"minicpmo.{module}.file_type"] == 0 for module in modules)
    assert max(len(name) for name in converted.tensors) <= 63


def test_the_language_model_of_codes_computes_the_golden_logits(converted: Converted) -> None:
    tts, golden = converted.part("tts"), converted.golden("tts_lm")
    condition = reference.find_condition(tts, golden["text_ids"], golden["llm_hidden"])
    np.testing.assert_allclose(condition, golden["condition"], atol=1e-5)
    ends = tts["emb_text.weight"][[tts.key("text_eos_token_id"), tts.key("audio_bos_token_id")]]
    rows = np.concatenate([condition, ends, tts["emb_code.weight"][golden["codes"]]])
    logits = reference.predict_codes(tts, rows)[len(condition) + 1 :]
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)


def test_the_flow_computes_the_golden_spectrum(converted: Converted) -> None:
    golden, t2w = converted.golden("token2wav"), converted.part("t2w")
    codes = np.concatenate([golden["prompt_tokens"][0], golden["tokens"][0]])
    encoded, mu = reference.encode_codes(t2w, converted.part("t2w.enc"), codes)
    np.testing.assert_allclose(encoded, golden["encoder_out"][0], atol=1e-5)
    np.testing.assert_allclose(mu, golden["mu"][0], atol=1e-5)
    voice = golden["speaker"][0].astype(np.float64)
    voice = t2w.linear("spk_affine", voice / np.linalg.norm(voice))
    prompt = golden["prompt_mel"][0]
    condition = np.concatenate([prompt, np.zeros((len(mu) - len(prompt), prompt.shape[1]))])
    noise = golden["noise"][0, :, : len(mu)].T
    x = np.concatenate([noise, mu, np.tile(voice, (len(mu), 1)), condition], axis=1)
    velocity = reference.find_velocity(converted.part("t2w.dit"), x, float(golden["dit_t"][0]))
    np.testing.assert_allclose(velocity, golden["dit_out"][0].T, atol=3e-5)


def test_the_original_vocoder_computes_the_golden_wave(converted: Converted) -> None:
    golden, hift = converted.golden("token2wav"), converted.part("t2w.hift", "hift")
    mel = golden["vocoder_mel"][0].T
    np.testing.assert_allclose(reference.find_pitch(hift, mel), golden["f0"][0], atol=1e-4)
    wave = reference.vocode(hift, mel, golden["source"][0, 0].astype(np.float64))
    np.testing.assert_allclose(wave, golden["wav"][0], atol=1e-5)


def test_the_causal_vocoder_computes_the_golden_wave(converted: Converted) -> None:
    golden, hift = converted.golden("causal_vocoder"), converted.part("t2w.hift_causal", "hift_causal")
    mel = golden["mel"][0].T
    pitch = reference.find_pitch(hift, mel)
    np.testing.assert_allclose(pitch, golden["f0"][0], atol=1e-4)
    wave = reference.vocode(hift, mel, reference.make_causal_source(hift, pitch))
    np.testing.assert_allclose(wave, golden["wav"][0], atol=2e-5)
    assert hift.key("delay_frames") == golden["delay_frames"]


def test_the_speech_tokenizer_computes_the_golden_codes(converted: Converted) -> None:
    golden = converted.golden("speech_tokenizer")
    encoded, codes = reference.tokenize_speech(converted.part("s3"), golden["mel"].T)
    np.testing.assert_allclose(encoded, golden["encoder_out"][0], atol=1e-5)
    np.testing.assert_array_equal(codes, golden["codes"][0])


def check_voice(speaker: Part, golden: dict[str, Any]) -> None:
    features = golden["fbank"].astype(np.float64)
    voice = reference.encode_speaker(speaker, features - features.mean(0))
    np.testing.assert_allclose(voice, golden["embedding"][0], atol=1e-5)


def test_the_speaker_encoder_computes_the_golden_voice(converted: Converted) -> None:
    check_voice(converted.part("spk"), converted.golden("speaker"))


def unfolded(source: OnnxFile, target: Path) -> Path:
    """The same network as another exporter leaves it: norms after convolutions are nodes of their own."""
    nodes, tensors = list[bytes](), dict[str, Values]()
    stored = {key for node in source.nodes for key in node.inputs if key in source}
    for key in stored:
        tensor = source._find(key)
        if tensor.data_type == 1 and tensor.shape != ():
            opened = source.take(key, tensor.shape)
            tensors[key] = opened.values(0, opened.n_row).reshape(tensor.shape)
    for i, node in enumerate(source.nodes):
        attributes = {k: v for k, v in node.attributes.items() if isinstance(v, int | float | list)}
        if node.op != "Conv" or len(node.inputs) < 3 or "cam_layer" in node.inputs[1]:
            nodes.append(onnx_node(node.op, node.inputs, node.outputs[0], "", attributes))
            continue
        weight, bias = node.inputs[1:]
        n = len(tensors[bias])
        scale, mean = np.abs(draw(n, seed=i)) + 0.5, draw(n, seed=i + 1)
        variance = np.abs(draw(n, seed=i + 2)) + 0.5
        factor = scale / np.sqrt(variance + 1e-5)
        tensors[weight] = tensors[weight] / factor.reshape(-1, *(1 for _ in tensors[weight].shape[1:]))
        tensors |= {f"s{i}": scale, f"m{i}": mean, f"v{i}": variance}
        tensors[bias] = tensors[bias] + mean * factor
        nodes.append(onnx_node("Conv", node.inputs[:2], f"c{i}", "", attributes))
        norm = [f"c{i}", f"s{i}", bias, f"m{i}", f"v{i}"]
        nodes.append(onnx_node("BatchNormalization", norm, node.outputs[0], "", {"epsilon": 1e-5}))
    return write_onnx(target, nodes, tensors)


def test_norms_that_an_exporter_left_are_folded(converted: Converted, tmp_path: Path) -> None:
    source = OnnxFile(GOLDEN / converted.name / "checkpoint" / ASSETS / "campplus.onnx")
    speaker = Speaker(OnnxFile(unfolded(source, tmp_path / "x.onnx")))
    tensors = {t.name: t.values(0, t.n_row).reshape(t.shape) for t in speaker.take_tensors()}
    assert tensors.keys() == {name for name in converted.tensors if name.startswith("spk.")}
    check_voice(Part(tensors, converted.keys, "spk.", "minicpmo.spk."), converted.golden("speaker"))


@pytest.mark.parametrize("type_name", ["q8_0", "q4_0", "bf16"])
def test_types_of_the_speech_side(converted: Converted, type_name: str, tmp_path: Path) -> None:
    path = convert_golden(converted.name, tmp_path / "out.gguf", type_name)
    types = read_types(path)
    media = {"bf16": "bf16"}.get(type_name, "q8_0")
    exact = ("t2w.hift.up.0.weight", "s3.quant.weight", "s3.blk.0.attn_fsmn.weight", "spk.tdnn.bias")
    halves = (
        *("tts.emb_code.weight", "tts.head_code.weight", "tts.projector.linear1.weight", "t2w.dit.in.weight"),
        *("t2w.enc.up_conv.weight", "t2w.dit.blk.0.conv1.weight", "s3.conv1.weight", "spk.tdnn.weight"),
    )
    blocks = (
        *("tts.blk.0.attn_v.weight", "t2w.enc.blk.0.attn_pos.weight", "t2w.dit.blk.1.adaln.weight"),
        *("s3.blk.0.ffn_down.weight", "t2w.enc.up_blk.0.ffn_up.weight"),
    )
    assert {types[key] for key in exact} == {"f32"}
    assert {types[key] for key in halves} == {"f16"}
    assert {types[key] for key in blocks} == {media}
    assert types["tts.emb_text.weight"] == ("q4_0" if type_name == "q4_0" else media)
    requantize(converted.path, tmp_path / "again.gguf", type_name)
    assert (tmp_path / "again.gguf").read_bytes() == path.read_bytes()


# Checkpoints with parts missing or wrong


class Speaking:
    """A golden checkpoint that a test may change, with links to what it does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        source = GOLDEN / "tiny-a" / "checkpoint"
        shutil.copytree(source, path, ignore=shutil.ignore_patterns("*.safetensors", "token2wav_causal"))
        for file in path.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        (path / "model.safetensors").symlink_to(source / "model.safetensors")
        self.assets = path / ASSETS

    def configure(self, **values: Any) -> None:
        config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        config["tts_config"] |= values
        (self.path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def replace(self, file: str, old: str, new: str) -> None:
        content = (self.assets / file).read_text(encoding="utf-8")
        assert old in content
        (self.assets / file).write_text(content.replace(old, new), encoding="utf-8")

    def drop(self, *prefixes: str) -> None:
        tensors = read_safetensors(self.path / "model.safetensors")
        (self.path / "model.safetensors").unlink()
        kept = {key: values for key, values in tensors.items() if not key.startswith(prefixes)}
        write_safetensors(self.path / "model.safetensors", kept)


@pytest.fixture
def speaking(tmp_path: Path) -> Speaking:
    if not GOLDEN.is_dir():
        pytest.skip("no golden data: set MINICPMO_GOLDEN")
    return Speaking(tmp_path / "checkpoint")


def convert_with_lines(folder: Path, target: Path, token2wav: tuple[Path, ...] = ()) -> list[str]:
    lines: list[str] = []
    convert(folder, target, "f32", lines.append, token2wav)
    return lines


def test_a_checkpoint_without_speech_becomes_a_file_without_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "checkpoint")
    lines = convert_with_lines(folder.write(), tmp_path / "out.gguf")
    assert "no speech codes: the checkpoint holds none" in lines
    assert read_keys(tmp_path / "out.gguf")["minicpmo.modules"] == ["llm", "vision", "audio"]
    assert not [name for name in read_types(tmp_path / "out.gguf") if name.startswith(SPEECH)]


def test_codes_without_sound_are_converted(speaking: Speaking, tmp_path: Path) -> None:
    shutil.rmtree(speaking.assets)
    lines = convert_with_lines(speaking.path, tmp_path / "out.gguf")
    assert "speech: 2 layers, no sound: no flow in assets/token2wav" in lines
    assert read_keys(tmp_path / "out.gguf")["minicpmo.modules"] == ["llm", "vision", "audio", "tts"]


def test_a_voice_is_optional_and_its_absence_is_said(speaking: Speaking, tmp_path: Path) -> None:
    (speaking.assets / "campplus.onnx").unlink()
    lines = convert_with_lines(speaking.path, tmp_path / "out.gguf")
    assert "speech: 2 layers, sound by hift, no campplus.onnx" in lines
    assert read_keys(tmp_path / "out.gguf")["minicpmo.modules"][3:] == ["tts", "t2w", "s3"]


def test_shapes_and_no_file_names_tell_the_vocoders_apart(speaking: Speaking, tmp_path: Path) -> None:
    causal = GOLDEN / "tiny-a" / "checkpoint" / "assets" / "token2wav_causal"
    (speaking.assets / "hift.pt").rename(speaking.assets / "hift_original.pt")
    shutil.copy(causal / "hift.pt", speaking.assets / "hift.pt")
    shutil.copy(causal / "config.yaml", speaking.assets / "config.yaml")
    lines = convert_with_lines(speaking.path, tmp_path / "out.gguf")
    assert "speech: 2 layers, sound by hift, hift_causal" in lines
    beside = convert_golden("tiny-a", tmp_path / "beside.gguf", "f32")
    assert (tmp_path / "out.gguf").read_bytes() == beside.read_bytes()


def test_embeddings_that_nobody_uses_are_passed_over(speaking: Speaking, tmp_path: Path) -> None:
    convert(speaking.path, tmp_path / "out.gguf", "f32")
    names = read_types(tmp_path / "out.gguf")
    assert not [name for name in names if "spk" in name and name.startswith("tts.")]
    assert "tts.token_embd.weight" not in names


def two_vocoders(speaking: Speaking) -> None:
    shutil.copy(speaking.assets / "hift.pt", speaking.assets / "hift_original.pt")


def surplus_in_flow(speaking: Speaking) -> None:
    write_torch(speaking.assets / "flow.pt", {"unknown": draw(3)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.configure(num_vq=4), "num_vq"),
        (lambda s: s.configure(num_text_tokens=9), "num_text_tokens"),
        (lambda s: s.configure(audio_bos_token_id=768), "audio_bos_token_id"),
        (lambda s: s.configure(attention_type="other"), "expected one of full_attention"),
        (lambda s: s.configure(interleaved=True), "interleaved"),
        (lambda s: s.configure(num_attention_heads=3), "heads to divide"),
        (lambda s: s.configure(s3_stream_prelook_size=4), "s3_stream_prelook_size"),
        (lambda s: s.drop("tts.head_code"), "tts.head_code.0"),
        (lambda s: s.drop("tts.emb_text"), "tts.emb_text.weight"),
        (lambda s: s.replace("flow.yaml", "depth: 2", "depth: 3"), "depth"),
        (lambda s: s.replace("flow.yaml", "key_bias: true", "key_bias: false"), "key_bias"),
        (lambda s: s.replace("flow.yaml", "inference_cfg_rate: 0.7", "inference_cfg_rate: x"), "cfg_rate"),
        (lambda s: (s.assets / "hift.pt").unlink(), "expected hift.pt or hift_original.pt"),
        (lambda s: (s.assets / "hift.pt").write_bytes(b"PK"), "hift.pt"),
        (lambda s: (s.assets / "campplus.onnx").write_bytes(b"\x08\x08"), "campplus.onnx"),
        (two_vocoders, "got a second hift"),
        (surplus_in_flow, "input_embedding.weight"),
    ],
)
def test_what_does_not_fit_is_refused(
    speaking: Speaking, change: Callable[[Speaking], None], message: str, tmp_path: Path
) -> None:
    change(speaking)
    with pytest.raises(ConvertError) as caught:
        convert(speaking.path, tmp_path / "out.gguf", "f32")
    assert message in str(caught.value)
    assert not (tmp_path / "out.gguf").exists()


def test_folders_of_sound_are_checked(speaking: Speaking, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"\[token2wav\] expected a folder"):
        convert_with_lines(speaking.path, tmp_path / "out.gguf", (tmp_path / "absent",))
    arguments = ["--requantize", str(tmp_path), "-o", str(tmp_path / "x"), "--token2wav", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--token2wav" in result.output
