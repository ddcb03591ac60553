"""Voices of espeak-ng, some of them never heard in training, and a sentence said by one."""

from __future__ import annotations

import io
import subprocess
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.lexicon import Language
from demo.split import Split

RATE = 16000  # Hz
UNIT = 3200  # samples: so utterances of one length can be learned from side by side
_TONGUES: dict[Language, str] = {"en": "en-us", "zh": "cmn"}
_TIMBRES: dict[Split, tuple[str, ...]] = {
    "train": (
        "",
        "m1",
        "m2",
        "m4",
        "m5",
        "m7",
        "f1",
        "f2",
        "f4",
        "Annie",
        "Andy",
        "Michael",
        "linda",
        "steph",
    ),
    "held_out": ("m3", "m6", "f3", "f5", "belinda", "david"),
}
_SPEEDS: dict[Split, tuple[int, ...]] = {"train": (125, 140, 165, 180, 195), "held_out": (132, 152, 172, 188)}
_PITCHES: dict[Split, tuple[int, ...]] = {"train": (30, 40, 55, 65), "held_out": (35, 48, 60)}


@dataclass(frozen=True)
class Voice:
    timbre: str  # espeak-ng's variant; "" is its plain voice
    speed: int  # words a minute
    pitch: int  # 0 to 99


def draw_voice(rng: np.random.Generator, timbres: Split, manner: Split) -> Voice:
    """A timbre of one split, and speed and pitch of one: unseen voices, or seen ones that speak otherwise."""
    speeds, pitches, names = _SPEEDS[manner], _PITCHES[manner], _TIMBRES[timbres]
    return Voice(
        names[rng.integers(len(names))],
        speeds[rng.integers(len(speeds))],
        pitches[rng.integers(len(pitches))],
    )


def say(text: str, language: Language, voice: Voice, rate: int = RATE) -> NDArray[np.float32]:
    """Samples at `rate` Hz. Needs the program espeak-ng."""
    name = _TONGUES[language] + (f"+{voice.timbre}" if voice.timbre else "")
    command = ["espeak-ng", "-v", name, "-s", str(voice.speed), "-p", str(voice.pitch), "--stdout", text]
    done = subprocess.run(command, capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        said = file.getframerate()
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return resample(data.astype(np.float64) / 32768, said, rate)


def resample(samples: NDArray[np.float64], rate: int, wanted_rate: int) -> NDArray[np.float32]:
    """From one rate to another, by cutting the spectrum off, or filling it up with nothing."""
    n = round(len(samples) * wanted_rate / rate)
    spectrum = np.fft.rfft(samples)
    wanted = np.zeros(n // 2 + 1, complex)
    kept = min(len(spectrum), len(wanted))
    wanted[:kept] = spectrum[:kept]
    return (np.fft.irfft(wanted, n) * n / len(samples)).astype(np.float32)


def in_a_room(rng: np.random.Generator, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Louder or softer, with silence around and a little noise; a whole number of UNITs."""
    before, after = (int(n) for n in rng.integers(800, 4800, 2))
    after += -(len(samples) + before + after) % UNIT
    padded = np.pad(samples, (before, after))
    level = float(rng.uniform(0.3, 1.0)) / max(1e-4, float(np.abs(samples).max()))
    noise = rng.normal(0, 10 ** rng.uniform(-4.5, -2.5), len(padded))
    return np.clip(0.9 * level * padded + noise, -1.0, 1.0).astype(np.float32)
