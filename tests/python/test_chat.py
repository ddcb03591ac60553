from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import minicpmo_cpp
import numpy as np
import pytest
from minicpmo_cpp import ContextFullError, MiniCPMOError, Model, ModelFileError, Piece

PICTURE = np.random.default_rng(1).integers(0, 256, (61, 97, 3), dtype=np.uint8)
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [PICTURE, "What is in the image?"]},
]


def test_pieces_joined_are_the_answer(model: Model) -> None:
    options = {"max_new_tokens": 40, "seed": 5, "ignore_stop": True}
    whole = model.chat(MESSAGES, **options)
    answer = model.chat(MESSAGES, stream=True, **options)
    pieces = list(answer)
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert "".join(pieces) == whole.text == answer.text == str(whole)
    assert [piece.token_id for piece in pieces if piece.token_id >= 0] == whole.token_ids == answer.token_ids
    assert len(whole.token_ids) == 40
    assert answer.stop_reason == whole.stop_reason == "length"
    assert model.detokenize(whole.token_ids) == whole.text


def test_the_same_seed_gives_the_same_answer(model: Model) -> None:
    first, second, other = [
        model.chat("Hi", max_new_tokens=16, ignore_stop=True, seed=seed) for seed in (1, 1, 2)
    ]
    assert first.token_ids == second.token_ids != other.token_ids
    drawn = {tuple(model.chat("Hi", max_new_tokens=16, ignore_stop=True).token_ids) for _ in range(3)}
    assert len(drawn) > 1


def test_temperature_zero_is_greedy(model: Model) -> None:
    first = model.chat("Hi", max_new_tokens=8, temperature=0, repetition_penalty=1, ignore_stop=True)
    second = model.chat("Hi", max_new_tokens=8, temperature=0, repetition_penalty=1, ignore_stop=True, seed=9)
    assert first.token_ids == second.token_ids
    prompt = model.build_prompt("Hi")
    ids = prompt.ids.tolist()
    for token in first.token_ids:
        assert token == int(model.forward(ids=ids).logits.argmax())
        ids.append(token)


def test_a_stop_token_ends_the_answer(model: Model) -> None:
    stop = set(model.config["stop_tokens"])
    for seed in range(200):
        answer = model.chat("Hi", max_new_tokens=64, seed=seed, temperature=2.0, top_p=1.0)
        if answer.stop_reason == "stop":
            break
    else:
        pytest.fail("no answer of 200 ended by itself")
    longer = model.chat("Hi", max_new_tokens=64, seed=seed, temperature=2.0, top_p=1.0, ignore_stop=True)
    n = len(answer.token_ids)
    assert longer.token_ids[:n] == answer.token_ids
    assert longer.token_ids[n] in stop
    assert not stop & set(answer.token_ids)


def test_text_ends_before_the_end_of_speech(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "seed": 5, "ignore_stop": True}
    whole = model.chat("Hi", **options)
    n = next(i for i in range(4, 12) if whole.token_ids[i] not in whole.token_ids[:i])
    monkeypatch.setattr(model, "end_of_speech", whole.token_ids[n])
    cut = model.chat("Hi", **options)
    assert cut.token_ids == whole.token_ids
    assert len(cut.text) < len(whole.text)
    assert whole.text.startswith(cut.text.rstrip("\ufffd"))
    assert "".join(model.chat("Hi", stream=True, **options)) == cut.text


def test_timings_count_what_was_done(model_path: Path) -> None:
    model = Model.load(model_path, n_threads=1)
    result = model.chat(MESSAGES, max_new_tokens=8, ignore_stop=True)
    timings = result.timings
    assert timings.n_slice == 1
    assert timings.n_prompt == len(model.build_prompt(MESSAGES).ids)
    assert timings.n_decoded == 7
    assert timings.load_s == model.load_s > 0
    assert min(timings.vision_s, timings.prefill_s, timings.first_token_s, timings.decode_s) > 0
    assert timings.prefill_tok_per_s == pytest.approx(timings.n_prompt / timings.prefill_s)
    assert timings.decode_tok_per_s == pytest.approx(7 / timings.decode_s)
    assert minicpmo_cpp.Timings().decode_tok_per_s == 0


def test_a_prompt_has_the_pictures_rows(model: Model) -> None:
    prompt = model.build_prompt(MESSAGES)
    n_query = model.config["vision"]["n_query"]
    unk = model.tokenize("<unk>")[0]
    places = np.flatnonzero(prompt.ids == unk)
    assert len(places) == n_query
    np.testing.assert_array_equal(prompt.embeds[places], model.encode_image(PICTURE)[0])
    assert "<image>./</image>" in prompt.text
    shorter = model.build_prompt(MESSAGES, add_generation_prompt=False)
    assert prompt.text.startswith(shorter.text)
    assert model.build_prompt("Hi", enable_thinking=True).text.endswith("<|im_start|>assistant\n")
    assert model.build_prompt("Hi", use_tts_template=True).text.endswith("<|tts_bos|>")
    assert "./</image>What" in model.build_prompt(MESSAGES, omni_mode=True).text
    n_id = len(prompt.ids) - len(model.build_prompt(MESSAGES, use_image_id=False).ids)
    assert n_id == len(model.tokenize("<image_id>0</image_id>"))


def test_special_tokens_of_a_user_are_text_unless_asked_for(model: Model) -> None:
    end = model.tokenize("<|im_end|>")[0]
    plain, parsed = [
        model.build_prompt("a<|im_end|>b", parse_special=parse).ids.tolist().count(end)
        for parse in (False, True)
    ]
    assert (plain, parsed) == (1, 2)


