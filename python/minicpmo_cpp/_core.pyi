"""
The C++ engine. Use minicpmo_cpp; this module's names may change.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "AudioStream",
    "BookDecoder",
    "BookWriter",
    "ChunkEncoder",
    "CodeDecoder",
    "CodeGenerator",
    "CodeState",
    "ContextFullError",
    "DuplexSampling",
    "DuplexSession",
    "DuplexSnapshot",
    "DuplexStream",
    "FlowProbe",
    "GenerateOptions",
    "GenerationInterruptedError",
    "MiniCPMOError",
    "Model",
    "ModelFileError",
    "PromptOptions",
    "Session",
    "SessionLimitError",
    "SessionSnapshot",
    "SpeechDecoder",
    "SpokenAnswer",
    "Tokenizer",
    "UnitRules",
    "UnitSpeechRules",
    "UnsupportedModelError",
    "Vocoder",
    "Voice",
    "VoiceParts",
    "dequantize",
    "devices",
    "encode_audio",
    "encode_voice",
    "has_voices",
    "log_mel",
    "logits_of_codes",
    "mel_of_codes",
    "memory_plan",
    "multiply_in_registers",
    "plan_memory",
    "quantize",
    "remember_voice",
    "resample",
    "sample_rate",
    "system_prompt",
    "tts_condition",
    "tts_forward",
    "type_info",
    "voice",
    "voices",
    "wave_of_mel",
    "word_pieces",
]

class MiniCPMOError(RuntimeError):
    """
    What the engine could not do; the message says what was expected and what was found.
    """

class ModelFileError(MiniCPMOError):
    pass

class UnsupportedModelError(MiniCPMOError):
    pass

class ContextFullError(MiniCPMOError):
    pass

class SessionLimitError(MiniCPMOError):
    pass

class GenerationInterruptedError(MiniCPMOError):
    pass

class Tokenizer:
    """
    Text to the ids of one model and back, by byte pairs (Qwen2TokenizerFast) or sentence pieces.
    """
    @staticmethod
    def from_gguf(path: str) -> Tokenizer:
        """
        The tokenizer of a GGUF file.
        """
    def __init__(
        self,
        *,
        tokens: collections.abc.Sequence[str],
        types: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        merges: collections.abc.Sequence[str],
    ) -> None:
        """
        Of byte pairs: tokens by id; types as in GGUF (1 normal, 3 control, 4 user-defined, 5 unused); merges best first.
        """
    def decode(
        self,
        ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        skip_special: bool = False,
    ) -> str:
        """
        ids -> str; bytes that are no UTF-8 become U+FFFD.
        """
    def encode(self, text: str, parse_special: bool = True) -> list[int]:
        """
        str -> list of ids.
        """
    def find(self, token: str) -> int | None:
        """
        The id of a token as the vocabulary writes it, or None.
        """
    @property
    def n_vocab(self) -> int: ...

class PromptOptions:
    """
    How messages become a prompt.
    """

    add_generation_prompt: bool
    enable_thinking: bool
    omni: bool
    parse_special: bool
    stream_input: bool
    use_image_id: bool | None
    use_tts: bool | None
    def __init__(self) -> None: ...
    @property
    def max_slices(self) -> int | None: ...
    @max_slices.setter
    def max_slices(self, arg0: typing.SupportsInt | typing.SupportsIndex | None) -> None: ...

class Model:
    """
    An immutable model file on a device; sessions share it.
    """
    @staticmethod
    def load(
        path: str,
        *,
        parts: collections.abc.Sequence[str] = [],
        looks_around: bool = True,
        device: str = "auto",
        n_threads: typing.SupportsInt | typing.SupportsIndex = 0,
        max_sessions: typing.SupportsInt | typing.SupportsIndex = 0,
        batches_sessions: bool = False,
        modules: collections.abc.Sequence[str] | None = None,
        n_ctx: typing.SupportsInt | typing.SupportsIndex = 0,
        kv_type: str | None = None,
        checks_memory: bool = True,
        available: typing.SupportsInt | typing.SupportsIndex | None = None,
        copies_weights: bool = False,
        media_cache_bytes: typing.SupportsInt | typing.SupportsIndex = 134217728,
    ) -> Model:
        """
        Opens and checks a GGUF file, or a set of them; raises ModelFileError, and MemoryError for what does not fit.
        """
    def build_prompt(
        self, messages: list[tuple[str, list[typing.Any]]], options: PromptOptions
    ) -> tuple[str, numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float32]]:
        """
        [(role, [str | array])] -> (text, ids int32 [n], embeds float32 [n, n_embd])
        """
    def describe(self) -> dict[str, typing.Any]:
        """
        The facts of the file as a dict.
        """
    def detokenize(
        self,
        ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        skip_special: bool = False,
    ) -> str: ...
    def encode_image(
        self, pixels: numpy.ndarray, max_slices: typing.SupportsInt | typing.SupportsIndex | None = None
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        uint8 [h, w, 3] -> float32 [n_slice, n_query, n_embd]
        """
    def encode_patches(
        self,
        pixels: numpy.ndarray,
        max_slices: typing.SupportsInt | typing.SupportsIndex | None = None,
        slice: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        uint8 [h, w, 3] -> float32 [n_patch, n_embd_vision]: the vision tower alone, one slice
        """
    def forward(
        self,
        *,
        ids: typing.Annotated[numpy.typing.ArrayLike, numpy.int32] | None = None,
        embeds: typing.Annotated[numpy.typing.ArrayLike, numpy.float32] | None = None,
    ) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]:
        """
        ids int32 [n] or embeds float32 [n, n_embd] -> (logits float32 [n_vocab] of the last row, hidden [n, n_embd])
        """
    def prepare_image(
        self,
        pixels: numpy.ndarray,
        max_slices: typing.SupportsInt | typing.SupportsIndex | None = None,
        use_image_id: bool | None = None,
    ) -> dict[str, typing.Any]:
        """
        uint8 [h, w, 3] -> dict(grid (cols, rows) or None, target_sizes [(rows, cols)], patches float32 [n, 3, p, p] each, placeholder)
        """
    def tensors(self) -> list[tuple[str, list[int], str, int]]:
        """
        [(name, shape with the fastest dimension first, type, bytes)] of the file, in its order
        """
    def tokenize(self, text: str, parse_special: bool = True) -> list[int]: ...

class AudioStream:
    """
    Sound as it arrives to embeddings chunk by chunk. One thread at a time.
    """
    def __init__(self, model: Model, mode: str) -> None: ...
    def finish(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        What is left, shorter than a chunk; the stream is then as new.
        """
    def push(
        self, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n] mono at 16 kHz -> float32 [n_token, n_embd] of complete chunks
        """
    def reset(self) -> None:
        """
        Forgets what was heard.
        """
    @property
    def n_samples(self) -> int: ...

class ChunkEncoder:
    """
    The two halves of an AudioStream by themselves.
    """
    def __init__(self, model: Model, redundancy: typing.SupportsInt | typing.SupportsIndex = 0) -> None: ...
    def encode(
        self,
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        prefix: typing.SupportsInt | typing.SupportsIndex = 0,
        suffix: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n_frame, n_mel] -> float32 [n_token, n_embd]
        """
    def push(
        self, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], is_last: bool = False
    ) -> typing.Any:
        """
        float32 [n] -> (mel float32 [n_frame, n_mel], prefix, suffix: redundant frames) or None
        """
    @property
    def n_cached(self) -> int:
        """
        Encoder frames that the next chunk sees.
        """

