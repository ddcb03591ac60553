"""The side of a checkpoint that speaks: a language model of speech codes, files that give them a sound.

What the checkpoint holds decides which of two kinds it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from minicpmo_convert.checkpoint import Checkpoint
from minicpmo_convert.components import conditional_tts, dvae, tts
from minicpmo_convert.components.dvae import Dvae
from minicpmo_convert.components.vocos import Vocos
from minicpmo_convert.components.word_pieces import FOLDER as TOKENIZER
from minicpmo_convert.components.word_pieces import WordPieces
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.families import Family
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.token2wav import FOLDER, Token2wav
from minicpmo_convert.torch_file import TorchFile

VOCOS = Path("assets", "Vocos.pt")  # inside a checkpoint


class Speech(Protocol):
    @property
    def ignored(self) -> tuple[str, ...]:
        """What names of tensors begin with that are left in the checkpoint."""
        ...

    def describe(self) -> str: ...

    def modules(self) -> list[str]: ...

    def take_tensors(self) -> list[Tensor]: ...

    def write_keys(self, keys: Metadata) -> None: ...


def find_speech(
    checkpoint: Checkpoint, config: Facts, family: Family, n_embd_llm: int, folders: Sequence[Path]
) -> Speech:
    """`folders` hold files of token2wav beside the checkpoint's own."""
    if not conditional_tts.is_in(checkpoint):
        return FlowSpeech.find(checkpoint, config, family, n_embd_llm, folders)
    check(not folders, "[token2wav] expected speech codes of one code book for --token2wav, got several")
    return VocosSpeech.find(checkpoint, config, n_embd_llm)


@dataclass(frozen=True)
class VocosSpeech:
    """Speech of several code books. All of it: a checkpoint without its assets is refused."""

    checkpoint: Checkpoint
    config: Facts
    codes: dict[str, int]  # sizes of the language model
    tokenizer: WordPieces
    dvae: Dvae
    vocos: Vocos

    @classmethod
    def find(cls, checkpoint: Checkpoint, config: Facts, n_embd_llm: int) -> VocosSpeech:
        codes = conditional_tts.read_sizes(config, checkpoint, n_embd_llm)
        for path in (TOKENIZER, VOCOS):
            there = (checkpoint.folder / path).exists()
            check(there, f"[speech] expected {path} beside the weights, got none ({checkpoint.folder})")
        return cls(
            *(checkpoint, config, codes, WordPieces(checkpoint.folder / TOKENIZER)),
            Dvae(checkpoint, codes["n_vq"]),
            Vocos(TorchFile(checkpoint.folder / VOCOS)),
        )

    @property
    def ignored(self) -> tuple[str, ...]:
        """What only training and the way from sound to codes use."""
        return (*tts.IGNORED, *dvae.IGNORED)

    def describe(self) -> str:
        return f"speech: {self.codes['n_layer']} layers, {self.codes['n_vq']} code books, sound by vocos"

    def modules(self) -> list[str]:
        return ["tts", "dvae", "vocos"]

    def take_tensors(self) -> list[Tensor]:
        codes = conditional_tts.take_tensors(self.checkpoint, self.codes)
        return codes + self.dvae.take_tensors() + self.vocos.take_tensors()

    def write_keys(self, keys: Metadata) -> None:
        n_code = self.codes["n_code"] - 1
        check(self.dvae.n_code == n_code, f"[dvae] expected {n_code} codes, got {self.dvae.n_code}")
        n_mel = self.dvae.n_mel
        check(
            self.vocos.n_mel == n_mel,
            f"[vocos] expected {n_mel} bands as of the DVAE, got {self.vocos.n_mel}",
        )
        conditional_tts.write_keys(keys, self.config, self.codes)
        self.tokenizer.write_keys(keys, self.config, self.codes["n_text"])
        self.dvae.write_keys(keys)
        self.vocos.write_keys(keys)


@dataclass(frozen=True)
class FlowSpeech:
    """Speech of one code book, whose sound a flow makes.

    Either part may be absent. Sound is looked for if there is a language model of codes, or where told.
    """

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
    ) -> FlowSpeech:
        if family.speech is None:
            check(not folders, f"[speech] expected no files of speech with {family.title} (--token2wav)")
            return cls(checkpoint, config, None, None)
        codes = tts.read_sizes(config, checkpoint, n_embd_llm) if tts.is_in(checkpoint) else None
        sound = Token2wav.find(checkpoint.folder, folders) if codes or folders else None
        return cls(checkpoint, config, codes, sound)

    @property
    def ignored(self) -> tuple[str, ...]:
        return tts.IGNORED if self.codes is not None else (tts.PREFIX,)

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