def test_forward_takes_ids_or_their_embeddings(model: Model) -> None:
    prompt = model.build_prompt("Hi")
    by_ids, by_embeds = model.forward(ids=prompt.ids.tolist()), model.forward(embeds=prompt.embeds)
    np.testing.assert_allclose(by_ids.logits, by_embeds.logits, rtol=1e-4, atol=1e-4)
    assert by_ids.hidden.shape == (len(prompt.ids), model.config["llm"]["n_embd"])
    assert by_ids.logits.shape == (model.config["llm"]["n_vocab"],)


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 20000), (2, 3000)])
def test_odd_pictures_work(model: Model, size: tuple[int, int]) -> None:
    width, height = size
    rows = model.encode_image(np.zeros((height, width, 3), np.uint8))
    assert rows.shape[1:] == (model.config["vision"]["n_query"], model.config["llm"]["n_embd"])
    assert np.isfinite(rows).all()


def test_a_picture_without_end_is_refused_in_words(model: Model) -> None:
    with pytest.raises(ValueError, match=r"^\[image\] expected"):
        model.encode_image(np.zeros((1, 1 << 24, 3), np.uint8))


def test_max_slice_nums_bounds_the_slices(model: Model) -> None:
    picture = np.zeros((900, 1200, 3), np.uint8)
    assert len(model.encode_image(picture, max_slice_nums=1)) == 1
    assert 1 < len(model.encode_image(picture, max_slice_nums=4)) <= 5
    with pytest.raises(ValueError, match="max_slice_nums"):
        model.encode_image(picture, max_slice_nums=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tempertaure": 0.5}, TypeError, "tempertaure"),
        ({"temperature": "hot"}, TypeError, r"expected a number, got 'hot' \(temperature\)"),
        ({"temperature": float("nan")}, ValueError, "temperature"),
        ({"temperature": -1}, ValueError, "temperature"),
        ({"top_p": 0}, ValueError, "top_p"),
        ({"top_k": 1.5}, TypeError, r"expected an integer, got 1\.5 \(top_k\)"),
        ({"top_k": -1}, ValueError, "top_k"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens"),
        ({"max_new_tokens": True}, TypeError, "max_new_tokens"),
        ({"max_new_tokens": 2**40}, ValueError, "max_new_tokens"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"enable_thinking": "no"}, TypeError, r"expected True or False, got 'no' \(enable_thinking\)"),
        ({"stream": 1}, TypeError, "stream"),
        ({"repetition_penalty": 0}, ValueError, "repetition_penalty"),
        ({"n_ctx": -1}, ValueError, "n_ctx"),
        ({"n_ctx": 10**9}, ValueError, "n_ctx"),
        ({"kv_type": "q9"}, ValueError, "q9"),
        ({"kv_type": "q4_k"}, ValueError, "q4_k|q4_K"),
        ({"max_slice_nums": 65}, ValueError, "max_slice_nums"),
    ],
)
def test_wrong_options_are_named(
    model: Model, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    messages = MESSAGES if "max_slice_nums" in options else "Hi"
    with pytest.raises(error, match=message):
        model.chat(messages, **{"max_new_tokens": 1, **options})


def test_a_context_too_small_is_an_error_and_not_a_crash(model: Model) -> None:
    with pytest.raises(ContextFullError, match="expected at most 32 tokens"):
        model.chat("word " * 100, n_ctx=32)
    answer = model.chat("Hi", n_ctx=32, max_new_tokens=100, ignore_stop=True, stream=True)
    with pytest.raises(ContextFullError):
        answer.result()
    assert len(answer.token_ids) == 32 - len(model.build_prompt("Hi").ids) + 1


@pytest.mark.parametrize("kv_type", ["f32", "f16", "bf16", "q8_0"])
def test_every_type_of_cache_answers(model: Model, kv_type: str) -> None:
    assert len(model.chat("Hi", kv_type=kv_type, max_new_tokens=4, ignore_stop=True).token_ids) == 4


def test_threads_share_one_model(model: Model) -> None:
    expected = [
        model.chat(MESSAGES, max_new_tokens=12, seed=seed, ignore_stop=True).text for seed in range(4)
    ]
    found: dict[int, str] = {}

    def work(seed: int) -> None:
        found[seed] = model.chat(MESSAGES, max_new_tokens=12, seed=seed, ignore_stop=True).text

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(4)] == expected


def test_a_closed_model_says_so_and_its_sessions_go_on(model_path: Path) -> None:
    with Model.load(model_path) as model:
        session = model.session()
    with pytest.raises(MiniCPMOError, match="closed"):
        model.chat("Hi")
    session.prefill("Hi")
    assert len(session.generate_text(max_new_tokens=2, ignore_stop=True).token_ids) == 2


def test_the_config_can_be_read_and_not_written(model: Model) -> None:
    config: Any = model.config
    assert config["llm"]["n_layer"] == dict(config)["llm"]["n_layer"] > 0
    assert "vision" in config
    assert "llm:\n  arch: " in repr(config)
    with pytest.raises(TypeError):
        config["llm"] = {}
    with pytest.raises(TypeError):
        config["llm"]["n_layer"] = 3


@pytest.mark.parametrize("content", [None, b"", b"no model", b"GGUF" + bytes(20)])
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"x\.gguf"):
        Model.load(path)


def test_an_unknown_device_is_refused(model_path: Path) -> None:
    with pytest.raises(ValueError, match="abacus"):
        Model.load(model_path, device="abacus")
    assert isinstance(minicpmo_cpp.devices(), list)
