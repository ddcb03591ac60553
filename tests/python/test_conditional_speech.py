"""Speech of several code books against the official code, and the laws that streams of it obey."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conditional_speech as tiny
import numpy as np
import pytest
import soundfile
from checkpoint_folder import Folder, read_keys, read_values
from gguf import GGUFReader
from member_checkpoints import write_member
from minicpmo_convert.convert import convert
from minicpmo_convert.error import ConvertError
from minicpmo_convert.layouts.folder import write_folder
from minicpmo_cpp import Model, UnsupportedModelError, _core, plan_memory
from minicpmo_cpp.official import MiniCPMO
from minicpmo_cpp.parity.golden import relative_l2
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data" / "conditional_speech.npz"
# Two float32 implementations of the same small networks differ by rounding alone: 1e-6 of a value a layer.
LIMIT = 2e-5
Batch = tuple[Any, bool, bool]  # codes [n, n_book], is_last, ends_part


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    with np.load(DATA) as data:
        found = dict(data.items())
    return found | {"texts": json.loads(bytes(found["meta"]))}


def spell_every_byte(folder: Folder) -> None:
    """A vocabulary of GPT-2's byte alphabet, which loads; the other tokens follow it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    merged = ["ab", "abc", "<unk>"]
    folder.vocab = {token: i for i, token in enumerate([*letters, *merged])}
    folder.added = {token: 270 + i for i, token in enumerate(folder.added)}
    folder.settings["added_tokens_decoder"] = {
        str(i): {"content": token, "special": token not in ("<think>", "</think>")}
        for token, i in {**folder.added, "<unk>": folder.vocab["<unk>"]}.items()
    }


