"""Spectra of training utterances on disk, in parts that are made once."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.lexicon import LANGUAGES, Language
from demo.sounds.mel import log_mel
from demo.sounds.utterance import make_utterance

PART = 250  # utterances in a file


def fill(folder: Path, count: int, n_mel: int, say: Callable[[str], None]) -> None:
    """Makes utterances 0 to `count` of both languages, half and half, but for the parts that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(-(-count // PART)):
        path = folder / f"part-{part:04d}.npz"
        if path.exists():
            continue
        made = [make_utterance("train", *_which(part * PART + i)) for i in range(PART)]
        mels = [log_mel(each.samples, n_mel).astype(np.float16) for each in made]
        texts = json.dumps([[each.text, each.language] for each in made], ensure_ascii=False)
        with (folder / "next").open("wb") as file:
            np.savez(file, mel=np.concatenate(mels, axis=1), n_frame=[m.shape[1] for m in mels], texts=texts)
        os.replace(folder / "next", path)
        say(f"{path}: {sum(m.shape[1] for m in mels) / 100:.0f} s")


class Library:
    """All parts in a folder, by length."""

    def __init__(self, folder: Path) -> None:
        self.texts: list[tuple[str, Language]] = []
        self.mels: list[NDArray[np.float16]] = []  # [n_mel, n_frame]
        for path in sorted(folder.glob("part-*.npz")):
            with np.load(path) as part:
                self.texts += [(text, language) for text, language in json.loads(str(part["texts"]))]
                self.mels += np.split(part["mel"], np.cumsum(part["n_frame"])[:-1], axis=1)
        if not self.mels:
            raise FileNotFoundError(f"[sounds] expected parts made by demo.data in {folder}, got none")
        lengths: dict[tuple[Language, int], list[int]] = defaultdict(list)
        for i, (mel, (_, language)) in enumerate(zip(self.mels, self.texts, strict=True)):
            lengths[language, mel.shape[1]].append(i)
        self._lengths = [each for _, each in sorted(lengths.items())]

    def draw(self, rng: np.random.Generator, n_frame: int) -> list[int]:
        """Numbers of utterances of one language and one length, about `n_frame` frames together."""
        weights = np.array([len(each) for each in self._lengths], float)
        alike = self._lengths[rng.choice(len(weights), p=weights / weights.sum())]
        wanted = max(1, n_frame // self.mels[alike[0]].shape[1])
        return [alike[i] for i in rng.permutation(len(alike))[:wanted]]


def _which(number: int) -> tuple[Language, int]:
    return LANGUAGES[number % 2], number // 2