class GenerateOptions:
    """
    How an answer is sampled.
    """

    enable_thinking: bool
    ends_with_speech: bool
    ignore_stop: bool
    is_speakable: bool
    keep_hidden: bool
    use_tts: bool | None
    def __init__(self) -> None: ...
    @property
    def length_penalty(self) -> float: ...
    @length_penalty.setter
    def length_penalty(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def max_new_tokens(self) -> int: ...
    @max_new_tokens.setter
    def max_new_tokens(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def min_p(self) -> float: ...
    @min_p.setter
    def min_p(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def n_draft(self) -> int: ...
    @n_draft.setter
    def n_draft(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def repetition_penalty(self) -> float: ...
    @repetition_penalty.setter
    def repetition_penalty(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def repetition_window(self) -> int: ...
    @repetition_window.setter
    def repetition_window(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def temperature(self) -> float: ...
    @temperature.setter
    def temperature(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def top_k(self) -> int: ...
    @top_k.setter
    def top_k(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def top_p(self) -> float: ...
    @top_p.setter
    def top_p(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None: ...

class SessionSnapshot:
    """
    A place in a conversation to come back to.
    """

class Session:
    """
    One conversation. One thread at a time; interrupt and progress from any.
    """
    def __init__(
        self,
        model: Model,
        *,
        n_ctx: typing.SupportsInt | typing.SupportsIndex = 0,
        kv_type: str | None = None,
        window: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
        | None = None,
    ) -> None: ...
    def answer_hidden(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n, n_embd]: row i is the state after the final norm with token i of the answer as input.
        """
    def begin(self, options: GenerateOptions) -> None:
        """
        Begins an answer.
        """
    def ids(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        int32 [n_past]: the token of each row, -1 where it is a picture's or a sound's.
        """
    def interrupt(self) -> None:
        """
        Stops what another thread computes; that call raises or ends its answer.
        """
    def load(self, path: str) -> None: ...
    def logits(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n_vocab], of the next token after all that was read.
        """
    def next(self) -> tuple[int, str] | None:
        """
        (id, text) or None at the end of the answer. An id of -1 closes a character that stayed incomplete.
        """
    def prefill(self, messages: list[tuple[str, list[typing.Any]]], options: PromptOptions) -> None:
        """
        Appends [(role, [str | array])] to the conversation.
        """
    def prefill_chat(self, messages: list[tuple[str, list[typing.Any]]], options: PromptOptions) -> None:
        """
        A whole conversation by the chat template; what the session holds of it already stays.
        """
    def prefill_stream(
        self, messages: list[tuple[str, list[typing.Any]]], options: PromptOptions, is_last: bool = False
    ) -> None:
        """
        The same; sound goes on from call to call.
        """
    def reset(self) -> None:
        """
        Forgets the conversation.
        """
    def rest(self) -> None:
        """
        Gives scratch memory back, which the next call takes anew.
        """
    def restore(self, snapshot: SessionSnapshot) -> None: ...
    def save(self, path: str) -> None: ...
    def snapshot(self) -> SessionSnapshot: ...
    def speaker(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n_embd]: the state that is the answer's voice, or nothing.
        """
    @property
    def kv_bytes(self) -> int: ...
    @property
    def n_ctx(self) -> int: ...
    @property
    def n_past(self) -> int: ...
    @property
    def n_rounds(self) -> int: ...
    @property
    def progress(self) -> tuple[int, int, int, int, int, int]:
        """
        (slices done, slices, audio tokens done, audio tokens, tokens done, tokens) of the running prefill.
        """
    @property
    def stop_reason(self) -> str: ...
    @property
    def timings(self) -> dict[str, typing.Any]: ...

class Voice:
    """
    What speech sounds like, taken from a recording.
    """
    @staticmethod
    def load(path: str) -> Voice:
        """
        Reads what save wrote.
        """
    def __init__(
        self,
        codes: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        pcm: typing.Annotated[numpy.typing.ArrayLike, numpy.int16] | None = None,
        name: str = "",
    ) -> None: ...
    def save(self, path: str) -> None:
        """
        Writes a GGUF file with this voice alone.
        """
    @property
    def codes(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        int32 [n]: speech codes
        """
    @property
    def mel(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [2 * n, n_mel]
        """
    @property
    def name(self) -> typing.Any: ...
    @property
    def pcm(self) -> numpy.typing.NDArray[numpy.int16]:
        """
        int16 [n]: the recording at 16 kHz; may be empty
        """
    @property
    def speaker(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n_speaker]
        """

class VoiceParts:
    """
    The parts of encode_voice by themselves.
    """
    def __init__(self, model: Model) -> None: ...
    def fbank(
        self, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n] at 16 kHz -> float32 [n_frame, n_mel], of the speaker encoder
        """
    def log_mel(
        self, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n] at 16 kHz -> float32 [n_frame, n_mel], of the speech tokenizer
        """
    def mel(
        self, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n] at the decoder's rate -> float32 [n_frame, n_mel], of the decoder
        """
    def speaker(
        self, fbank: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        float32 [n_frame, n_mel] -> float32 [n]
        """
    def tokens(
        self, mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
    ) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float32]]:
        """
        float32 [n_frame, n_mel] -> (codes int32 [n], states float32 [n, n_embd])
        """

class CodeState:
    """
    Where a CodeGenerator was.
    """

class CodeGenerator:
    """
    Speech codes of one turn. One thread at a time.
    """
    def __init__(
        self,
        model: Model,
        mode: str,
        *,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        temperature: typing.SupportsFloat | typing.SupportsIndex | None = None,
    ) -> None:
        """
        mode: chat, streaming or duplex
        """
    def clear_interrupt(self) -> None: ...
    def feed(
        self,
        text_ids: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        hidden: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        is_final: bool = False,
    ) -> None:
        """
        The next chunk: int32 [n], float32 [n, n_embd_llm]
        """
    def interrupt(self) -> None: ...
    def next(self) -> int | None:
        """
        The next code, or None where the chunk has ended.
        """
    def next_batch(self, n: typing.SupportsInt | typing.SupportsIndex = 25) -> tuple[list[int], bool] | None:
        """
        (codes, is_last), or None where more text is needed.
        """
    def reset(self, seed: typing.SupportsInt | typing.SupportsIndex = 0) -> None: ...
    def restore(self, state: CodeState) -> None: ...
    def snapshot(self) -> CodeState: ...
    @property
    def n_past(self) -> int: ...

class FlowProbe:
    """
    The flow by itself, codes to mel. Spectra and noise are float32 [n_frame, n_mel].
    """
    def __init__(self, model: Model) -> None: ...
    def encode(
        self, codes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]
    ) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]:
        """
        A whole piece -> (states [n_frame, n_embd], mu [n_frame, n_mel])
        """
    def generate(
        self,
        codes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        n_step: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def next(
        self,
        codes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        is_last: bool,
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        The mel frames of the next codes; noise is the whole table.
        """
    def start(
        self,
        prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        lookahead: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        n_step: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def velocity(
        self,
        x: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        mu: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        time: typing.SupportsFloat | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        -> float32 [n_frame, 2, n_mel]: with the conditions and without
        """

class Vocoder:
    """
    A model's vocoder by itself: mel frames to samples.
    """
    def __init__(self, model: Model, is_causal: bool) -> None: ...
    def excite(
        self,
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    ) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]:
        """
        float32 [n_frame, n_mel] -> (pitch in Hz [n_frame], excitation [n_sample]); noise as a table that is read round and round, or empty
        """
    def generate(
        self,
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        A whole utterance, float32 [n_frame, n_mel] -> float32 [n_sample]
        """
    def next(
        self,
        mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        is_last: bool,
        noise: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        The next chunk of a stream, float32 [n_frame, n_mel] -> float32 [n_sample]
        """
    def restart(self) -> None:
        """
        Begins a new stream.
        """
    @property
    def frame_length(self) -> int:
        """
        Samples of a frame.
        """
    @property
    def n_delay(self) -> int:
        """
        Frames that a stream lags behind.
        """

class CodeDecoder:
    """
    Speech codes to samples, of either kind.
    """

class SpeechDecoder(CodeDecoder):
    """
    Speech codes of one voice to samples. One thread at a time; interrupt from any.
    """
    def __init__(
        self,
        model: Model,
        voice: Voice,
        *,
        n_steps: typing.SupportsInt | typing.SupportsIndex = 0,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        has_noise: bool = True,
    ) -> None:
        """
        Hears the voice.
        """
    def begin(self, streams: bool = False) -> None:
        """
        A new turn.
        """
    def interrupt(self) -> None: ...
    def push(
        self, codes: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], is_last: bool = False
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        int32 [n] -> float32 [m]: the samples of the windows that are complete, at last all
        """
    @property
    def timings(self) -> dict[str, typing.Any]: ...

class SpokenAnswer:
    """
    An answer of a session, said as it is written. One thread at a time; interrupt from any.
    """
    def __init__(
        self,
        model: Model,
        session: Session,
        decoder: CodeDecoder,
        options: GenerateOptions,
        *,
        is_whole: bool,
        has_threads: bool = True,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> None: ...
    def interrupt(self) -> None: ...
    def next(self) -> tuple[int, str, numpy.typing.NDArray[numpy.float32] | None] | None:
        """
        (token id, text, None) or (-1, "", float32 [n] samples); None at the end.
        """
    @property
    def timings(self) -> dict[str, typing.Any]: ...

class BookWriter:
    """
    Codes of several code books for one turn. One thread at a time.
    """
    def __init__(
        self,
        model: Model,
        *,
        seed: typing.SupportsInt | typing.SupportsIndex = 0,
        temperature: typing.SupportsFloat | typing.SupportsIndex | None = None,
    ) -> None: ...
    def feed(
        self,
        text: str,
        speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        is_final: bool = False,
    ) -> None:
        """
        The next piece of text, and the voice, float32 [n_embd_llm].
        """
    def interrupt(self) -> None: ...
    def next_batch(self) -> tuple[numpy.typing.NDArray[numpy.int32], bool, bool] | None:
        """
        (codes int32 [n, n_book], is_last, ends_part), or None where more text is needed.
        """

class BookDecoder(CodeDecoder):
    """
    Codes of several code books to samples. One thread at a time; interrupt from any.
    """
    def __init__(self, model: Model) -> None: ...
    def begin(self, streams: bool) -> None:
        """
        A new turn.
        """
    def decode(
        self,
        codes: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        is_last: bool = False,
        ends_part: bool = False,
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        int32 [n, n_book] -> float32 [m]: the samples that are ready
        """

class DuplexSampling:
    """
    How the tokens of a unit are drawn.
    """

    scales_end_token: bool
    def __init__(self) -> None: ...
    @property
    def length_penalty(self) -> float: ...
    @length_penalty.setter
    def length_penalty(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def listen_scale(self) -> float: ...
    @listen_scale.setter
    def listen_scale(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def repetition_penalty(self) -> float: ...
    @repetition_penalty.setter
    def repetition_penalty(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def repetition_window(self) -> int: ...
    @repetition_window.setter
    def repetition_window(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def temperature(self) -> float: ...
    @temperature.setter
    def temperature(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...
    @property
    def top_k(self) -> int: ...
    @top_k.setter
    def top_k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def top_p(self) -> float: ...
    @top_p.setter
    def top_p(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...

class UnitRules:
    """
    What a unit may say.
    """

    last_token_decides: bool
    def __init__(self) -> None: ...
    @property
    def force_listen(self) -> int: ...
    @force_listen.setter
    def force_listen(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def max_characters(self) -> int: ...
    @max_characters.setter
    def max_characters(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def max_tokens(self) -> int: ...
    @max_tokens.setter
    def max_tokens(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...

class UnitSpeechRules:
    """
    How a unit is said.
    """

    fills_units: bool
    finishes_turns: bool
    hurries_always: bool
    def __init__(self) -> None: ...
    @property
    def n_steps(self) -> int: ...
    @n_steps.setter
    def n_steps(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def seed(self) -> int: ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def temperature(self) -> float: ...
    @temperature.setter
    def temperature(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None: ...

class DuplexSnapshot:
    """
    A place in a conversation to come back to.
    """

class DuplexSession:
    """
    A conversation in both directions at once. One thread at a time; interrupt from any.
    """
    def __init__(
        self,
        model: Model,
        *,
        n_ctx: typing.SupportsInt | typing.SupportsIndex = 0,
        kv_type: str | None = None,
        window: str = "off",
        window_tokens: tuple[
            typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
        ] = (8000, 6000),
        max_units: typing.SupportsInt | typing.SupportsIndex = 24,
        max_previous: typing.SupportsInt | typing.SupportsIndex = 500,
        sampling: DuplexSampling = ...,
        rules: UnitRules = ...,
        has_speech: bool = True,
        speech: UnitSpeechRules = ...,
    ) -> None: ...
    def interrupt(self) -> None:
        """
        Cuts speech. Any thread.
        """
    def load(self, path: str) -> None: ...
    def prepare(
        self,
        prefix: str,
        suffix: str,
        reference: typing.Annotated[numpy.typing.ArrayLike, numpy.float32] | None = None,
        voice: Voice | None = None,
    ) -> None:
        """
        Begins a conversation.
        """
    def restore(self, snapshot: DuplexSnapshot) -> None: ...
    def save(self, path: str) -> None: ...
    def set_rules(self, rules: UnitRules) -> None:
        """
        Of the units to come.
        """
    def set_sampling(self, sampling: DuplexSampling) -> None:
        """
        Of the units to come.
        """
    def snapshot(self) -> DuplexSnapshot: ...
    def step(
        self,
        audio: typing.Annotated[numpy.typing.ArrayLike, numpy.float32] | None = None,
        frames: collections.abc.Sequence[
            tuple[numpy.ndarray, typing.SupportsInt | typing.SupportsIndex]
        ] = [],
        text: str = "",
        force_listen: bool = False,
    ) -> dict[str, typing.Any]:
        """
        One unit; frames are (uint8 [h, w, 3], most slices).
        """
    def trace_unit(
        self,
        model: Model,
        audio: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        frames: collections.abc.Sequence[
            tuple[numpy.ndarray, typing.SupportsInt | typing.SupportsIndex]
        ] = [],
    ) -> dict[str, typing.Any]:
        """
        What the language model reads and writes in a unit; nothing is said.
        """
    @property
    def is_speaking(self) -> bool: ...
    @property
    def kv_bytes(self) -> int: ...
    @property
    def n_ctx(self) -> int: ...
    @property
    def n_past(self) -> int: ...
    @property
    def n_units(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def unit_samples(self) -> int: ...

class DuplexStream:
    """
    A DuplexSession that runs by itself. Any thread may push, one may take.
    """
    def __init__(self, session: DuplexSession) -> None: ...
    def finish(self) -> None:
        """
        No more comes.
        """
    def next(self) -> dict[str, typing.Any] | None:
        """
        The next unit, waited for; None after the last.
        """
    def poll(self) -> dict[str, typing.Any] | None:
        """
        The next unit or None.
        """
    def push_audio(
        self,
        samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        timeout: typing.SupportsFloat | typing.SupportsIndex | None = None,
    ) -> bool:
        """
        float32 [n]; False if there was no room in time: nothing was taken then
        """
    def push_frame(
        self, image: numpy.ndarray, max_slices: typing.SupportsInt | typing.SupportsIndex = 1
    ) -> None: ...

def dequantize(
    blocks: numpy.typing.NDArray[numpy.uint8],
    type: str,
    n_col: typing.SupportsInt | typing.SupportsIndex,
    n_threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    The values that blocks of a ggml type stand for.

    Args:
        blocks: uint8 [n_row, row_bytes], C-contiguous.
        type: name of the type as ggml prints it, in any case.
        n_col: values in a row.
        n_threads: threads to share the rows; 0 means all processors.

    Returns:
        float32 [n_row, n_col].
    """

def devices() -> list[str]:
    """
    Names that `device` accepts beside "auto" and "cpu".
    """

def encode_audio(
    model: Model,
    samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    chunk_seconds: typing.SupportsFloat | typing.SupportsIndex | None = None,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    float32 [n] mono at 16 kHz -> float32 [n_token, n_embd]; blocks of attention of so many seconds, None for full attention
    """

def encode_voice(
    model: Model, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], name: str = ""
) -> Voice:
    """
    float32 [n] mono at 16 kHz -> Voice
    """

def has_voices(model: Model) -> bool:
    """
    Whether it speaks in voices of recordings; else, if at all, as its prompt sounds.
    """

def log_mel(
    model: Model, samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
) -> numpy.typing.NDArray[numpy.float32]:
    """
    float32 [n], at most 30 s -> float32 [n_frame, n_mel]
    """

def logits_of_codes(
    model: Model,
    text: str,
    speaker: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    codes: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
) -> numpy.typing.NDArray[numpy.float32]:
    """
    An utterance in a voice, float32 [n_embd_llm], with given codes, int32 [n, n_book] -> logits float32 [n + 1, n_book, n_code]
    """

def mel_of_codes(
    model: Model, codes: typing.Annotated[numpy.typing.ArrayLike, numpy.int32]
) -> numpy.typing.NDArray[numpy.float32]:
    """
    int32 [n, n_book] -> log-mel float32 [n_frame, n_mel]
    """

def memory_plan(model: Model) -> dict[str, typing.Any]:
    """
    What the model was loaded for, as plan_memory has it.
    """

def multiply_in_registers(type: str, n_round: typing.SupportsInt | typing.SupportsIndex) -> tuple[str, int]:
    """
    Products of "float32" or "int8" that touch no memory -> (the instructions that computed them, how many operations they were: two a multiply-add). The interpreter is free meanwhile.
    """

def plan_memory(
    path: str,
    *,
    parts: collections.abc.Sequence[str] = [],
    looks_around: bool = True,
    device: str = "auto",
    max_sessions: typing.SupportsInt | typing.SupportsIndex = 0,
    modules: collections.abc.Sequence[str] | None = None,
    n_ctx: typing.SupportsInt | typing.SupportsIndex = 0,
    kv_type: str | None = None,
    checks_memory: bool = True,
    available: typing.SupportsInt | typing.SupportsIndex | None = None,
    copies_weights: bool = False,
) -> dict[str, typing.Any]:
    """
    What Model.load would plan of the same arguments: a dict of needs [(name, bytes mapped, allocated, on the device)] and what there is.
    """

def quantize(
    values: numpy.typing.NDArray[numpy.float32],
    type: str,
    n_threads: typing.SupportsInt | typing.SupportsIndex = 0,
    importance: typing.Annotated[numpy.typing.ArrayLike, numpy.float32] | None = None,
) -> numpy.typing.NDArray[numpy.uint8]:
    """
    Rows of float32 as blocks of a ggml type.

    Args:
        values: float32 [n_row, n_col], C-contiguous and finite; n_col a multiple of the type's block size.
        type: name of the type as ggml prints it, in any case: "q4_k", "q8_0", "f16".
        n_threads: threads to share the rows; 0 means all processors.
        importance: float32 [n_col], 0 and above: errors in a column weigh as much. None weighs by the values.

    Returns:
        uint8 [n_row, row_bytes].
    """

def remember_voice(
    model: Model, voice: Voice, n_steps: typing.SupportsInt | typing.SupportsIndex
) -> dict[str, typing.Any]:
    """
    Voice -> dict of float32 arrays: what the flow keeps of it, in the layout of published files
    """

def resample(
    samples: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    from_rate: typing.SupportsInt | typing.SupportsIndex,
    to_rate: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    float32 [n] -> float32 [m]
    """

def sample_rate(model: Model) -> int:
    """
    Of what it speaks, in Hz.
    """

def system_prompt(has_reference_audio: bool, mode: str, language: str) -> list[str | None]:
    """
    The official system prompt as parts: str, and None where the reference audio goes.
    """

def tts_condition(
    model: Model,
    text_ids: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    hidden: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    tail: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
) -> numpy.typing.NDArray[numpy.float32]:
    """
    int32 [n], float32 [n, n_embd_llm], text ids alone -> input rows float32 [n + n_tail, n_embd]
    """

def tts_forward(
    model: Model,
    text_ids: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    hidden: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    codes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> numpy.typing.NDArray[numpy.float32]:
    """
    A whole utterance with given codes -> logits float32 [n_code + 1, n_vocab]
    """

def type_info(type: str) -> tuple[int, int]:
    """
    (values in a block, bytes of a block) of a ggml type.
    """

def voice(model: Model, name: str) -> Voice:
    """
    A voice of the file; "" is its first.
    """

def voices(model: Model) -> list[str]:
    """
    The names of the voices in the file.
    """

def wave_of_mel(
    model: Model, mel: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]
) -> numpy.typing.NDArray[numpy.float32]:
    """
    float32 [n_frame, n_mel] -> float32 [n_sample]
    """

def word_pieces(model: Model, text: str) -> list[int]:
    """
    What is said of a text, as ids.
    """

__version__: str = "0.1.0"
