"""One spoken sentence by its number in a split, as a microphone hears it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from demo.lexicon import Language
from demo.sounds.sentence import draw_sentence, is_new
from demo.sounds.voice import Voice, draw_voice, in_a_room, say
from demo.split import Split, rng_for, split_of_word

Set = Literal["seen voices", "unseen voices"]
SETS: tuple[Set, Set] = ("seen voices", "unseen voices")


@dataclass(frozen=True)
class Utterance:
    language: Language
    text: str
    voice: Voice
    samples: NDArray[np.float32]  # at 16 kHz


def plan(split: Split, language: Language, index: int, which: Set) -> tuple[str, Voice, np.random.Generator]:
    """What is said by whom. Held-out speeds and pitches are always new, sentences where there are many."""
    if split == "train" and which != "seen voices":
        raise ValueError("[sounds] expected seen voices in training, got unseen ones")
    rng = rng_for(split, f"utterance {language} {which}", index)
    while True:
        kind, text = draw_sentence(rng, language)
        if not is_new(kind, text) or split_of_word(text) == split:
            break
    return text, draw_voice(rng, "train" if which == "seen voices" else "held_out", split), rng


def make_utterance(split: Split, language: Language, index: int, which: Set = "seen voices") -> Utterance:
    """Needs the program espeak-ng."""
    text, voice, rng = plan(split, language, index, which)
    return Utterance(language, text, voice, in_a_room(rng, say(text, language, voice)))
