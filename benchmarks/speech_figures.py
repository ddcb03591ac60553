"""Which figures of speaking bench.py takes, and in what order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicpmo_cpp.bench.speech_work import SpeechWork

STEPS = (10, 5)  # of the flow: the file's own number, and half of it
VOICE_S = 3.0
RECORDING_S = 5.0
N_CONDITION = 10  # tokens of text
N_LONG_CONDITION = 923  # so that codes 26 to 125 see 1000 positions on average
N_WARM_CODE, N_CODE = 25, 100
N_WARM_WINDOW, N_WINDOW = 2, 5  # from the third window on the flow's memory is full

Ask = Callable[..., dict[str, Any]]
Add = Callable[[str, float], None]


def measure(ask: Ask, add: Add, work: SpeechWork, can_clone: bool) -> None:
    """One round: every figure once, each after a warm-up."""
    for figure, n_condition in (("speech codes", N_CONDITION), ("speech codes at 1000", N_LONG_CONDITION)):
        found = ask("codes", n_condition=n_condition, n_warm=N_WARM_CODE, n_code=N_CODE)
        add(figure, N_CODE / found["s"])
    for n_step in STEPS:
        _measure_sound(ask, add, work, n_step)
    if can_clone:
        ask("encode_voice", seconds=RECORDING_S)
        add("encode voice", ask("encode_voice", seconds=RECORDING_S)["s"])
    add("memory of speech", ask("memory")["peak_bytes"])


def _measure_sound(ask: Ask, add: Add, work: SpeechWork, n_step: int) -> None:
    steps = f"{n_step} steps"
    n_voice = round(VOICE_S * work.code_rate)
    ask("hear_voice", n_code=n_voice, n_step=n_step)
    seconds = ask("hear_voice", n_code=n_voice, n_step=n_step)["s"]
    add(f"hear voice {steps}", seconds)
    add(f"hear voice {steps} rate", work.of_voice(n_voice, n_step).n_op / seconds)

    found = ask("windows", n_step=n_step, n_warm=N_WARM_WINDOW, n_window=N_WINDOW)
    sound_s = work.chunk_codes / work.code_rate
    flop = {
        "flow": work.of_window_flow(N_WARM_WINDOW, n_voice, n_step).n_op,
        "vocoder": work.of_window_vocoder(N_WARM_WINDOW).n_op,
    }
    add(f"token2wav {steps}", found["s"] / sound_s)
    add(f"token2wav {steps} rate", sum(flop.values()) / found["s"])
    for part, count in flop.items():
        add(f"token2wav {steps} {part}", found[part] / sound_s)
        add(f"token2wav {steps} {part} rate", count / found[part])

    add(f"first window {steps}", ask("first_window", n_step=n_step)["s"])
    ask("first_audio", n_step=n_step, n_condition=N_CONDITION)
    add(f"first audio {steps}", ask("first_audio", n_step=n_step, n_condition=N_CONDITION)["s"])


def _figures() -> tuple[str, ...]:
    """In the order of the table."""
    found = ["speech codes", "speech codes at 1000"]
    for n_step in STEPS:
        part = f"token2wav {n_step} steps"
        found += [part, f"{part} flow", f"{part} vocoder"]
        found += [f"{part} rate", f"{part} flow rate", f"{part} vocoder rate"]
    for part in ("first window", "first audio"):
        found += [f"{part} {n_step} steps" for n_step in STEPS]
    for n_step in STEPS:
        found += [f"hear voice {n_step} steps", f"hear voice {n_step} steps rate"]
    return (*found, "encode voice", "memory of speech")


FIGURES = _figures()
