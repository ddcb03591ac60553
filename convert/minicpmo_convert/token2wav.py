"""The files that turn speech codes into sound: flow, vocoders, and what hears the voice to speak with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minicpmo_convert.components import flow, speaker, speech_tokenizer, vocoder
from minicpmo_convert.components.flow import Flow
from minicpmo_convert.components.speaker import Speaker
from minicpmo_convert.components.speech_tokenizer import SpeechTokenizer
from minicpmo_convert.components.vocoder import Generator
from minicpmo_convert.error import check
from minicpmo_convert.facts import Facts
from minicpmo_convert.metadata import Metadata
from minicpmo_convert.onnx_file import OnnxFile
from minicpmo_convert.tensor import Tensor
from minicpmo_convert.torch_file import TorchFile
from minicpmo_convert.yaml_facts import read_yaml, section

FOLDER = Path("assets", "token2wav")  # inside a checkpoint


@dataclass(frozen=True)
class Vocoder:
    generator: Generator
    sizes: vocoder.Sizes
    config: Facts


@dataclass(frozen=True)
class Token2wav:
    flow: Flow
    vocoders: list[Vocoder]
    tokenizer: SpeechTokenizer | None
    speaker: Speaker | None

    @classmethod
    def find(cls, checkpoint: Path, folders: Sequence[Path]) -> Token2wav | None:
        """From the checkpoint's own folder and the given ones; nothing where no flow is."""
        for folder in folders:
            check(folder.is_dir(), f"[token2wav] expected a folder, got {folder}")
        places = [checkpoint / FOLDER, *folders]
        paths = [place / flow.FILE for place in places if (place / flow.FILE).exists()]
        if not paths:
            check(not folders, f"[token2wav] expected the file {flow.FILE}, got none ({folders})")
            return None
        tokenizer, encoder = _first(places, speech_tokenizer.FILE), _first(places, speaker.FILE)
        return cls(
            Flow(TorchFile(paths[0]), read_yaml(paths[0].with_name(flow.CONFIG))),
            _find_vocoders(places),
            SpeechTokenizer(OnnxFile(tokenizer)) if tokenizer else None,
            Speaker(OnnxFile(encoder)) if encoder else None,
        )

    def describe(self) -> str:
        kinds = ", ".join(vocoder.prefix_of(each.sizes) for each in self.vocoders)
        missing = [
            name
            for name, part in ((speech_tokenizer.FILE, self.tokenizer), (speaker.FILE, self.speaker))
            if part is None
        ]
        return f"sound by {kinds}" + (f", no {' and no '.join(missing)}" if missing else "")

    def modules(self) -> list[str]:
        return ["t2w", *["s3"] * (self.tokenizer is not None), *["spk"] * (self.speaker is not None)]

    def take_tensors(self) -> list[Tensor]:
        tensors = self.flow.take_tensors()
        for each in self.vocoders:
            tensors += vocoder.take_tensors(each.generator, each.sizes)
        for part in (self.tokenizer, self.speaker):
            tensors += part.take_tensors() if part is not None else []
        return tensors

    def write_keys(self, keys: Metadata, config: Facts) -> None:
        self.flow.write_keys(keys, section(config, "tts_config"))
        keys.texts("minicpmo.t2w.vocoders", [vocoder.prefix_of(each.sizes) for each in self.vocoders])
        for each in self.vocoders:
            n_mel = self.flow.encoder["n_mel"]
            check(
                each.sizes.n_mel == n_mel,
                f"[token2wav] expected a vocoder of {n_mel} bands, got {each.sizes.n_mel} "
                f"({each.generator.path.name})",
            )
            vocoder.write_keys(keys, each.sizes, each.config)
        if self.tokenizer is not None:
            self.tokenizer.write_keys(keys)
        if self.speaker is not None:
            self.speaker.write_keys(keys)
            n_out, n_speaker = self.speaker.n_out, self.flow.encoder["n_speaker"]
            check(
                n_out == n_speaker,
                f"[token2wav] expected a voice of {n_speaker} numbers, got {n_out} ({speaker.FILE})",
            )


def _first(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).exists()), None)


def _find_vocoders(places: Sequence[Path]) -> list[Vocoder]:
    """The original one and the causal one, whatever their files are called."""
    found: dict[bool, Vocoder] = {}
    for path in (place / name for place in places for name in vocoder.FILES):
        if not path.exists():
            continue
        generator = Generator(TorchFile(path))
        config = read_yaml(path.with_name(vocoder.CONFIG))
        sizes = vocoder.read_sizes(generator, config)
        check(
            sizes.causal not in found,
            f"[token2wav] expected a vocoder of a kind, got a second {vocoder.prefix_of(sizes)} ({path})",
        )
        found[sizes.causal] = Vocoder(generator, sizes, config)
    check(len(found) > 0, f"[token2wav] expected {' or '.join(vocoder.FILES)}, got neither ({places[0]})")
    return [found[causal] for causal in sorted(found)]
