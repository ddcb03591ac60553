"""MiniCPMODuplex: live conversation with the official calls, over one DuplexSession."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minicpmo_cpp import _core
from minicpmo_cpp.audio import to_samples
from minicpmo_cpp.duplex import SYSTEM_PROMPT, DuplexSession
from minicpmo_cpp.official.breakable import Breakable
from minicpmo_cpp.official.options import check_fixed, drawn_at
from minicpmo_cpp.official.placement import Placed
from minicpmo_cpp.official.unit import refusal, silent_result, unit_result
from minicpmo_cpp.options import flag
from minicpmo_cpp.types import Samples
from minicpmo_cpp.voice import Voice

if TYPE_CHECKING:
    from minicpmo_cpp.official.model import MiniCPMO

_AUDIO_START = "<|audio_start|>"


class MiniCPMODuplex(Placed, Breakable):
    """A model that listens and speaks at once, a second at a time. Made by MiniCPMO.as_duplex.

    One thread at a time; the events, from set_break_event to is_session_stop_set, from any.

    Example:
        >>> model = MiniCPMO.from_pretrained("model.gguf").as_duplex()
        >>> model.prepare(ref_audio=recording)
        >>> for audio, frame in seconds:
        ...     model.streaming_prefill(audio_waveform=audio, frame_list=[frame])
        ...     print(model.streaming_generate()["text"], end="")
    """

    def __init__(
        self,
        simplex: MiniCPMO,
        *,
        generate_audio: bool = True,
        ls_mode: str = "explicit",
        max_new_speak_tokens_per_chunk: int = 20,
        temperature: float = 0.7,
        top_k: int = 20,
        top_p: float = 0.8,
        listen_prob_scale: float = 1.0,
        text_repetition_penalty: float = 1.05,
        text_repetition_window_size: int = 512,
        force_listen_count: int = 0,
        tts_temperature: float = 0.8,
        tts_repetition_penalty: float = 1.05,
        enable_float16: Any = False,
        n_timesteps: int | None = None,
        chunk_ms: int = 1000,
        first_chunk_ms: int = 1035,
        cnn_redundancy_ms: int = 20,
        sample_rate: int = 16000,
        sliding_window_mode: str = "off",
        basic_window_high_tokens: int | None = None,
        basic_window_low_tokens: int | None = None,
        context_previous_max_tokens: int = 500,
        context_max_units: int = 24,
        seed: int | None = None,
    ) -> None:
        """Users call MiniCPMO.as_duplex().

        Args:
            simplex: the model.
            generate_audio: whether what is said sounds.
            max_new_speak_tokens_per_chunk: most tokens of a second. This and the sampling options that follow
                are what streaming_generate does unless told otherwise.
            force_listen_count: so many seconds of a conversation only listen.
            enable_float16: changes nothing.
            n_timesteps: steps of the flow, 1 to 100; if None those of init_tts, else the model's own number.
            sliding_window_mode: what is forgotten: nothing ("off"), the oldest seconds ("basic"), or those
                but for what was said in them ("context"); the four options that follow say when, as
                window_high, window_low, max_previous and max_units of Model.duplex.
            seed: the same seed gives the same conversation; None draws one.

        The others have only the value that they default to.
        """
        check_fixed(
            ls_mode=(ls_mode, "explicit"),
            tts_repetition_penalty=(tts_repetition_penalty, 1.05),
            chunk_ms=(chunk_ms, 1000),
            first_chunk_ms=(first_chunk_ms, 1035),
            cnn_redundancy_ms=(cnn_redundancy_ms, 20),
            sample_rate=(sample_rate, 16000),
        )
        super().__init__()
        self.model = simplex
        self._fixed: dict[str, Any] = {
            "audio": flag("generate_audio", generate_audio),
            "force_listen": force_listen_count,
            "speech_temperature": tts_temperature,
            "n_steps": simplex._n_steps if n_timesteps is None else n_timesteps,
            "window": sliding_window_mode,
            "window_high": basic_window_high_tokens,
            "window_low": basic_window_low_tokens,
            "max_previous": context_previous_max_tokens,
            "max_units": context_max_units,
            "seed": seed,
        }
        self._defaults: dict[str, Any] = {
            "max_tokens_per_unit": max_new_speak_tokens_per_chunk,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "listen_scale": listen_prob_scale,
            "repetition_penalty": text_repetition_penalty,
            "repetition_window": text_repetition_window_size,
            "length_penalty": 1.1,
        }
        self._session: DuplexSession | None = None
        self._prompt: dict[str, Any] = {}
        self._buffer: Samples = np.zeros(0, np.float32)
        self._unit: dict[str, Any] | None = None  # what DuplexSession.step is to read
        self._texts: list[str] = []
        self._is_busy = False  # with a second that a break has to cut

    def prepare(
        self,
        prefix_system_prompt: str | None = None,
        suffix_system_prompt: str | None = None,
        ref_audio: Any = None,
        prompt_wav_path: Any = None,
        context_previous_marker: str = "\n\nprevious: ",
    ) -> str:
        """Begins a conversation.

        Args:
            prefix_system_prompt: what it is about, around which the tags are put; or, if it holds tags itself
                or there is a suffix_system_prompt, what stands before ref_audio.
            suffix_system_prompt: what stands behind ref_audio.
            ref_audio: recording at 16 kHz that the language model hears; if None, that of the voice, unless
                prefix_system_prompt has tags and no <|audio_start|>.
            prompt_wav_path: recording whose voice speaks; ref_audio if None. If both are None, the first
                voice of the file.
            context_previous_marker: only the default.

        Returns:
            What was read, "[audio embedding]" for the recording.
        """
        check_fixed(context_previous_marker=(context_previous_marker, "\n\nprevious: "))
        before, behind = prefix_system_prompt or "", suffix_system_prompt or ""
        is_whole = suffix_system_prompt is not None or "<|" in before
        recording, voice = ref_audio, None
        if self._fixed["audio"]:
            given = ref_audio if prompt_wav_path is None else prompt_wav_path
            voice = self.model.model._open_voices().choose(given, None)
            if recording is None and len(voice.samples):
                if is_whole and _AUDIO_START not in before:
                    voice = _without_recording(voice)
                else:
                    recording = voice.samples
        if not is_whole:
            tags = ("", "") if recording is None else ("\n" + _AUDIO_START, "<|audio_end|>")
            before = f"<|im_start|>system\n{before or SYSTEM_PROMPT}{tags[0]}"
            behind = f"{tags[1]}<|im_end|>"
        self._prompt = {"prefix": before, "suffix": behind, "voice": voice, "reference": recording}
        self.clear_break_event()
        self.clear_session_stop()
        self._buffer, self._unit, self._texts = np.zeros(0, np.float32), None, []
        self._open()
        return before + ("" if recording is None else "[audio embedding]") + behind

    def streaming_prefill(
        self,
        audio_waveform: Any = None,
        frame_list: Sequence[Any] | None = None,
        text_list: Sequence[str] | str | None = None,
        max_slice_nums: int | Sequence[int] = 1,
        batch_vision_feed: Any = False,
    ) -> dict[str, Any]:
        """Takes a second of input. It is read by streaming_generate, whose result has all the costs.

        Args:
            audio_waveform: array [n] at 16 kHz. Samples beyond a second wait for the next call.
            frame_list: pictures.
            text_list: text.
            max_slice_nums: most slices of a picture, or of each.
            batch_vision_feed: changes nothing.

        Returns:
            {"success", "reason", "cost_..."}. No success while a break or a stop is set, without input, while
            samples are missing, which are kept, and before streaming_generate was called for the last second.
        """
        frames = [] if frame_list is None else list(frame_list)
        texts = [text_list] if isinstance(text_list, str) else list(text_list or ())
        has_audio = audio_waveform is not None and len(audio_waveform) > 0
        if self._session is None:
            return refusal("prepare() was not called")
        if self._is_stopped:
            return refusal("a break is set")
        if self._unit is not None:
            return refusal("streaming_generate() was not called for the last second")
        if not (frames or texts or has_audio):
            return refusal("there is no input")
        unit: dict[str, Any] = {"frames": frames, "max_slice_nums": max_slice_nums}
        unit["text"] = "".join(texts) or None
        if has_audio:
            self._buffer = np.concatenate([self._buffer, to_samples(audio_waveform)])
            n, n_found = self._session.unit_samples, len(self._buffer)
            if n_found < n:
                return refusal(f"audio not enough: expected {n} samples, got {n_found}")
            unit["audio"], self._buffer = self._buffer[:n], self._buffer[n:]
        self._unit = unit
        return refusal("") | {"success": True}

    def streaming_generate(
        self,
        prompt_wav_path: Any = None,
        max_new_speak_tokens_per_chunk: int | None = None,
        decode_mode: str = "sampling",
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        listen_prob_scale: float | None = None,
        listen_top_k: None = None,
        text_repetition_penalty: float | None = None,
        text_repetition_window_size: int | None = None,
        length_penalty: float | None = None,
        force_listen_override: bool = False,
    ) -> dict[str, Any]:
        """Reads the second that streaming_prefill took, and listens or speaks.

        Args:
            prompt_wav_path: changes nothing: prepare() says whose voice.
            decode_mode: "sampling", or "greedy", which takes the likeliest token, always.
            listen_top_k: only None.
            force_listen_override: only listens.

        The others are those of as_duplex(), which it defaults to.

        Returns:
            {"is_listen", "text", "audio_waveform", "end_of_turn", "current_time", "cost_llm",
            "cost_tts_prep", "cost_tts", "cost_token2wav", "cost_all", "n_tokens", "n_tts_tokens"}: the
            waveform float32 [n] at 24 kHz, a second of silence while it listens, None if nothing sounds yet;
            current_time the number of seconds so far; costs in seconds.
        """
        check_fixed(listen_top_k=(listen_top_k, None))
        if decode_mode not in ("sampling", "greedy"):
            raise ValueError(f"[official] expected sampling or greedy, got {decode_mode!r} (decode_mode)")
        given = {
            "max_tokens_per_unit": max_new_speak_tokens_per_chunk,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "listen_scale": listen_prob_scale,
            "repetition_penalty": text_repetition_penalty,
            "repetition_window": text_repetition_window_size,
            "length_penalty": length_penalty,
        }
        options = self._defaults | {name: value for name, value in given.items() if value is not None}
        options["temperature"] = drawn_at(decode_mode == "sampling", options["temperature"])
        forced = flag("force_listen_override", force_listen_override)
        unit, self._unit = self._unit, None
        self._is_busy = True
        try:
            if self._session is None or unit is None or self._is_stopped:
                return silent_result(self.get_current_time(), self._is_stopped)
            self._session.set_options(**options)
            chunk = self._session.step(**unit, force_listen=forced)
        finally:
            self._is_busy = False
        self._texts.append(chunk.text)
        return unit_result(chunk)

    def finalize_unit(self) -> None:
        """Does nothing: streaming_generate closes the second."""

    def as_simplex(self, reset_session: bool = True, reset_token2wav_cache: bool = False) -> MiniCPMO:
        """The model for chat and talking by turns; this conversation ends."""
        self._close()
        if flag("reset_session", reset_session):
            self.model.reset_session(reset_token2wav_cache)
        return self.model

    def get_generated_text(self) -> str:
        """All that was said in this conversation."""
        return "".join(self._texts)

    def get_current_time(self) -> int:
        """Seconds of this conversation."""
        return 0 if self._session is None else self._session.unit

    def _cut(self) -> None:
        session = self._session
        if session is not None and self._is_busy:  # else the next second would be cut
            session.interrupt()

    def _open(self) -> None:
        """A session that has read the prompt and nothing else."""
        self._close()
        self._session = self.model.model.duplex(**self._fixed, **self._defaults)
        self._session.prepare(**self._prompt)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _without_recording(voice: Voice) -> Voice:
    """The same voice, for a prompt in which it is not heard."""
    return Voice(_core.Voice(voice.codes, voice.mel, voice.speaker, None, voice.name))
