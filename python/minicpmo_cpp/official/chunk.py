"""Chunks: an answer as the official streaming_generate hands it out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minicpmo_cpp.answer import Answer
from minicpmo_cpp.types import ChatResult, Samples

if TYPE_CHECKING:
    from typing_extensions import Self


class OmniOutput(tuple[Any, Any]):
    """Words and sound: a pair, as MiniCPM-o 4.5 has it, with the names that 2.6 has.

    The pair is (waveform [1, n], text) where there is sound, else (text, is_finished). `text`, `audio_wav`
    (float32 [n], or None) and `sampling_rate` (in Hz, or 0) are attributes and keys.
    """

    text: str
    audio_wav: Samples | None
    sampling_rate: int

    @classmethod
    def spoken(cls, samples: Samples, sampling_rate: int, text: str) -> Self:
        output = cls((tensor(samples[None]), text))
        output.text, output.audio_wav, output.sampling_rate = text, samples, sampling_rate
        return output

    @classmethod
    def written(cls, text: str, is_finished: bool) -> Self:
        output = cls((text, is_finished))
        output.text, output.audio_wav, output.sampling_rate = text, None, 0
        return output

    @classmethod
    def of(cls, result: ChatResult) -> Self:
        """A whole answer."""
        if result.audio is None:
            return cls.written(result.text, result.stop_reason == "stop")
        return cls.spoken(result.audio, result.sample_rate, result.text)

    def __getitem__(self, key: Any) -> Any:
        return vars(self)[key] if isinstance(key, str) else super().__getitem__(key)


def chunks(answer: Answer) -> Iterator[OmniOutput]:
    """Of a spoken answer sound as it is ready, with the text since the last one; else text as it is written.

    The last chunk of written text has none, and says whether the answer was finished.
    """
    return _spoken(answer) if answer.sample_rate else _written(answer)


def tensor(array: Any) -> Any:
    """A torch tensor where the program has imported torch, which then shares the memory; else the array.

    Importing torch takes seconds, so a program that does without it is not made to.
    """
    torch = sys.modules.get("torch")
    return array if torch is None else torch.from_numpy(array)


def _spoken(answer: Answer) -> Iterator[OmniOutput]:
    text = ""
    for piece in answer:
        if piece.audio is None:
            text += piece.text
        else:
            yield OmniOutput.spoken(piece.audio, answer.sample_rate, text)
            text = ""
    if text:  # that no sound follows
        yield OmniOutput.spoken(np.zeros(0, np.float32), answer.sample_rate, text)


def _written(answer: Answer) -> Iterator[OmniOutput]:
    for piece in answer:
        if piece.text:
            yield OmniOutput.written(piece.text, False)
    yield OmniOutput.written("", answer.stop_reason == "stop")
