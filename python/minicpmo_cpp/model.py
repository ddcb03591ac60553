"""Model: one model file, opened once and shared by all conversations on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minicpmo_cpp import _core
from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.answer import END_OF_SPEECH, Answer
from minicpmo_cpp.config import Config
from minicpmo_cpp.media import to_pixels
from minicpmo_cpp.messages import parse_messages
from minicpmo_cpp.options import flag, generate_options, integer, prompt_options
from minicpmo_cpp.session import Session
from minicpmo_cpp.tokenizer import to_ids
from minicpmo_cpp.types import ChatOptions, ChatResult, Forward, Messages, Prompt

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Model:
    """An open model file. Immutable, so several threads may use one.

    Example:
        >>> model = Model.load("minicpm-o-4_5-q4_k_m.gguf")
        >>> print(model.chat([{"role": "user", "content": [Path("cat.jpg"), "What is in the image?"]}]).text)
    """

    def __init__(self, engine: _core.Model, *, load_s: float = 0.0, allow_remote: bool = False) -> None:
        """Wraps an engine model; users call load()."""
        self._engine: _core.Model | None = engine
        self.load_s = load_s
        self.allow_remote = allow_remote  # whether http(s) URLs of images are fetched
        self.config = Config(engine.describe())
        ids = engine.tokenize(END_OF_SPEECH)
        self.end_of_speech = ids[0] if len(ids) == 1 else None

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        n_threads: int = 0,
        allow_remote: bool = False,
    ) -> Model:
        """Opens a GGUF file.

        Args:
            path: the file, as minicpmo-convert writes it.
            device: "auto", "cpu" or a name of devices().
            n_threads: of the CPU; 0 means all cores.
            allow_remote: whether messages may name images by http(s) URL.

        Raises:
            ModelFileError: the file is missing, damaged or no model.
            UnsupportedModelError: the file is sound and this build cannot run it.
        """
        if not isinstance(device, str):
            raise TypeError(f"[model] expected the name of a device, got {device!r} (device)")
        n_threads, allow_remote = integer("n_threads", n_threads), flag("allow_remote", allow_remote)
        begin = time.perf_counter()
        engine = _core.Model.load(os.fsdecode(path), device=device, n_threads=n_threads)
        return cls(engine, load_s=time.perf_counter() - begin, allow_remote=allow_remote)

    def tokenize(self, text: str, parse_special: bool = True) -> list[int]:
        """Text -> ids. parse_special: whether "<|im_end|>" and its like mean themselves or are plain text."""
        return self._open().tokenize(text, parse_special)

    def detokenize(self, ids: Sequence[int] | NDArray[Any], skip_special: bool = False) -> str:
        """Ids -> text; bytes that are no UTF-8 become U+FFFD."""
        return self._open().detokenize(to_ids(ids), skip_special)

    def encode_image(self, image: Any, max_slice_nums: int | None = None) -> NDArray[np.float32]:
        """One picture as the language model sees it.

        Args:
            image: anything that media.to_pixels takes.
            max_slice_nums: most slices, 1 to 64; the model's own number if None.

        Returns:
            float32 [n_slice, n_query, n_embd], the overview first.
        """
        max_slices = None if max_slice_nums is None else integer("max_slice_nums", max_slice_nums)
        return self._open().encode_image(to_pixels(image, allow_remote=self.allow_remote), max_slices)

    def build_prompt(
        self,
        messages: Messages,
        *,
        enable_thinking: bool = False,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        use_tts_template: bool = False,
        omni_mode: bool = False,
        parse_special: bool = False,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """What chat() with the same arguments would read, pictures encoded."""
        options = prompt_options(
            enable_thinking=enable_thinking,
            max_slice_nums=max_slice_nums,
            use_image_id=use_image_id,
            use_tts_template=use_tts_template,
            omni_mode=omni_mode,
            parse_special=parse_special,
            add_generation_prompt=add_generation_prompt,
        )
        parsed = parse_messages(messages, is_whole=True, allow_remote=self.allow_remote)
        return Prompt(*self._open().build_prompt(parsed, options))

    def forward(self, ids: ArrayLike | None = None, embeds: ArrayLike | None = None) -> Forward:
        """The language model over a whole sequence, without any state.

        Args:
            ids: integers [n], or
            embeds: floats [n, n_embd], such as build_prompt().embeds.
        """
        ids = None if ids is None else np.asarray(to_ids(ids), dtype=np.int32)
        embeds = None if embeds is None else np.ascontiguousarray(embeds, dtype=np.float32)
        return Forward(*self._open().forward(ids=ids, embeds=embeds))

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = ..., **options: Unpack[ChatOptions]
    ) -> ChatResult: ...

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Answer: ...

    def chat(
        self,
        messages: Messages,
        *,
        max_new_tokens: int = 4096,
        temperature: float = 0.7,
        top_p: float = 0.8,
        top_k: int = 100,
        min_p: float = 0.0,
        repetition_penalty: float = 1.02,
        seed: int | None = None,
        enable_thinking: bool = False,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        use_tts_template: bool = False,
        omni_mode: bool = False,
        parse_special: bool = False,
        ignore_stop: bool = False,
        return_hidden: bool = False,
        n_ctx: int = 0,
        kv_type: str | None = None,
        stream: bool = False,
    ) -> ChatResult | Answer:
        """Answers a whole conversation.

        Args:
            messages: a str, which a user says, or a list of {"role", "content"}; see messages.parse_messages.
            max_new_tokens: most tokens of the answer.
            temperature: 0 takes the likeliest token, always.
            top_p: the likeliest tokens that together have this probability stay.
            top_k: so many of the likeliest tokens stay; 0 keeps all.
            min_p: tokens below this share of the likeliest one's probability go.
            repetition_penalty: 1 means none; above, tokens of the answer so far become less likely.
            seed: the same seed gives the same answer; None draws one.
            enable_thinking: lets the model think first, inside <think> and </think>.
            max_slice_nums: most slices of one picture, 1 to 64; the model's own number if None.
            use_image_id: whether pictures are numbered; the model's own way if None.
            use_tts_template: begins the answer as one to be spoken.
            omni_mode: joins the parts of a message without newlines.
            parse_special: whether special tokens in the text count as such.
            ignore_stop: goes on after stop tokens.
            return_hidden: the result also has the states of the answer's tokens.
            n_ctx: most tokens of the conversation; 0 means what the model was trained for.
            kv_type: "f32", "f16", "bf16" or "q8_0"; None chooses by the weights.
            stream: returns an iterator of pieces, which joined are the text, once the prompt is read.

        Raises:
            ContextFullError: prompt and answer need more than n_ctx tokens.
        """
        is_stream = flag("stream", stream)
        reading = prompt_options(
            enable_thinking=enable_thinking,
            max_slice_nums=max_slice_nums,
            use_image_id=use_image_id,
            use_tts_template=use_tts_template,
            omni_mode=omni_mode,
            parse_special=parse_special,
        )
        saying = generate_options(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            enable_thinking=enable_thinking,
            use_tts_template=use_tts_template,
            ignore_stop=ignore_stop,
            return_hidden=return_hidden,
        )
        parsed = parse_messages(messages, is_whole=True, allow_remote=self.allow_remote)
        session = self.session(n_ctx=n_ctx, kv_type=kv_type)
        session._prefill_chat(parsed, reading)
        answer = session._begin(saying)
        return answer if is_stream else answer.result()

    def session(self, *, n_ctx: int = 0, kv_type: str | None = None) -> Session:
        """A conversation that keeps what it has read; n_ctx and kv_type as in chat()."""
        return Session(self, n_ctx=n_ctx, kv_type=kv_type)

    def close(self) -> None:
        """Lets go of the file; its memory is freed when the last session on it is."""
        self._engine = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.config['name']} on {self.config['device']}>"

    def _open(self) -> _core.Model:
        engine = self._engine
        if engine is None:
            raise MiniCPMOError("[model] expected an open model, got a closed one")
        return engine
