"""MiniCPM-o 2.6 second by second against the official code, and the laws that such conversations obey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import unit_turns as tiny
from minicpmo_convert.convert import convert
from minicpmo_cpp import Model, Session, _core
from minicpmo_cpp.official import MiniCPMO
from minicpmo_cpp.parity.golden import relative_l2
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data" / "unit_turns.npz"
# Relative L2 against float32 PyTorch, as of all members: products summed in another order, layer by layer.
CLOSE = 2e-4
UNIT: dict[str, Any] = {
    **{"max_slice_nums": 1, "use_image_id": False, "omni_mode": True, "parse_special": True},
}
GREEDY: dict[str, Any] = {
    **{"max_new_tokens": tiny.N_GREEDY, "temperature": 0, "repetition_penalty": 1, "ignore_stop": True},
    "use_tts_template": True,
}


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    with np.load(DATA) as data:
        return dict(data.items())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("tiny")
    convert(tiny.write_checkpoint(folder / "checkpoint"), folder / "model.gguf", "f32")
    with Model.load(folder / "model.gguf", n_threads=1) as model:
        yield model


def read(session: Session, content: list[Any]) -> None:
    """What a user's second brings; its sound ends with it, as in the official code."""
    has_sound = any(isinstance(part, np.ndarray) and part.ndim == 1 for part in content)
    message = {"role": "user", "content": content}
    session.prefill([message], stream_audio=True, is_last_chunk=has_sound, **UNIT)


def instruct(session: Session) -> None:
    prompt = session._model.system_prompt(tiny.voice(), "omni", "en")
    session.prefill([prompt], **UNIT)


def test_two_turns_equal_the_official_code(model: Model, oracle: dict[str, Any]) -> None:
    """Ids, logits behind every call, the states that are the answers' voices, and greedy answers."""
    session = model.session()
    engine = session._open()
    logits, speakers, answers = [], [], []
    ends = np.cumsum(oracle["n_ids"])
    n_extra = 0  # tokens of answers, which the reference's calls do not count
    calls = iter(ends)

    def check_ids() -> None:
        assert session.n_past == next(calls) + n_extra

    instruct(session)
    check_ids()
    logits.append(engine.logits())
    first, second = tiny.units(), tiny.more_units()
    for units in (first, second):
        for i, unit in enumerate(units):
            read(session, unit)
            if units is second and i == 0:
                n_extra += tiny.N_GREEDY
            check_ids()
            logits.append(engine.logits())
        answer = session.generate(**GREEDY)
        check_ids()
        voices = engine.logits()
        speakers.append(engine.speaker())
        answers.append(answer.result().token_ids)
        oracle_row = oracle["logits"][-2 if units is first else -1]
        assert relative_l2(voices, oracle_row) < CLOSE

    assert answers == oracle["greedy"].tolist()
    for found, wanted in zip(logits, oracle["logits"], strict=False):
        assert relative_l2(found, wanted) < CLOSE
    for found, wanted in zip(speakers, oracle["speaker"], strict=True):
        assert relative_l2(found, wanted) < CLOSE
    ids = engine.ids()
    begin = sum(oracle["n_ids"][: 2 + len(first)])
    wanted = np.concatenate([oracle["ids"][:begin], oracle["greedy"][0], oracle["ids"][begin:]])
    unk = model.tokenize("<unk>")[0]
    np.testing.assert_array_equal(np.where(ids < 0, unk, ids), [*wanted, *oracle["greedy"][1][:-1]])


def test_streamed_seconds_equal_the_official_code(model: Model, oracle: dict[str, Any]) -> None:
    """Rows of each second, whose encoder remembers those before; beyond its last position it begins anew."""
    units = [unit for unit in tiny.units() if len(unit) == 3]
    sound = np.concatenate([unit[2] for unit in units])
    n = oracle["n_heard"]
    heard = oracle["heard"][n[0] : n[: 1 + len(units)].sum()]
    with model.audio_stream() as stream:
        rows = np.concatenate([stream.push(sound), stream.finish()])
    assert relative_l2(rows, heard) < CLOSE
    long = tiny.long_sound()
    with model.audio_stream() as stream:
        rows = stream.push(long).reshape(32, 25, -1)
    assert relative_l2(rows[oracle["long_seconds"], ::5], oracle["long_heard"]) < CLOSE


def test_first_messages_are_the_official_ones(model: Model, oracle: dict[str, Any]) -> None:
    official = MiniCPMO(model)
    for name, (role, *parts) in json.loads(bytes(oracle["words"])).items():
        mode, language, has_voice = name.split()
        sample = tiny.voice() if has_voice == "True" else None
        for found in (
            model.system_prompt(sample, mode, language),
            official.get_sys_prompt(ref_audio=sample, mode=mode, language=language),
        ):
            assert found["role"] == role
            assert [p if isinstance(p, str) else None for p in found["content"]] == parts
    with pytest.raises(ValueError, match="expected a recording to clone"):
        model.system_prompt(None, "voice_cloning")