def speaking_folder(path: Path) -> Folder:
    """A tiny checkpoint whose LLM is of one member and whose speech is of another: facts decide."""
    folder = Folder(path)
    spell_every_byte(folder)
    folder.tensors |= tiny.speech_tensors()
    folder.config["tts_config"] = tiny.tts_config()
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny MiniCPM-o 2.6, all of it."""
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    write_member("o-2.6", folder, {"tts_config": tiny.tts_config()}, tiny.speech_tensors())
    tiny.write_assets(folder)
    return folder


@pytest.fixture(scope="module")
def file(checkpoint: Path) -> Path:
    target = checkpoint.parent / "model.gguf"
    convert(checkpoint, target, "f32")
    return target


@pytest.fixture(scope="module")
def engine(file: Path) -> Iterator[_core.Model]:
    model = Model.load(file)
    yield model._open()
    model.close()


@pytest.fixture(scope="module")
def speaker(oracle: dict[str, Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(oracle["speaker"][0])


def test_the_file_says_what_it_holds(file: Path) -> None:
    keys = read_keys(file)
    assert keys["minicpmo.modules"][-3:] == ["tts", "dvae", "vocos"]
    assert keys["minicpmo.tts.condition_type"] == "text_and_speaker"
    assert keys["minicpmo.tts.tokenizer.tokens"] == tiny.TOKENS
    names = read_values(file).keys()
    assert not [name for name in names if "encoder" in name or "project_in" in name]
    config = Model.load(file).config
    assert config["speech"]["n_book"] == 4
    assert config["speech"]["sample_rate"] == 24000


def test_codes_become_the_official_spectrum_and_wave(engine: _core.Model, oracle: dict[str, Any]) -> None:
    mel = _core.mel_of_codes(engine, np.ascontiguousarray(oracle["codes"].T))
    assert relative_l2(mel, oracle["mel"].T) < LIMIT
    wave = _core.wave_of_mel(engine, np.ascontiguousarray(oracle["mel"].T))
    assert len(wave) == len(mel) * tiny.HOP
    assert relative_l2(wave, oracle["wave"]) < LIMIT


@pytest.mark.parametrize("name", ["short", "long"])
def test_logits_equal_the_official_code(
    engine: _core.Model, oracle: dict[str, Any], speaker: NDArray[np.float32], name: str
) -> None:
    text = "".join(oracle["texts"][name])
    logits = _core.logits_of_codes(engine, text, speaker, oracle[f"{name}_codes"])
    assert relative_l2(logits[oracle[f"{name}_steps"]], oracle[f"{name}_logits"]) < LIMIT


def write(engine: _core.Model, pieces: list[str], speaker: Any, **options: Any) -> list[Batch]:
    """Every batch of a turn."""
    writer = _core.BookWriter(engine, **options)
    batches = []
    for i, piece in enumerate(pieces):
        writer.feed(piece, speaker, i + 1 == len(pieces))
        while (batch := writer.next_batch()) is not None:
            batches.append(batch)
    assert writer.next_batch() is None
    return batches


def sound(engine: _core.Model, batches: list[Batch], *, streams: bool) -> list[Any]:
    decoder = _core.BookDecoder(engine)
    decoder.begin(streams)
    pieces = [decoder.decode(codes, is_last, ends_part) for codes, is_last, ends_part in batches]
    return [piece for piece in pieces if len(piece)]


@pytest.mark.parametrize("name", ["short", "long", "numbers", "segments"])
def test_a_stream_equals_the_official_code(
    engine: _core.Model, oracle: dict[str, Any], speaker: NDArray[np.float32], name: str
) -> None:
    """Text in pieces, greedy codes, windows that overlap and fade: every code, and every piece of sound."""
    batches = write(engine, oracle["texts"][name], speaker, temperature=0)
    parts: list[Any] = [[]]
    for codes, _, ends_part in batches:
        if len(codes):
            parts[-1].append(codes)
        if ends_part and parts[-1]:
            parts.append([])
    assert parts.pop() == []
    expected = [oracle[key] for key in sorted(oracle) if key.startswith(f"{name}_stream_codes_")]
    assert len(parts) == len(expected)
    for i, part in enumerate(parts):
        n_seed = min(50, len(expected[i - 1])) if i > 0 else 0  # what a part goes on from
        np.testing.assert_array_equal(np.concatenate(part), expected[i][n_seed:])
    wave = np.concatenate(sound(engine, batches, streams=True))
    assert len(wave) == oracle[f"{name}_stream_sizes"].sum()
    assert relative_l2(wave, oracle[f"{name}_stream_wave"]) < LIMIT


def test_a_whole_answer_equals_the_official_code(
    engine: _core.Model, oracle: dict[str, Any], speaker: NDArray[np.float32]
) -> None:
    batches = write(engine, ["".join(oracle["texts"]["short"])], speaker, temperature=0)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), oracle["short_codes"])
    (wave,) = sound(engine, batches, streams=False)
    assert relative_l2(wave, oracle["short_wave"]) < LIMIT


def test_streamed_codes_equal_whole_ones(engine: _core.Model, speaker: NDArray[np.float32]) -> None:
    """How text is cut changes when it is said, not what: audio sees no more of it than it is meant to."""
    text = ["hello ", "good morning ", "the weather ", "will was ", "calm with ", "a light"]
    streamed = write(engine, text, speaker, seed=3)
    whole = write(engine, ["".join(text)], speaker, seed=3)
    first, second = (np.concatenate([b[0] for b in batches]) for batches in (streamed, whole))
    np.testing.assert_array_equal(first, second)
    other = np.concatenate([b[0] for b in write(engine, text, speaker, seed=4)])
    assert first.shape != other.shape or not np.array_equal(first, other)
    waves = [np.concatenate(sound(engine, streamed, streams=streams)) for streams in (True, False)]
    assert len(waves[0]) == len(waves[1]) == len(first) * 2 * tiny.HOP


def test_nothing_to_say_is_silence(engine: _core.Model, speaker: NDArray[np.float32]) -> None:
    batches = write(engine, [""], speaker)
    assert [(len(codes), is_last) for codes, is_last, _ in batches] == [(0, True)]
    assert sound(engine, batches, streams=True) == []


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello, wörld 9!", "hello , w ##o ##r ##l ##d 9 !"),
        ("UNABLE", "un ##able"),
        ("天气ab好", "天 气 a ##b 好"),
        ("a\u0000b\u200b\tc\u00a0d", "a ##b c d"),
        ("e\u0301 É", "e e"),
        ("[spk_emb]", "[ s ##p ##k _ e ##m ##b ]"),  # no text is a special token
        ("鬱 x" + "x" * 100, "[UNK] [UNK]"),
        ("İ", "i"),
        ("—“”", "[UNK] [UNK] [UNK]"),
    ],
)
def test_word_pieces(engine: _core.Model, text: str, pieces: str) -> None:
    """As tokenizers 0.21's BertNormalizer, BertPreTokenizer and WordPiece cut them, special ones apart."""
    assert [tiny.TOKENS[i] for i in _core.word_pieces(engine, text)] == pieces.split()


