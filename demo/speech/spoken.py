"""Sentences as what makes sound learns them: clean, at 24 kHz."""

from __future__ import annotations

import numpy as np

from demo.lexicon import LANGUAGES
from demo.sounds.utterance import plan
from demo.sounds.voice import say
from demo.speech.spectrum import RATE, Floats
from demo.split import Split


def spoken(split: Split, number: int) -> tuple[Floats, np.random.Generator]:
    """Samples of a sentence, louder or softer, and random numbers to go on with. Needs espeak-ng."""
    language = LANGUAGES[number % 2]
    text, voice, rng = plan(split, language, number // 2, "seen voices")
    said = say(text, language, voice, RATE)
    return said * np.float32(rng.uniform(0.3, 0.95) / max(1e-4, np.abs(said).max())), rng
