"""Simplex: talking by turns with the official streaming calls, over one Session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minicpmo_cpp.messages import parse_messages
from minicpmo_cpp.model import Model
from minicpmo_cpp.official.chunk import OmniOutput, chunks
from minicpmo_cpp.official.options import check_fixed, check_speech_sampling, drawn_at
from minicpmo_cpp.official.placement import Placed
from minicpmo_cpp.options import flag
from minicpmo_cpp.parts import is_sound_part
from minicpmo_cpp.session import Session
from minicpmo_cpp.voice import Voice

_REPETITION_WINDOW = 128  # tokens that the streaming sampler looks back
_CODES_PER_CHUNK = 25  # a second of sound


class Simplex(Placed):
    """The part of MiniCPMO that streams."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._session: Session | None = None
        self._session_id: Any = None
        self._voice: Voice | None = None
        self._n_steps: int | None = None
        self._snapshot: Any = None

    def reset_session(self, reset_token2wav_cache: bool = True) -> None:
        """Forgets the conversation and, with reset_token2wav_cache, the voice."""
        if self._session is not None:
            self._session.close()
        self._session = self._session_id = self._snapshot = None
        if flag("reset_token2wav_cache", reset_token2wav_cache):
            self._voice = None

    def init_token2wav_cache(self, prompt_speech_16k: Any) -> None:
        """Whose voice streaming_generate speaks with.

        Args:
            prompt_speech_16k: recording as Model.encode_voice takes it, 0.5 to 16.9 s.

        Without this call it is the recording in the system message, else the first voice of the file.
        """
        self._voice = self.model.encode_voice(prompt_speech_16k)

    def streaming_prefill(
        self,
        session_id: Any,
        msgs: Any,
        omni_mode: bool = True,
        max_slice_nums: int | None = None,
        use_tts_template: Any = True,
        enable_thinking: Any = False,
        is_last_chunk: bool = False,
        *,
        stream_input: bool | None = None,
        tokenizer: Any = None,
        processor: Any = None,
    ) -> str:
        """Reads one message, or a part of the user's turn, into the conversation.

        Args:
            session_id: of the conversation; another one than before begins a new one. The voice stays.
            msgs: a list of one message.
            omni_mode: joins the parts of the message without newlines.
            max_slice_nums: most slices of a picture; 1 if None.
            use_tts_template: changes nothing, as enable_thinking: streaming_generate has the same keywords.
            is_last_chunk: the user's sound ends here. Of a model like 2.6 each call's sound does.
            stream_input: whether the sound goes on where the last call's ended; if None, a user's does, but
                not that of a first message which says how to answer.
            tokenizer: changes nothing, as processor.

        Returns:
            The text that was read, without role tags, "<image>./</image>" for each picture and
            "<audio>./</audio>" for each sound.

        Raises:
            ContextFullError: there is no room for it.
        """
        if session_id is None:
            raise ValueError("[official] expected a name of the session, got None (session_id)")
        if not isinstance(msgs, (list, tuple)) or len(msgs) != 1:
            found = f"{len(msgs)}" if isinstance(msgs, (list, tuple)) else type(msgs).__name__
            raise ValueError(f"[official] expected a list of one message, got {found} (msgs)")
        is_omni = flag("omni_mode", omni_mode)
        ((role, parts),) = parse_messages(msgs, is_whole=False, allow_remote=self.model.allow_remote).messages
        session = self._conversation(session_id)
        config = self.model.config
        instructs = config["user_instructs"] and session.n_past == 0
        has_sound = any(is_sound_part(part) for part in parts)
        is_streamed = role == "user" and not instructs
        if stream_input is not None:
            is_streamed = flag("stream_input", stream_input)
        is_last = flag("is_last_chunk", is_last_chunk)
        if has_sound and "audio" in config and config["audio"]["chunks_stand_alone"]:
            is_last = True
        session.prefill(
            [{"role": role, "content": parts}],
            max_slice_nums=1 if max_slice_nums is None else max_slice_nums,
            use_image_id=False,
            omni_mode=is_omni,
            parse_special=True,
            stream_audio=is_streamed,
            is_last_chunk=is_streamed and is_last,
        )
        slots = {1: "<audio>./</audio>", 3: "<image>./</image>"}
        texts = [part if isinstance(part, str) else slots[1 if is_sound_part(part) else 3] for part in parts]
        return ("" if is_omni else "\n").join(texts)

    def streaming_generate(
        self,
        session_id: Any = None,
        bos_input: None = None,
        generate_audio: bool = True,
        audio_token_chunk_size: int = _CODES_PER_CHUNK,
        tts_sampling_params: Any = None,
        max_new_tokens: int = 256,
        enable_thinking: bool = False,
        use_tts_template: bool = True,
        do_sample: bool = True,
        enable_speculative_snapshot: bool = False,
        *,
        temperature: float = 0.7,
        top_p: float = 0.8,
        top_k: int = 100,
        repetition_penalty: float = 1.02,
        length_penalty: float = 1.0,
        seed: int | None = None,
        use_tts: bool | None = None,
        tts_output_chunk_size: int = _CODES_PER_CHUNK,
        tokenizer: Any = None,
        processor: Any = None,
    ) -> Iterator[OmniOutput]:
        """Answers what was read.

        Args:
            session_id: of the conversation.
            generate_audio: whether the answer is spoken.
            audio_token_chunk_size: only 25, which is a second of sound, as tts_output_chunk_size.
            enable_speculative_snapshot: takes save_speculative_snapshot() first.
            use_tts: generate_audio of MiniCPM-o 2.6.
            seed: the same seed gives the same answer; None draws one.
            tokenizer: changes nothing, as processor.

        The other keywords are those of Session.generate, or have only the value that they default to.

        Returns:
            An iterator; closing it, or leaving it before its end, ends the answer there. Of
            (waveform [1, n] at 24 kHz, text) if it is spoken, the waveform a tensor in programs that have
            imported torch, else an array; of (text, is_finished) if it is not. Both have 2.6's names.

        Raises:
            ValueError: nothing was read under that session_id.
            UnsupportedModelError: the model does not speak.
        """
        check_fixed(
            bos_input=(bos_input, None),
            audio_token_chunk_size=(audio_token_chunk_size, _CODES_PER_CHUNK),
            tts_output_chunk_size=(tts_output_chunk_size, _CODES_PER_CHUNK),
        )
        check_speech_sampling(tts_sampling_params)
        session = self._session
        if session is None or session_id not in (None, self._session_id):
            raise ValueError(
                f"[official] expected a session that was prefilled, got {session_id!r} (session_id)"
            )
        is_spoken = flag("generate_audio", generate_audio) if use_tts is None else flag("use_tts", use_tts)
        if flag("enable_speculative_snapshot", enable_speculative_snapshot):
            self.save_speculative_snapshot()
        speaking: dict[str, Any] = {}
        if is_spoken:
            speaking = {"audio": True, "voice": self._voice, "n_steps": self._n_steps}
        answer = session.generate(
            max_new_tokens=max_new_tokens,
            temperature=drawn_at(do_sample, temperature),
            top_p=top_p,
            top_k=top_k,
            repetition_penalty=repetition_penalty,
            repetition_window=_REPETITION_WINDOW,
            length_penalty=length_penalty,
            seed=seed,
            enable_thinking=enable_thinking,
            use_tts_template=use_tts_template,
            **speaking,
        )
        return chunks(answer)

    def save_speculative_snapshot(self) -> Any:
        """Remembers where the conversation is, to answer early and take it back. None before it begins."""
        self._snapshot = None if self._session is None else self._session.snapshot()
        return self._snapshot

    def restore_speculative_snapshot(self, snapshot: Any = None) -> bool:
        """Goes back to a snapshot; the last one, which is then used up, if None.

        Returns:
            Whether there was one.
        """
        chosen = self._snapshot if snapshot is None else snapshot
        self._snapshot = None
        if chosen is None or self._session is None:
            return False
        self._session.restore(chosen)
        return True

    def has_speculative_snapshot(self) -> bool:
        """Whether restore_speculative_snapshot() has something to go back to."""
        return self._snapshot is not None

    def clear_speculative_snapshot(self) -> None:
        """Forgets the snapshot."""
        self._snapshot = None

    def _conversation(self, session_id: Any) -> Session:
        """The session of that name, new if another one was talked in."""
        if self._session is None or session_id != self._session_id:
            self.reset_session(reset_token2wav_cache=False)
            self._session = self.model.session(window="rounds")
            self._session_id = session_id
        return self._session