def test_hostile_codes_and_states_are_refused(engine: _core.Model, speaker: NDArray[np.float32]) -> None:
    good = np.zeros((3, 4), np.int32)
    for bad in (good[:, :3].copy(), good + 625, good - 1, good[:0]):
        with pytest.raises(ValueError, match="expected"):
            _core.mel_of_codes(engine, bad)
    for mel in (np.zeros((3, 9), np.float32), np.zeros((0, 10), np.float32)):
        with pytest.raises(ValueError, match=r"\[vocos\] expected"):
            _core.wave_of_mel(engine, mel)
    with pytest.raises(ValueError, match="speaker's state of 128 values, got 3"):
        write(engine, ["hello"], speaker[:3].copy())
    writer = _core.BookWriter(engine)
    writer.feed("hello", speaker, True)
    with pytest.raises(ValueError, match="no text after the final one"):
        writer.feed("hello", speaker)
    with pytest.raises(UnsupportedModelError, match="as its prompt sounds"):
        _core.CodeGenerator(engine, "chat")


def test_both_forms_of_the_tokenizer_are_read(tmp_path: Path, checkpoint: Path, file: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    tokenizer = folder / "assets" / "chattts_tokenizer"
    shutil.rmtree(tokenizer)
    tiny.write_tokenizer(tokenizer, is_fast=True)
    (tokenizer / "vocab.txt").unlink()
    convert(folder, tmp_path / "fast.gguf", "f32")
    keys = [read_keys(path) for path in (file, tmp_path / "fast.gguf")]
    assert keys[0] == keys[1]


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    def check(change: Any, message: str) -> None:
        folder = speaking_folder(tmp_path / f"{abs(hash(message))}")
        folder.write()
        tiny.write_assets(folder.path)
        change(folder)
        folder.write()
        with pytest.raises(ConvertError, match=message):
            convert(folder.path, tmp_path / "out.gguf", "f32")
        assert not (tmp_path / "out.gguf").exists()

    check(lambda f: (f.path / "assets" / "Vocos.pt").unlink(), r"expected assets/Vocos.pt beside the weights")
    check(lambda f: f.tensors.pop("tts.dvae.coef"), "tts.dvae.coef")
    check(lambda f: f.tensors.pop("tts.emb_code.3.weight"), r"tts.emb_code.3.weight")
    check(lambda f: f.config["tts_config"].update(num_text_tokens=7), "num_text_tokens")
    check(lambda f: f.config["tts_config"].update(spk_emb_token_id=1), "spk_emb_token_id")
    check(lambda f: f.config["tts_config"].update(use_llm_hidden_state=True), "use_llm_hidden_state")
    check(
        lambda f: (f.path / "assets" / "chattts_tokenizer" / "vocab.txt").write_text("[PAD]\n[UNK]\n"),
        r"\[word pieces\] expected ids of 0 to",
    )


# Whole answers


SHORT: dict[str, Any] = {"max_new_tokens": 12, "seed": 1, "ignore_stop": True}


@pytest.fixture(scope="module")
def model(file: Path) -> Iterator[Model]:
    with Model.load(file, n_threads=1) as model:
        yield model


def test_a_chat_speaks_as_its_prompt_sounds(model: Model) -> None:
    result = model.chat("Hello", audio=True, **SHORT)
    assert len(result.token_ids) == 12
    assert result.sample_rate == tiny.RATE
    assert result.audio is not None
    assert result.audio.dtype == np.float32
    assert np.isfinite(result.audio).all()
    assert 1e-3 < np.sqrt(np.mean(result.audio**2)) < 100  # magnitudes are at most 100 a bin
    spoken = result.speech_timings
    assert spoken is not None
    assert spoken.n_sample == len(result.audio) == spoken.n_code // 4 * 2 * tiny.HOP > 0
    again = model.chat("Hello", audio=True, **SHORT)
    np.testing.assert_array_equal(again.audio, result.audio)
    other = model.chat("Hello", audio=True, speech_seed=2, **SHORT)
    assert other.text == result.text
    assert not np.array_equal(other.audio, result.audio)


def test_the_text_and_the_voice_decide_what_sounds(model: Model, engine: _core.Model) -> None:
    """The sound is that of the text, three tokens at a time, in the voice of the state at <|spk|>."""
    messages = [{"role": "user", "content": "Hello"}]
    result = model.chat(messages, audio=True, speech_seed=5, **SHORT)
    prompt = model.build_prompt(messages, use_tts_template=True)
    spk = prompt.ids.tolist().index(model.tokenize("<|spk|>", parse_special=True)[0])
    states = model.forward(prompt.ids).hidden
    assert str(prompt.text).endswith("<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>")
    pieces = list(model.chat(messages, stream=True, use_tts_template=True, **SHORT))
    assert "".join(pieces) == result.text
    texts = ["".join(pieces[i : i + 3]) for i in range(0, len(pieces), 3)]
    batches = write(engine, texts, np.ascontiguousarray(states[spk]), seed=5)
    (wave,) = sound(engine, batches, streams=False)
    assert len(wave) == len(result.audio)
    # Sums of float32 in another order, from states on: the codes are the same.
    assert relative_l2(wave, result.audio) < LIMIT


def test_a_streamed_chat_says_what_a_whole_one_says(model: Model) -> None:
    whole = model.chat("Hello", audio=True, **SHORT)
    answer = model.chat("Hello", audio=True, stream=True, **SHORT)
    pieces = list(answer)
    sounds = [piece.audio for piece in pieces if piece.audio is not None]
    assert len(sounds) > 1
    assert "".join(pieces) == answer.text == whole.text
    streamed = np.concatenate(sounds)
    np.testing.assert_array_equal(streamed, answer.audio)
    # Windows of a stream see less of what comes; the codes are the same, and so is the length.
    assert len(streamed) == len(whole.audio)


def test_a_conversation_that_goes_on_speaks_like_a_fresh_one(file: Path) -> None:
    """Rows that are kept do not tell the voice: the state of the speaker's token is computed each time."""
    talk: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
    model, fresh = Model.load(file, n_threads=1), Model.load(file, n_threads=1, keep_conversation=False)
    with model, fresh:
        for turn in range(3):
            result = model.chat(talk, audio=True, **SHORT)
            expected = fresh.chat(talk, audio=True, **SHORT)
            assert (result.timings.n_reused > 0) == (turn > 0)
            assert expected.timings.n_reused == 0
            assert result.text == expected.text
            assert len(result.audio) == len(expected.audio)
            assert relative_l2(result.audio, expected.audio) < LIMIT
            silent = model.chat(talk, **SHORT)  # whose answer has no voice in front of it
            assert silent.audio is None
            again = model.chat(talk, audio=True, **SHORT)
            assert relative_l2(again.audio, expected.audio) < LIMIT
            talk += [
                {"role": "assistant", "content": result.text},
                {"role": "user", "content": f"And {turn}?"},
            ]


def test_sessions_speak_turn_by_turn(model: Model, tmp_path: Path) -> None:
    with model.session() as session:
        session.prefill("Hello")
        first = session.generate(audio=True, **SHORT).result()
        session.prefill("And now?")
        before = session.snapshot()
        session.save(tmp_path / "state")
        second = session.generate(audio=True, **SHORT).result()
        with model.session() as other:
            other.load(tmp_path / "state")
            np.testing.assert_array_equal(other.generate(audio=True, **SHORT).result().audio, second.audio)
        session.restore(before)
        np.testing.assert_array_equal(session.generate(audio=True, **SHORT).result().audio, second.audio)
        with pytest.raises(ValueError, match="as its prompt sounds"):
            session.generate(audio=True, voice=np.zeros(16000, np.float32), **SHORT)
    assert len(first.audio)
    assert len(second.audio)


def test_a_recording_to_imitate_is_part_of_the_prompt(model: Model) -> None:
    hum = (0.3 * np.sin(np.arange(24000) * 0.07)).astype(np.float32)
    plain = model.chat("Hello", audio=True, **SHORT)
    imitating = model.chat("Hello", audio=True, voice=hum, **SHORT)
    assert imitating.timings.n_prompt > plain.timings.n_prompt
    assert not np.array_equal(imitating.audio, plain.audio)
    spoken = model.speak("Good morning.", max_new_tokens=6, seed=1, ignore_stop=True)
    assert len(spoken.audio)


def test_what_it_cannot_do_is_refused(model: Model, file: Path) -> None:
    assert model.voices == []
    with pytest.raises(UnsupportedModelError, match="that speaks answers, as its prompt sounds"):
        model.encode_voice(np.zeros(16000, np.float32))
    with pytest.raises(UnsupportedModelError, match="expected a model with the tokens of full duplex"):
        model.duplex().prepare()
    with pytest.raises(ValueError, match="n_steps"):
        model.chat("Hello", audio=True, n_steps=3, **SHORT)
    with Model.load(file, modules=["vision"]) as silent:
        assert silent.config["modules"] == ("llm", "vision")
        with pytest.raises(UnsupportedModelError, match="got one loaded without speech"):
            silent.chat("Hello", audio=True, **SHORT)


def test_facts_decide_what_is_there(tmp_path: Path) -> None:
    """A language model of another member beside this speech, and no <|spk|> in its prompts."""
    folder = speaking_folder(tmp_path / "checkpoint")
    folder.write()
    tiny.write_assets(folder.path)
    convert(folder.path, tmp_path / "model.gguf", "f32")
    with Model.load(tmp_path / "model.gguf", n_threads=1) as model:
        with pytest.raises(UnsupportedModelError, match="front of an answer that is said"):
            model.chat("Hello", audio=True, **SHORT)
        assert len(model.chat("Hello", **SHORT).token_ids) == 12


def test_memory_is_planned_module_by_module(file: Path) -> None:
    plan = plan_memory(file, available_memory=2**40)
    needs = {need.name: need.mapped + need.allocated for need in plan.needs}
    sizes: dict[str, int] = {}
    for tensor in GGUFReader(file).tensors:
        first = tensor.name.split(".")[0]
        module = first if first in ("tts", "dvae", "vocos") else "others"
        sizes[module] = sizes.get(module, 0) + int(tensor.n_bytes)
    others = sizes.pop("others")
    assert {name: needs[name] for name in sizes} == sizes
    assert sum(needs[name] for name in ("llm", "vision", "audio")) == others
    assert {"work: tts", "stream: tts", "work: dvae", "work: vocos"} <= needs.keys()
    silent = plan_memory(file, available_memory=2**40, modules=["vision", "audio"])
    assert not [need.name for need in silent.needs if need.name.endswith(("tts", "dvae", "vocos"))]


def run_cli(*arguments: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minicpmo_cpp.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )


def test_the_command_line_writes_what_is_said(
    file: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    options = ("-p", "Hello", "--max-tokens", "12", "--seed", "1", "-t", "1")
    target = tmp_path / "x.wav"
    done = run_cli("-m", file, *options, "-o", target, "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    wave, rate = soundfile.read(target, dtype="float32")
    assert rate == tiny.RATE
    assert len(wave) == said["speech"]["n_sample"] > 0
    assert np.abs(wave).max() > 1e-3
    plan = run_cli("-m", file, *options, "-o", target, "--plan", environment=environment)
    assert plan.returncode == 0, plan.stderr
    assert {"dvae", "vocos"} <= {line.split()[0] for line in plan.stdout.splitlines()}
    text = run_cli("-m", file, *options, "--plan", environment=environment)
    assert "vocos" not in text.stdout
    refused = run_cli("-m", file, *options, "-o", target, "--speech-steps", "3", environment=environment)
    assert refused.returncode != 0
    assert "n_steps" in refused.stderr


@pytest.mark.parametrize("type_name", ["bf16", "q8_0", "q4_k_m", "q4_0"])
def test_every_size_speaks(checkpoint: Path, type_name: str, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model.gguf", type_name)
    types = {t.name: t.tensor_type.name for t in GGUFReader(tmp_path / "model.gguf").tensors}
    assert {kind for name, kind in types.items() if name.startswith(("dvae.", "vocos."))} == {"F32"}
    with Model.load(tmp_path / "model.gguf", n_threads=1) as model:
        result = model.chat("Hello", audio=True, **SHORT)
    assert len(result.audio)
    assert np.isfinite(result.audio).all()


def test_a_set_of_files_speaks_like_one(checkpoint: Path, model: Model, tmp_path: Path) -> None:
    """No layout is published for this speech: all of it is in the supplement."""
    write_folder(checkpoint, tmp_path / "set", "f32", "omni")
    with Model.load(tmp_path / "set", n_threads=1) as loaded:
        assert "speech" in loaded.config["modules"]
        result = loaded.chat("Hello", audio=True, **SHORT)
    expected = model.chat("Hello", audio=True, **SHORT)
    assert result.text == expected.text
    np.testing.assert_array_equal(result.audio, expected.audio)
    write_folder(checkpoint, tmp_path / "pair", "f32", "mmproj")
    with Model.load(tmp_path / "pair", n_threads=1) as pair:
        assert "speech" not in pair.config["modules"]
        with pytest.raises(UnsupportedModelError, match="without a voice"):
            pair.chat("Hello", audio=True, **SHORT)


def test_the_official_names_speak(model: Model, tmp_path: Path) -> None:
    official = MiniCPMO(model)
    said = official.chat(
        msgs=[{"role": "user", "content": ["Hello"]}],
        use_tts_template=True,
        generate_audio=True,
        output_audio_path=str(tmp_path / "said.wav"),
        max_new_tokens=12,
    )
    assert isinstance(said, str)
    wave, rate = soundfile.read(tmp_path / "said.wav")
    assert rate == tiny.RATE
    assert len(wave)
