"""What the package hands out: plain values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # [h, w, 3], C-contiguous
Samples: TypeAlias = NDArray[np.float32]  # [n], mono, 16 kHz, nominally in [-1, 1], C-contiguous
Messages: TypeAlias = Any  # one str, or a list of {"role", "content"}; messages.py checks it


class Packed(NamedTuple):
    """Frames of a video that a model with positions in time sees as one picture."""

    frames: list[Pixels]  # of one size, 1 to 16
    times: list[int]  # of each, in tenths of a second; -1 for none


class Piece(str):
    """A streamed piece of an answer: a str that knows its token, or sound.

    `token_id` is -1 for what closes a character whose bytes never became complete. The text is empty while a
    character is incomplete. A piece of sound is an empty str with `audio`, float32 [n] at the answer's
    sample_rate; all others have None there.
    """

    __slots__ = ("audio", "token_id")
    audio: Samples | None
    token_id: int

    def __new__(cls, text: str, token_id: int = -1, audio: Samples | None = None) -> Piece:
        piece = super().__new__(cls, text)
        piece.token_id = token_id
        piece.audio = audio
        return piece

    @property
    def text(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound with its rate, for where an array alone would be 16 kHz mono or a picture."""

    samples: Any  # array [n], [n, channels] or [channels, n]; floats in [-1, 1], or int16, int32, uint8
    sample_rate: int = 16000


class Progress(NamedTuple):
    """How far the running prefill is; readable from any thread."""

    n_slice_done: int
    n_slice: int
    n_audio_done: int  # tokens of sound
    n_audio: int
    n_token_done: int
    n_token: int


@dataclass(frozen=True)
class Timings:
    """Where the time of one turn went. Decoding counts the steps after the first token."""

    load_s: float = 0.0  # opening the model file
    vision_s: float = 0.0  # encoding the pictures
    n_slice: int = 0
    n_slice_found: int = 0  # of these, that the model had encoded before
    audio_s: float = 0.0  # encoding the sound
    n_audio: int = 0  # tokens of it
    n_audio_found: int = 0  # of these, that the model had encoded before
    heard_s: float = 0.0  # its length
    prefill_s: float = 0.0  # reading the prompt, pictures and sound encoded
    n_prompt: int = 0  # tokens of it that were read
    n_reused: int = 0  # tokens of it beside those that the conversation held already
    first_token_s: float = 0.0  # from the beginning of the answer, the prompt read
    decode_s: float = 0.0
    n_decoded: int = 0
    n_drafted: int = 0  # guesses of tokens, with draft_tokens
    n_confirmed: int = 0  # of these, that were right: so many of n_decoded took no pass of their own

    @property
    def prefill_tok_per_s(self) -> float:
        return self.n_prompt / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def decode_tok_per_s(self) -> float:
        return self.n_decoded / self.decode_s if self.decode_s > 0 else 0.0


@dataclass(frozen=True)
class SpeechTimings:
    """Where the time of speaking went. Codes, flow and vocoder compute at the same time."""

    voice_s: float = 0.0  # hearing the voice; next to nothing if it was used before
    codes_s: float = 0.0  # text to speech codes
    flow_s: float = 0.0  # codes to spectra
    vocoder_s: float = 0.0  # spectra to samples
    first_sample_s: float = 0.0  # from the first words to the first samples
    n_code: int = 0
    n_sample: int = 0
    sample_rate: int = 0

    @property
    def audio_s(self) -> float:
        """Length of what was said."""
        return self.n_sample / self.sample_rate if self.sample_rate > 0 else 0.0

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of computing for a second of sound."""
        return (self.codes_s + self.flow_s + self.vocoder_s) / self.audio_s if self.n_sample > 0 else 0.0


@dataclass(frozen=True)
class ChatResult:
    """A whole answer. str(result) is its text."""

    text: str
    token_ids: list[int]
    timings: Timings
    stop_reason: str  # "stop", "length" or "interrupted"
    # With return_hidden, float32 [n, n_embd]: row i is the state after the final norm when token i of the
    # answer was read. The last token of an answer that ended without a stop token was not read: it has none.
    hidden: NDArray[np.float32] | None = None
    # With audio=True:
    audio: Samples | None = None  # at sample_rate
    sample_rate: int = 0
    speech_timings: SpeechTimings | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class Prompt:
    """Messages as the decoder reads them."""

    text: str  # rendered, pictures as "<image>./</image>", sound as "<audio>./</audio>"
    ids: NDArray[np.int32]  # [n]; <unk> where a picture or sound goes
    embeds: NDArray[np.float32]  # [n, n_embd], pictures and sound included


@dataclass(frozen=True, eq=False)
class Forward:
    """What the language model computes for a sequence."""

    logits: NDArray[np.float32]  # [n_vocab] of the last row
    hidden: NDArray[np.float32]  # [n, n_embd] after the final norm


class ChatOptions(TypedDict, total=False):
    """Keywords of Model.chat, `stream` aside; their defaults stand there."""

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    seed: int | None
    enable_thinking: bool
    max_slice_nums: int | None
    use_image_id: bool | None
    use_tts_template: bool | None
    omni_mode: bool | None
    stream_input: bool
    parse_special: bool
    ignore_stop: bool
    return_hidden: bool
    draft_tokens: int
    n_ctx: int
    kv_type: str | None
    audio: bool
    voice: Any
    voice_prompt: str | None
    language: str | None
    n_steps: int | None
    speech_seed: int | None