@pytest.mark.parametrize("turn", [0, 1])
def test_answers_sound_as_in_the_official_code(model: Model, oracle: dict[str, Any], turn: int) -> None:
    """From the state of that turn and the texts that its answer comes in to codes and samples."""
    engine = model._open()
    texts = json.loads(bytes(oracle[f"texts_{turn}"]))
    writer = _core.BookWriter(engine, temperature=0)
    decoder = _core.BookDecoder(engine)
    decoder.begin(True)
    codes, waves = [], []
    for i, text in enumerate(texts):
        writer.feed(text, np.ascontiguousarray(oracle["speaker"][turn]), i + 1 == len(texts))
        while (batch := writer.next_batch()) is not None:
            codes.append(batch[0])
            waves.append(decoder.decode(*batch))
    np.testing.assert_array_equal(np.concatenate([c for c in codes if len(c)]), oracle[f"codes_{turn}"])
    assert relative_l2(np.concatenate(waves), oracle[f"wave_{turn}"]) < CLOSE


def test_the_official_calls_read_the_same(model: Model, oracle: dict[str, Any]) -> None:
    """streaming_prefill and streaming_generate, as the official example calls them."""
    official = MiniCPMO(model)
    prompt = official.get_sys_prompt(ref_audio=tiny.voice(), mode="omni", language="en")
    official.streaming_prefill(session_id="1", msgs=[prompt], tokenizer=None)
    for units in (tiny.units(), tiny.more_units()):
        for unit in units:
            official.streaming_prefill("1", [{"role": "user", "content": unit}], tokenizer=None)
        sound, text = [], ""
        for r in official.streaming_generate("1", tokenizer=None, max_new_tokens=9, seed=1):
            sound.append(r.audio_wav)
            text += r.text
        assert np.isfinite(np.concatenate(sound)).all()
        assert official._session is not None
    ids = official._session._open().ids()
    first = oracle["ids"][: sum(oracle["n_ids"][:6])]
    np.testing.assert_array_equal(ids[: len(first)], np.where(first == model.tokenize("<unk>")[0], -1, first))


def test_how_sound_is_cut_makes_no_difference(model: Model) -> None:
    sound = tiny.sound(7, 2.5)

    def heard(pieces: list[NDArray[np.float32]]) -> tuple[list[int], NDArray[np.float32]]:
        with model.session() as session:
            instruct(session)
            for i, piece in enumerate(pieces):
                message = {"role": "user", "content": [piece]}
                last = i + 1 == len(pieces)
                session.prefill([message], stream_audio=True, is_last_chunk=last, **UNIT)
            return session._open().ids().tolist(), session._open().logits()

    whole, logits = heard([sound])
    cut, others = heard(np.split(sound, [100, 7000, 16000, 30001]))
    assert cut == whole
    assert relative_l2(others, logits) < 1e-5  # rows read in other batches


def test_slivers_and_broken_sound(model: Model) -> None:
    with model.session() as session:
        instruct(session)
        before = session.n_past
        read(session, ["<unit>", tiny.sound(1, 1)])
        n = session.n_past - before
        read(session, ["<unit>", np.zeros(1, np.float32)])  # less than an embedding: no tags, as there
        assert session.n_past == before + n + 1
        with pytest.raises(ValueError, match="expected finite samples"):
            read(session, ["<unit>", np.full(16000, np.nan, np.float32)])
        with pytest.raises(ValueError, match="expected sound that is the last"):
            session.prefill("Hello", stream_audio=True, is_last_chunk=True)
        assert session.n_past == before + n + 1
        read(session, ["<unit>", tiny.sound(1, 1)])
        assert session.n_past == before + n + 1 + 28


def test_a_place_can_be_come_back_to(model: Model, tmp_path: Path) -> None:
    units = tiny.units()
    with model.session() as session:
        instruct(session)
        read(session, units[0])
        before = session.snapshot()
        session.save(tmp_path / "state")
        said = []
        for _ in range(2):
            for unit in units[1:]:
                read(session, unit)
            said.append(session.generate(audio=True, seed=1, **GREEDY).result())
            session.restore(before)
        with model.session() as other:
            other.load(tmp_path / "state")
            for unit in units[1:]:
                read(other, unit)
            said.append(other.generate(audio=True, seed=1, **GREEDY).result())
    for result in said:
        assert result.token_ids == said[0].token_ids
        np.testing.assert_array_equal(result.audio, said[0].audio)


def test_the_first_message_is_a_turn_of_its_own(model: Model) -> None:
    """Unless its sound is streamed: a conversation may do without one."""
    with model.session(window="rounds") as session:
        session.prefill("Hello")
        session.prefill("Hello")
        session.prefill(" the whole")
        text = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>user\nHello"
        ids = [*model.tokenize(text), *model.tokenize(" the whole")]
        assert session._open().ids().tolist() == ids
        assert session._open().n_rounds == 1  # the first message is no round, and is never forgotten
        session.reset()
        read(session, [tiny.sound(1, 1)])
        read(session, [tiny.sound(1, 1)])
        starts = (session._open().ids() == model.tokenize("<|im_start|>")[0]).sum()
        assert starts == 1


def test_an_answer_that_ends_its_speech_is_not_ended_twice(model: Model) -> None:
    end = model.tokenize("<|tts_eos|>")[0]
    with model.session() as session:
        for seed in range(200):
            session.reset()
            session.prefill("Hello")
            options = {**GREEDY, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed}
            written = session.generate(**options).result().token_ids
            session.prefill("Hello")
            ids = session._open().ids().tolist()
            assert ids.count(end) == max(1, written.count(end))
            if end in written:
                return
    pytest.fail("no answer said <|tts_eos|>")
