"""Full duplex, and turns that are streamed, through the package."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minicpmo_cpp import (
    ContextFullError,
    DuplexChunk,
    DuplexSession,
    MiniCPMOError,
    Model,
    ModelFileError,
    SessionLimitError,
    UnsupportedModelError,
)

SECOND = 16000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo() -> Model:
    with resources.as_file(resources.files("minicpmo_cpp") / "data" / "demo.gguf") as path:
        return Model.load(path, n_threads=1)


def sound(seed: int, n: int = SECOND) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def talk(session: DuplexSession, seeds: Iterator[int] | range) -> list[DuplexChunk]:
    return [session.step(sound(seed), [picture(seed)] if seed % 2 else []) for seed in seeds]


def facts(chunks: list[DuplexChunk]) -> list[tuple[Any, ...]]:
    return [
        (c.unit, c.is_listen, c.text, c.end_of_turn, tuple(c.token_ids), c.n_past, c.listen_probability)
        for c in chunks
    ]


def said(chunks: list[DuplexChunk]) -> list[bytes]:
    return [b"" if chunk.audio is None else chunk.audio.tobytes() for chunk in chunks]


def test_a_unit_has_text_sound_and_times(demo: Model) -> None:
    with demo.duplex(seed=1) as session:
        session.prepare("Talk.")
        chunks = talk(session, range(4))
        assert [chunk.unit for chunk in chunks] == [0, 1, 2, 3]
        assert session.unit == 4
        assert session.n_past == chunks[-1].n_past
        spoken = [chunk for chunk in chunks if not chunk.is_listen]
        assert spoken, "a random model speaks"
        for chunk in spoken:
            assert chunk.audio is not None
            assert chunk.audio.dtype == np.float32
            assert chunk.sample_rate == 24000
            assert len(chunk.audio) >= 24000
            assert np.isfinite(chunk.audio).all()
            assert chunk.timings.total_s > chunk.timings.decode_s > 0
        assert chunks[1].timings.vision_s > 100 * chunks[0].timings.vision_s


def test_the_same_seed_says_the_same(demo: Model) -> None:
    runs = []
    for _ in range(2):
        with demo.duplex(seed=7) as session:
            session.prepare()
            runs.append(talk(session, range(4)))
    assert facts(runs[0]) == facts(runs[1])
    assert said(runs[0]) == said(runs[1])


def test_conversations_side_by_side_are_each_as_alone(demo: Model) -> None:
    alone = []
    for seed in (1, 2):
        with demo.duplex(seed=seed) as session:
            session.prepare()
            alone.append(talk(session, range(seed, seed + 4)))
    with demo.duplex(seed=1) as a, demo.duplex(seed=2) as b:
        a.prepare()
        b.prepare()
        together: list[list[DuplexChunk]] = [[], []]
        for i in range(4):
            together[0] += talk(a, range(1 + i, 2 + i))
            together[1] += talk(b, range(2 + i, 3 + i))
    for one, other in zip(alone, together, strict=True):
        assert facts(one) == facts(other)
        assert said(one) == said(other)


def test_restoring_repeats_what_followed(demo: Model) -> None:
    with demo.duplex(seed=3) as session:
        session.prepare()
        talk(session, range(3))
        snapshot = session.snapshot()
        first = talk(session, range(3, 6))
        for _ in range(2):
            session.restore(snapshot)
            again = talk(session, range(3, 6))
            assert facts(again) == facts(first)
            assert said(again) == said(first)
        with demo.duplex() as other:
            other.prepare()
            with pytest.raises(ValueError, match="snapshot"):
                other.restore(snapshot)


def test_a_saved_conversation_goes_on_in_another_process(demo: Model, tmp_path: Path) -> None:
    path = tmp_path / "talk.bin"
    with demo.duplex(seed=3) as session:
        session.prepare()
        talk(session, range(3))
        session.save(path)
        expected = talk(session, range(3, 5))
    script = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "python")!r})
from importlib import resources
from minicpmo_cpp import Model
from test_duplex import facts, said, talk
with resources.as_file(resources.files("minicpmo_cpp") / "data" / "demo.gguf") as demo:
    session = Model.load(demo, n_threads=1).duplex(seed=9)
session.load({str(path)!r})
chunks = talk(session, range(3, 5))
print(repr((facts(chunks), [s.hex() for s in said(chunks)])))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr((facts(expected), [s.hex() for s in said(expected)]))


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_damaged_conversations_are_refused(demo: Model, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "talk.bin"
    with demo.duplex(seed=3) as session:
        session.prepare()
        talk(session, range(1))
        session.save(path)
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ModelFileError, match=r"talk\.bin"):
            session.load(path)
        with pytest.raises(ValueError, match="prepare"):
            session.step(sound(1))
        session.prepare()
        assert talk(session, range(1))


def test_pushed_sound_gives_what_steps_give(demo: Model) -> None:
    with demo.duplex(seed=5) as session:
        session.prepare()
        expected = [session.step(sound(seed)) for seed in range(5)]
        session.prepare()
        whole = np.concatenate([sound(seed) for seed in range(5)])
        for begin in range(0, len(whole), 7000):
            session.push_audio(whole[begin : begin + 7000])
        session.finish()
        found = list(session.chunks())
        assert facts(found) == facts(expected)
        assert said(found) == said(expected)
        assert all(chunk.latency_s > 0 for chunk in found)
        session.step(sound(6))  # the stream has ended, and the conversation goes on


def test_a_last_short_second_is_filled_up(demo: Model) -> None:
    with demo.duplex(seed=5) as session:
        session.prepare()
        session.push_audio(sound(1, SECOND + 100))
        session.finish()
        assert len(list(session.chunks())) == 2


def test_chunks_can_be_awaited(demo: Model) -> None:
    async def listen(session: DuplexSession) -> list[int]:
        return [chunk.unit async for chunk in session]

    with demo.duplex(seed=5) as session:
        session.prepare()
        session.push_audio(sound(1, 3 * SECOND))
        session.finish()
        assert asyncio.run(listen(session)) == [0, 1, 2]


def test_one_thread_pushes_and_another_takes(demo: Model) -> None:
    with demo.duplex(seed=5) as session:
        session.prepare()

        def push() -> None:
            for seed in range(6):
                session.push_frame(picture(seed))
                session.push_audio(sound(seed), timeout=60)
            session.finish()

        thread = threading.Thread(target=push)
        thread.start()
        units = [chunk.unit for chunk in session.chunks()]
        thread.join()
        assert units == list(range(6))


def test_frames_go_before_sound_does(demo: Model) -> None:
    with demo.duplex(seed=5, audio=False) as session:
        session.prepare()
        for seed in range(20):
            session.push_frame(picture(seed))
            session.push_audio(sound(seed))
        session.finish()
        chunks = list(session.chunks())
        assert len(chunks) == 20
        assert sum(chunk.n_dropped_frames for chunk in chunks) > 0


def test_pushing_waits_no_longer_than_it_may(demo: Model) -> None:
    with demo.duplex(seed=5) as session:
        session.prepare()
        session.push_audio(sound(1, 40 * SECOND))  # more than may wait, so nothing else may
        with pytest.raises(TimeoutError, match="room"):
            session.push_audio(sound(2, 20 * SECOND), timeout=0)


def test_an_interruption_ends_the_turn(demo: Model) -> None:
    with demo.duplex(seed=1) as session:
        session.prepare()
        while not session.is_speaking:
            session.step(sound(1))
        session.interrupt()
        cut = session.step(sound(2))
        assert cut.is_listen
        assert cut.is_interrupted
        assert cut.end_of_turn
        assert cut.audio is None
        assert not session.is_speaking
        assert not session.step(sound(3)).is_interrupted


def test_forced_listening_says_nothing(demo: Model) -> None:
    with demo.duplex(seed=1, force_listen=2) as session:
        session.prepare()
        chunks = [session.step(sound(seed), force_listen=seed == 3) for seed in range(4)]
        assert [chunk.is_listen for chunk in chunks[:2]] == [True, True]
        assert chunks[3].is_listen
        assert chunks[3].audio is None


def test_a_refused_unit_changes_nothing(demo: Model) -> None:
    with demo.duplex(seed=4) as session, demo.duplex(seed=4) as other:
        for s in (session, other):
            s.prepare()
            talk(s, range(2))
        refusals: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"audio": sound(1, SECOND - 1)}, ValueError, "16000 samples"),
            ({"audio": sound(1) * np.float32(np.nan)}, ValueError, "finite"),
            ({}, ValueError, "nothing"),
            ({"audio": sound(1), "frames": [picture(1)], "max_slice_nums": 65}, ValueError, "1 to 64"),
            ({"audio": sound(1), "frames": [picture(1)], "max_slice_nums": [1, 1]}, ValueError, "1 frames"),
            ({"audio": sound(1), "frames": [np.zeros((0, 3, 3), np.uint8)]}, ValueError, "image"),
            ({"audio": sound(1), "text": 3}, TypeError, "text"),
        ]
        for unit, error, message in refusals:
            with pytest.raises(error, match=message):
                session.step(**unit)
        a, b = talk(session, range(2, 4)), talk(other, range(2, 4))
        assert facts(a) == facts(b)
        assert said(a) == said(b)


def test_a_full_context_refuses_and_a_window_goes_on(demo: Model) -> None:
    with demo.duplex(seed=4, n_ctx=160) as session:
        session.prepare()
        with pytest.raises(ContextFullError, match="window"):
            talk(session, range(20))
        n_past = session.n_past
        with pytest.raises(ContextFullError):
            session.step(sound(1), [picture(1)])
        assert session.n_past == n_past
    for window in ("basic", "context"):
        with demo.duplex(seed=4, n_ctx=600, window=window, max_units=3, max_previous=20) as session:
            session.prepare()
            chunks = talk(session, range(20))
            assert max(chunk.n_past for chunk in chunks) < 600
            assert sum(chunk.n_dropped_units for chunk in chunks) > 3


def test_what_fails_while_sound_is_pushed_is_raised_behind_the_units_before_it(demo: Model) -> None:
    with demo.duplex(seed=4, n_ctx=160) as session:
        session.prepare()
        session.push_audio(sound(1, 20 * SECOND))
        session.finish()
        units: list[int] = []

        def take() -> None:
            units.extend(chunk.unit for chunk in session.chunks())

        with pytest.raises(ContextFullError):
            take()
        assert units == list(range(session.unit))
        assert units
        session.prepare()
        assert session.step(sound(2)).unit == 0


def test_options_are_checked(demo: Model) -> None:
    for options, error in (
        ({"window": "sliding"}, ValueError),
        ({"window": "basic", "window_high": 10, "window_low": 20}, ValueError),
        ({"temperature": -1.0}, ValueError),
        ({"listen_scale": 0.0}, ValueError),
        ({"max_tokens_per_unit": 1}, ValueError),
        ({"n_steps": 0}, ValueError),
        ({"colour": "red"}, TypeError),
        ({"audio": 1}, TypeError),
    ):
        with pytest.raises(error):
            demo.duplex(**options)  # type: ignore[arg-type]


def test_options_change_between_units(demo: Model) -> None:
    with demo.duplex(seed=1, max_characters=0) as session:
        session.prepare()
        session.set_options(max_tokens_per_unit=4)
        assert len(session.step(sound(1)).token_ids) <= 5
        with pytest.raises(ValueError, match="top_p"):
            session.set_options(top_p=2.0)
        session.set_options(max_tokens_per_unit=20)
        assert max(len(session.step(sound(seed)).token_ids) for seed in range(3)) > 5


def test_a_model_that_cannot_hear_says_so(mute_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="hears"):
        Model.load(mute_path).duplex()


def test_only_so_many_conversations_at_a_time(demo: Model) -> None:
    with resources.as_file(resources.files("minicpmo_cpp") / "data" / "demo.gguf") as path:
        model = Model.load(path, n_threads=1, max_sessions=2)
    with model.session(), model.duplex():
        with pytest.raises(SessionLimitError, match="at most 2"):
            model.session()
    model.session().close()


def test_batched_conversations_say_what_single_ones_do(demo: Model) -> None:
    def answers(model: Model) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}

        def ask(i: int) -> None:
            with model.session(n_ctx=256) as session:
                session.prefill(f"Number {i}")
                options: dict[str, Any] = {"temperature": 0, "ignore_stop": True, "max_new_tokens": 12}
                found[i] = session.generate_text(**options).token_ids

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    with resources.as_file(resources.files("minicpmo_cpp") / "data" / "demo.gguf") as path:
        batched = Model.load(path, n_threads=1, batch_sessions=True)
    assert answers(batched) == answers(demo)


def test_one_thread_at_a_time(demo: Model) -> None:
    with demo.duplex(seed=1) as session:
        session.prepare()
        session.push_audio(sound(1))
        for call in (lambda: session.step(sound(1)), session.snapshot, lambda: session.save("nowhere")):
            with pytest.raises(MiniCPMOError, match="finish"):
                call()
    with pytest.raises(MiniCPMOError, match="closed"):
        session.step(sound(1))


def test_streamed_turns_may_be_cut_anyhow(demo: Model) -> None:
    whole = sound(1, 3 * SECOND + 5000)
    answers = []
    for n in (1000, 16000, 50000):
        with demo.session() as session:
            session.prefill([{"role": "system", "content": "Listen."}])
            for begin in range(0, len(whole), n):
                is_last = begin + n >= len(whole)
                content = [whole[begin : begin + n]]
                # A stream opens with silence unless its first piece is longer than a second.
                if begin == 0 and n > 16000:
                    content = [whole[:16000]]
                    session.prefill([{"role": "user", "content": content}], stream_audio=True)
                    content = [whole[16000:n]]
                session.prefill(
                    [{"role": "user", "content": content}], stream_audio=True, is_last_chunk=is_last
                )
            n_past = session.n_past
            result = session.generate_text(max_new_tokens=8, temperature=0, ignore_stop=True)
            answers.append((n_past, result.token_ids))
    assert answers[0] == answers[1] == answers[2]


def test_a_false_end_of_speech_can_be_taken_back(demo: Model) -> None:
    def pieces(session: Any, seeds: range, *, is_last: bool = False) -> None:
        for seed in seeds:
            message = {"role": "user", "content": [sound(seed)]}
            session.prefill([message], stream_audio=True, is_last_chunk=is_last and seed == seeds[-1])

    def answer(session: Any) -> list[int]:
        ids: list[int] = session.generate_text(max_new_tokens=8, seed=3, ignore_stop=True).token_ids
        return ids

    with demo.session() as session, demo.session() as other:
        pieces(session, range(2))
        before = session.snapshot()
        answer(session)
        session.restore(before)
        pieces(session, range(2, 4), is_last=True)
        pieces(other, range(4), is_last=True)
        assert session.n_past == other.n_past
        assert answer(session) == answer(other)


def test_rounds_leave_whole(demo: Model) -> None:
    with demo.session(window="rounds", window_high=200, window_low=120) as session:
        session.prefill([{"role": "system", "content": "Be brief."}])
        for i in range(12):
            session.prefill(f"Question number {i}, which is a little longer than it has to be.")
            session.generate_text(max_new_tokens=10, temperature=0, ignore_stop=True)
            assert session.n_past < 300


def test_saved_turns_go_on(demo: Model, tmp_path: Path) -> None:
    path = tmp_path / "turns.bin"
    options: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0, "ignore_stop": True}
    with demo.session() as session, demo.session() as other:
        session.prefill("One")
        session.generate_text(**options)
        session.save(path)
        other.load(path)
        for s in (session, other):
            s.prefill("Two")
        assert session.n_past == other.n_past
        assert session.generate_text(**options).token_ids == other.generate_text(**options).token_ids
        with demo.duplex() as duplex, pytest.raises(ModelFileError, match="kind"):
            duplex.load(path)
        (tmp_path / "x.bin").write_bytes(b"GGUF" * 100)
        with pytest.raises(ModelFileError, match="another file"):
            other.load(tmp_path / "x.bin")
        assert other.n_past == 0
