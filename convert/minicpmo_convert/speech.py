"""The side of a checkpoint that speaks: a language model of speech codes, files that give them a sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import tts
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.token2wav import FOLDER, Token2wav


@dataclass(frozen=True)
class Speech:
    """Either part may be absent. Sound is looked for if there is a language model of codes, or where told."""

    checkpoint: Checkpoint
    config: Facts
    codes: dict[str, int] | None  # sizes of the language model
    sound: Token2wav | None

    @classmethod
    def find(
        cls,
        checkpoint: Checkpoint,
        config: Facts,
        family: Family,
        n_embd_llm: int,
        folders: Sequence[Path],
    ) -> Speech:
        if family.speech is None:
            check(not folders, f"[speech] expected no files of speech with {family.title} (--token2wav)")
            return cls(checkpoint, config, None, None)
        codes = tts.read_sizes(config, checkpoint, n_embd_llm) if tts.is_in(checkpoint) else None
        sound = Token2wav.find(checkpoint.folder, folders) if codes or folders else None
        return cls(checkpoint, config, codes, sound)

    def describe(self) -> str:
        if self.codes is None:
            why = "left out" if tts.is_in(self.checkpoint) else "the checkpoint holds none"
            codes = f"no speech codes: {why}"
        else:
            codes = f"speech: {self.codes['n_layer']} layers"
        if self.sound is not None:
            return f"{codes}, {self.sound.describe()}"
        return codes if self.codes is None else f"{codes}, no sound: no flow in {FOLDER}"

    def modules(self) -> list[str]:
        return [*["tts"] * (self.codes is not None), *(self.sound.modules() if self.sound else ())]

    def take_tensors(self) -> list[Tensor]:
        codes = tts.take_tensors(self.checkpoint, self.codes) if self.codes else []
        return codes + (self.sound.take_tensors() if self.sound else [])

    def write_keys(self, keys: Metadata) -> None:
        if self.codes is not None:
            tts.write_keys(keys, self.config, self.codes)
        if self.sound is not None:
            self.sound.write_keys(keys, self.config)
