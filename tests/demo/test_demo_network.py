"""The network in PyTorch, its training and its export. `python -m pytest -m train tests/demo` runs these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from minicpmo_convert.convert import convert
from minicpmo_cpp import TASKS, Model

from demo import lessons
from demo.checkpoint import write_checkpoint
from demo.example import Question, Sight
from demo.lexicon import LANGUAGES
from demo.pictures.maker import KINDS, SIZES, make_sight
from demo.sounds.utterance import make_utterance
from demo.sounds.voice import RATE, Voice, say
from demo.vocabulary import Encoder

pytestmark = pytest.mark.train
STORED = np.load(Path(__file__).resolve().parents[1] / "data" / "demo_network.npz")
ENCODER = Encoder(tiny.VOCABULARY)


def relative_error(ours: Any, theirs: Any) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.fixture
def omni() -> Any:
    import torch

    from demo.network.omni import Omni

    made = Omni(tiny.SIZES)
    shapes = {name: tuple(values.shape) for name, values in made.state_dict().items()}
    made.load_state_dict({name: torch.from_numpy(v) for name, v in tiny.weights(shapes).items()})
    return made.requires_grad_(False)


@pytest.mark.parametrize("name", tiny.PICTURES)
def test_it_computes_the_stored_numbers_of_pictures(omni: Any, name: str) -> None:
    from demo.network.reading import read_pictures

    seen, logits = read_pictures(omni, ENCODER, tiny.PICTURES[name], tiny.QUESTION)
    # The same program on another processor.
    assert relative_error(seen.numpy(), STORED[f"{name}_seen"]) < 1e-5
    assert relative_error(logits.numpy(), STORED[f"{name}_logits"]) < 1e-5


def test_it_computes_the_stored_numbers_of_sound(omni: Any) -> None:
    from demo.network.reading import read_sound

    heard, logits = read_sound(omni, ENCODER, tiny.sound(), "en")
    assert relative_error(heard.numpy(), STORED["sound_heard"]) < 1e-5
    assert relative_error(logits.numpy(), STORED["sound_logits"]) < 1e-5


def test_the_exported_model_answers_in_the_engine_as_in_torch(tmp_path: Path) -> None:
    """At its real size, with the weights training begins with."""
    import torch

    from demo.export import export
    from demo.network.omni import Omni
    from demo.network.reading import read_pictures, read_sound
    from demo.sizes import Sizes

    torch.manual_seed(1)
    whole = Omni(Sizes(len(tiny.VOCABULARY))).requires_grad_(False)
    export(whole.sizes, tiny.VOCABULARY, whole.state_dict(), tmp_path / "checkpoint")
    convert(tmp_path / "checkpoint", tmp_path / "f32.gguf", "f32")
    model = Model.load(tmp_path / "f32.gguf", device="cpu", n_threads=1)
    for kind in KINDS:
        for size in SIZES:
            sight = make_sight("held_out", kind, 0, size, 1)
            question = sight.questions[0].text
            _, expected = read_pictures(whole, ENCODER, sight.pictures, question)
            prompt = model.build_prompt([{"role": "user", "content": [*sight.pictures, question]}])
            # Float32 on both sides.
            assert relative_error(model.forward(embeds=prompt.embeds).logits, expected.numpy()) < 1e-4
    for language in LANGUAGES:
        samples = make_utterance("held_out", language, 0).samples
        _, expected = read_sound(whole, ENCODER, samples, language)
        prompt = model.build_prompt([{"role": "user", "content": [TASKS[f"asr-{language}"], samples]}])
        assert relative_error(model.forward(embeds=prompt.embeds).logits, expected.numpy()) < 1e-4


def test_questions_in_one_pass_are_answered_as_if_alone(omni: Any) -> None:
    from demo.network.batch import loss_of, sights_batch

    unk = ENCODER.special["<unk>"]
    sights = [make_sight("train", "scene", i, (60, 44), 3) for i in range(2)]
    together = loss_of(omni, sights_batch(ENCODER, omni, sights), unk)
    sums, counts = 0.0, 0
    for sight in sights:
        for question in sight.questions:
            alone = sights_batch(ENCODER, omni, [Sight(sight.pictures, sight.labels, (question,))])
            n = int((alone.targets >= 0).sum())
            sums, counts = sums + n * loss_of(omni, alone, unk).item(), counts + n
    assert together.item() == pytest.approx(sums / counts, rel=1e-5)  # float32


def test_what_lies_in_a_query_s_part_is_what_its_patches_show() -> None:
    import torch

    from demo.network.batch import parts_of
    from demo.pictures.label import COLOUR, WHAT, label

    labels = torch.zeros(1, 4 * 6, 2, dtype=torch.long)
    labels[0, 0] = torch.tensor(label("star", "red")[:2])
    labels[0, 7] = torch.tensor(label("A", "blue")[:2])  # second row, second column
    labels[0, 23] = torch.tensor(label("ring", "white")[:2])
    names = [*WHAT, *COLOUR] * 2  # the left half's, the right half's
    found = [[names[i] for i in np.flatnonzero(row)] for row in parts_of(labels, 4, 6, 4)[0].numpy()]
    assert found == [
        ["", "star", "A", "", "red", "blue", "", ""],
        ["", "", "", ""],
        ["", "", "", ""],
        ["", "", "", "ring", "", "white"],
    ]


def test_a_tower_begins_with_what_patches_differ_in(omni: Any) -> None:
    import torch

    from demo.pictures.slices import to_patches

    pages = [make_sight("train", "page", i, SIZES[0], 0).pictures[0] for i in range(8)]
    patches = torch.from_numpy(np.concatenate([to_patches(page) for page in pages]))
    embeddings = omni.vpm.embeddings
    embeddings.look_at(patches)
    seen = patches @ embeddings.patch_embedding.weight.flatten(1).T + embeddings.patch_embedding.bias
    alike = torch.corrcoef(seen.T) - torch.eye(seen.shape[1])
    assert alike.abs().max() < 1e-3  # float32, of sums over 1152 patches
    assert seen.mean(dim=0).abs().max() < 1e-3
    # Of half the size each, but for what hardly varies.
    assert (seen.std(dim=0) < 0.501).all()
    assert seen.std(dim=0).mean() > 0.4


def test_every_weight_is_changed_by_a_step_and_the_more_the_higher_the_rate(omni: Any) -> None:
    import torch

    from demo.network.batch import loss_of, sights_batch
    from demo.optimiser import Optimiser

    sights = [make_sight("train", "scene", i, (60, 44), 3) for i in range(2)]
    sound = torch.from_numpy(tiny.sound()[: 80 * 40].reshape(1, 80, 40))
    begun = {name: values.clone() for name, values in omni.state_dict().items()}

    def moved(share: float) -> dict[str, float]:
        omni.load_state_dict(begun)
        omni.requires_grad_(True)
        optimiser = Optimiser(omni, torch.nn.Linear(4, 4))
        loss = loss_of(omni, sights_batch(ENCODER, omni, sights), ENCODER.special["<unk>"])
        (loss + omni.hear(sound).square().mean()).backward()
        optimiser.step(share)
        assert all(p.grad is None for p in omni.parameters())
        return {name: float((p.detach() - begun[name]).norm()) for name, p in omni.named_parameters()}

    little, much = moved(0.1), moved(1.0)
    assert all(0 < little[name] < 0.2 * much[name] for name in little)


def test_only_answers_are_learned() -> None:
    from demo.network.batch import talk_batch

    batch = talk_batch(ENCODER, [Question("talk", "red?", "green"), Question("talk", "What colour?", "blue")])
    learned = [ENCODER.decode(row[row >= 0].tolist()) for row in batch.targets]
    assert learned == ["green<|im_end|>", "blue<|im_end|>"]
    # Each target is the token behind its row.
    ids, targets = batch.ids, batch.targets
    assert (targets[:, :-1] == ids[:, 1:])[targets[:, :-1] >= 0].all()


def test_a_sound_is_learned_as_it_is_asked_for(tmp_path: Path, omni: Any) -> None:
    import torch

    from demo.network.batch import ctc_loss, sound_batch, sound_loss
    from demo.sounds import library

    short = pytest.MonkeyPatch()
    short.setattr(library, "PART", 12)
    library.fill(tmp_path, 12, 80, lambda line: None)
    short.undo()
    found = library.Library(tmp_path)
    assert found.texts == [
        (make_utterance("train", language, i).text, language) for i in range(6) for language in LANGUAGES
    ]
    chosen = found.draw(np.random.default_rng(1), 3000)
    assert len({(found.mels[i].shape, found.texts[i][1]) for i in chosen}) == 1
    text, language = found.texts[chosen[0]]
    mels, texts = [found.mels[i] for i in chosen], [found.texts[i][0] for i in chosen]
    batch = sound_batch(ENCODER, mels, texts, language)
    # Just what the engine reads of the prompt of the official README.
    begun = ENCODER.encode(tiny.sound_text(mels[0].shape[1] // 10, language))
    whole = batch.words.prefix.tolist() + batch.words.ids[0].tolist()
    assert whole[: len(begun)] == begun
    targets = batch.words.targets[0]
    assert ENCODER.decode(targets[targets >= 0].tolist()) == text + "<|tts_eos|><|im_end|>"
    # Side by side as if alone: a loss is the mean of the answers' tokens.
    hint = torch.nn.Linear(tiny.SIZES.a_embd, tiny.SIZES.n_vocab).requires_grad_(False)

    def losses(each: Any) -> list[float]:
        states = omni.apm(each.mel)
        ctc = ctc_loss(hint, each, states, ENCODER.special["<|endoftext|>"])
        return [sound_loss(omni, each, states, ENCODER.special["<unk>"]).item(), ctc.item()]

    together = losses(batch)
    alone = [sound_batch(ENCODER, [mel], [text], language) for mel, text in zip(mels, texts, strict=True)]
    counts = [int((each.words.targets >= 0).sum()) for each in alone]
    parts = np.array([losses(each) for each in alone])
    assert together[0] == pytest.approx(np.average(parts[:, 0], weights=counts), rel=1e-5)  # float32
    assert together[1] == pytest.approx(parts[:, 1].mean(), rel=1e-5)  # of each its mean token's


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: Any) -> None:
    import torch

    from demo import train

    torch.set_num_threads(1)  # sums in one order
    monkeypatch.setattr(train, "Sizes", lambda n_vocab: tiny.SIZES)
    monkeypatch.setattr(train, "learn_vocabulary", lambda: tiny.VOCABULARY)
    monkeypatch.setattr(lessons, "LOOKS", 2)  # so that it stops between two kinds of lesson
    whole = train.Run(tmp_path / "whole")
    losses = [whole.learn(until=100) for _ in range(4)]
    first = train.Run(tmp_path / "stopped")
    assert [first.learn(until=100) for _ in range(2)] == losses[:2]
    first.save()
    assert [train.Run(tmp_path / "stopped").learn(until=100) for _ in range(1)] == losses[2:3]


def test_a_voice_says_a_sentence() -> None:
    said = say("one two three", "en", Voice("f2", 160, 50))
    slow = say("one two three", "en", Voice("f2", 120, 50))
    assert 0.6 * RATE < len(said) < len(slow) < 3 * RATE
    assert 0.1 < np.abs(said).max() <= 1.0
    again = make_utterance("held_out", "zh", 3, "unseen voices")
    np.testing.assert_array_equal(again.samples, make_utterance("held_out", "zh", 3, "unseen voices").samples)


def test_a_checkpoint_is_what_the_converter_takes_whole(tmp_path: Path, omni: Any) -> None:
    """q8_0 takes every matrix: all rows are whole blocks."""
    from demo.export import export

    export(tiny.SIZES, tiny.VOCABULARY, omni.state_dict(), tmp_path / "a")
    write_checkpoint(
        tmp_path / "b", tiny.SIZES, tiny.VOCABULARY, {n: v.numpy() for n, v in omni.state_dict().items()}
    )
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()
    assert convert(tmp_path / "a", tmp_path / "q8.gguf", "q8_0") < 0.4 * convert(
        tmp_path / "a", tmp_path / "f32.gguf", "f32"
    )
