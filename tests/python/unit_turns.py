"""What a tiny MiniCPM-o 2.6 sees and hears second by second, in tests and by the oracle: two turns of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import conditional_speech
import numpy as np
from member_checkpoints import N_EMBD as N_EMBD
from member_checkpoints import write_member
from numpy.typing import NDArray

RATE, N_GREEDY = 16000, 30
Samples = NDArray[np.float32]


def write_checkpoint(folder: Path) -> Path:
    """The member with the token that opens a unit, and with its speech."""
    extra = {"tts_config": conditional_speech.tts_config()}
    tensors = conditional_speech.speech_tensors()
    write_member("o-2.6", folder, extra, tensors, more_tokens=("<unit>", "</unit>"))
    conditional_speech.write_assets(folder)
    return folder


def sound(seed: int, seconds: float) -> Samples:
    """float32 [n] at 16 kHz: a tone that wanders, noise, and changes of loudness."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(RATE * seconds)) / RATE
    tone = np.sin(2 * np.pi * (220 + 90 * np.sin(2.3 * time + seed)) * time)
    loudness = 0.02 + 0.4 * np.abs(np.sin(0.7 * time + seed))
    return (loudness * (tone + 0.1 * rng.standard_normal(len(time)))).astype(np.float32)


def voice() -> Samples:
    """A recording to imitate."""
    return sound(1, 2.3)


def long_sound() -> Samples:
    """Longer than the encoder has positions for."""
    return sound(2, 32)


def units() -> list[list[Any]]:
    """A frame and a second each, the last one short: <unit>, uint8 [112, 112, 3], float32 [n]."""
    return _units(3, 3.4)


def more_units() -> list[list[Any]]:
    """The same of the second turn, which ends with words."""
    return [*_units(4, 2), ["What is it?"]]


def _units(seed: int, seconds: float) -> list[list[Any]]:
    heard = sound(seed, seconds)
    pieces = [heard[at : at + RATE] for at in range(0, len(heard), RATE)]
    return [["<unit>", _picture(100 * seed + i), piece] for i, piece in enumerate(pieces)]


def _picture(seed: int) -> NDArray[np.uint8]:
    """Of the size that the tower takes, so that nothing is resized."""
    down, across = np.mgrid[:112, :112]
    waves = np.stack([np.sin(down / (7 + c) + seed) + np.cos(across / (9 + c)) for c in range(3)], -1)
    noise = np.random.default_rng(seed).standard_normal((112, 112, 3))
    return np.clip(128 + 45 * waves + 20 * noise, 0, 255).astype(np.uint8)
