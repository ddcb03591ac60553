"""The speech tokenizer and the flow in PyTorch against what a converted file means, and their training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_convert.components.flow import Flow as ConvertedFlow
from minicpmo_convert.facts import Facts
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.torch_file import TorchFile

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))
import speech_reference as reference

pytestmark = pytest.mark.train


@pytest.fixture
def codec() -> Any:
    import torch

    from demo.speech.codec import Codec

    torch.manual_seed(5)
    made = Codec()
    with torch.no_grad():
        for values in made.parameters():  # so that every part matters
            if values.ndim == 1 or values.shape == (2, 64):
                values.add_(0.1 * torch.randn_like(values))
    return made.requires_grad_(False)


def close(ours: Any, theirs: Any) -> None:
    """But for float32, through all layers."""
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_the_flow_computes_what_the_converted_file_means(tmp_path: Path, codec: Any) -> None:
    import torch

    from demo.speech.export import write_state
    from demo.speech.tokenizer import all_digits, codes_of

    write_state(codec.flow.official_state(), tmp_path / "flow.pt")
    flow = ConvertedFlow(TorchFile(tmp_path / "flow.pt"), Facts({}, "flow.yaml"))
    tensors = {t.name: t.values(0, t.n_row).reshape(t.shape) for t in flow.take_tensors()}
    keys = Metadata()
    flow.write_keys(keys, Facts({}, "config.json"))
    stored = {key: entry.value for key, entry in keys.items()}
    parts = [reference.Part(tensors, stored, f"t2w.{p}", f"minicpmo.t2w.{p}") for p in ("", "enc.", "dit.")]
    codes = np.random.default_rng(2).integers(0, 6561, 9)
    digits = all_digits()[torch.from_numpy(codes)]
    assert (codes_of(digits).numpy() == codes).all()
    _, expected = reference.encode_codes(parts[0], parts[1], codes)
    close(codec.flow.suggest(digits[None])[0].numpy(), expected)
    x = np.random.default_rng(3).normal(0, 1, (18, 320)).astype(np.float32)
    given = torch.from_numpy(x)[None]
    found = codec.flow.decoder.estimator(given[..., :80], given[..., 80:], torch.tensor([0.3]))
    close(found[0].numpy(), reference.find_velocity(parts[2], x.astype(np.float64), 0.3))


def test_the_tokenizer_computes_what_the_converted_tensors_mean(codec: Any) -> None:
    import torch

    from demo.speech.tokenizer import codes_of

    ours = {name: values.numpy() for name, values in codec.tokenizer.state_dict().items()}
    names = {"query": "attn_q", "key": "attn_k", "value": "attn_v", "out": "attn_out"}
    tensors = {}
    for name, values in ours.items():
        if name.startswith("conv") and name.endswith("weight"):
            values = values.transpose(0, 2, 1).reshape(len(values), -1)
        elif "fsmn" in name:
            values = values[:, 0].T
        for theirs, mine in names.items():
            name = name.replace(f"attn.{theirs}.", f"{mine}.")
        name = name.replace("attn.fsmn_block", "attn_fsmn").replace("blocks.", "blk.")
        name = name.replace("mlp.0", "ffn_up").replace("mlp.2", "ffn_down").replace("project_down", "quant")
        tensors["s3." + name.replace("attn_ln", "ln1").replace("mlp_ln", "ln2")] = values
    numbers = {"conv_stride": 2, "attention.head_count": 2, "block_count": 2, "rope.freq_base": 1e4}
    numbers |= {"attention_layer_norm_epsilon": 1e-6, "ffn_layer_norm_epsilon": 1e-5}
    numbers |= {"code_levels": 3, "code_dimensions": 8}
    s3 = reference.Part(tensors, {f"s3.{key}": value for key, value in numbers.items()}, "s3.", "s3.")
    mel = np.random.default_rng(4).normal(0, 1, (26, 128)).astype(np.float32)
    _, expected = reference.tokenize_speech(s3, mel.astype(np.float64))
    found = codes_of(codec.tokenizer(torch.from_numpy(mel.T.copy())[None])[0])
    assert len(set(expected.tolist())) > 2
    assert found.tolist() == expected.tolist()


def test_a_slope_goes_through_the_rounding(codec: Any) -> None:
    import torch

    mel = torch.randn(1, 128, 16, requires_grad=True)
    digits = codec.tokenizer(mel)
    assert torch.equal(digits, digits.round())
    assert digits.abs().max() <= 1
    digits.sum().backward()
    assert mel.grad.abs().sum() > 0


def test_pieces_are_two_frames_a_code_and_always_the_same() -> None:
    import torch

    from demo.speech.codec_lesson import N_CODE, N_UTTERANCE, pieces

    first, again = pieces("train", 2), pieces("train", 2)
    assert first.heard.shape == (N_UTTERANCE, 128, 4 * N_CODE)
    assert first.mel.shape == (N_UTTERANCE, 2 * N_CODE, 80)
    assert torch.equal(first.heard, again.heard)
    assert not torch.equal(first.mel, pieces("held_out", 2).mel)
    # Loud where the other is loud.
    heard, said = first.heard.mean(dim=1)[:, ::2].numpy(), first.mel.mean(dim=2).numpy()
    pairs = [(a, b) for a, b in zip(heard, said, strict=True) if a.std() > 0.1]
    assert len(pairs) > 3
    assert min(np.corrcoef(a, b)[0, 1] for a, b in pairs) > 0.7


def test_a_run_goes_on_where_it_stopped_and_learns(tmp_path: Path, monkeypatch: Any) -> None:
    import torch

    from demo.speech import codec_lesson
    from demo.speech.run import codec_run

    torch.set_num_threads(1)
    same = codec_lesson.pieces("train", 0)
    monkeypatch.setattr(codec_lesson, "pieces", lambda split, step: same)
    run = codec_run(tmp_path)
    losses = [run.learn(1000) for _ in range(12)]
    assert losses[-1]["suggested"] < 0.9 * losses[0]["suggested"]
    assert losses[-1]["flow"] < losses[0]["flow"]
    run.save()
    expected = run.learn(1000)
    assert codec_run(tmp_path).learn(1000) == expected
