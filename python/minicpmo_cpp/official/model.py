"""MiniCPMO: one model file behind the official interface."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicpmo_cpp.model import Model
from minicpmo_cpp.official.chat import conversation, first_sound, packed, write_sound
from minicpmo_cpp.official.chunk import OmniOutput
from minicpmo_cpp.official.duplex import MiniCPMODuplex
from minicpmo_cpp.official.options import check_fixed, check_speech_sampling, drawn_at
from minicpmo_cpp.official.placement import Placed
from minicpmo_cpp.official.processor import MiniCPMOProcessor, SystemPrompt
from minicpmo_cpp.official.stream import Simplex
from minicpmo_cpp.options import flag, integer
from minicpmo_cpp.sound_file import check_path

if TYPE_CHECKING:
    from typing_extensions import Self

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*(?<!\.gguf)")


class MiniCPMO(Simplex):
    """A model file behind the official interface. One thread at a time.

    Example:
        >>> model = MiniCPMO.from_pretrained("model.gguf").eval().cuda()
        >>> model.chat(msgs=[{"role": "user", "content": [Image.open("cat.jpg"), "What is in the image?"]}])
    """

    def __init__(self, model: Model) -> None:
        """Wraps an open model; users call from_pretrained()."""
        super().__init__(model)
        self.processor = MiniCPMOProcessor(model)
        self.tts = Placed()

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        n_threads: int = 0,
        allow_remote: bool = False,
        init_vision: bool = True,
        init_audio: bool = True,
        init_tts: bool = True,
        trust_remote_code: Any = None,
        attn_implementation: Any = None,
        torch_dtype: Any = None,
        dtype: Any = None,
        device_map: Any = None,
        low_cpu_mem_usage: Any = None,
    ) -> Self:
        """Opens a GGUF file.

        Args:
            path: the file, as minicpmo-convert writes it.
            device: as in Model.load, as are n_threads and allow_remote.
            init_vision: False leaves that part out, as do init_audio and init_tts.
            trust_remote_code: changes nothing, as all that follow: there is no code to trust, and the file
                decides types.

        Raises:
            ValueError: the name of a repository, or a folder.
            ModelFileError: the file is missing, damaged or no model.
        """
        wanted = {
            "vision": flag("init_vision", init_vision),
            "audio": flag("init_audio", init_audio),
            "speech": flag("init_tts", init_tts),
        }
        modules = [name for name, is_wanted in wanted.items() if is_wanted]
        _check_file(path)
        return cls(
            Model.load(path, device=device, n_threads=n_threads, allow_remote=allow_remote, modules=modules)
        )

    def init_tts(
        self,
        streaming: bool = False,
        model_dir: Any = None,
        enable_float16: Any = False,
        n_timesteps: int | None = None,
    ) -> Placed:
        """Says now, and not later, if the model cannot speak.

        Args:
            streaming: changes nothing, as model_dir and enable_float16: there is one speech decoder, and it
                is in the file.
            n_timesteps: steps of the flow, 1 to 100; None is the model's own number.

        Raises:
            UnsupportedModelError: the model does not speak.
        """
        flag("streaming", streaming)
        self._n_steps = None if n_timesteps is None else integer("n_timesteps", n_timesteps, 1, 100)
        self.model._open_voices().sample_rate  # noqa: B018  raises
        return self.tts

    get_sys_prompt = SystemPrompt()

    def chat(
        self,
        image: Any = None,
        msgs: Any = None,
        vision_hidden_states: None = None,
        max_new_tokens: int = 4096,
        min_new_tokens: int = 0,
        do_sample: bool = True,
        max_inp_length: Any = None,
        stream: bool = False,
        stream_input: bool = False,
        max_slice_nums: int | None = None,
        use_image_id: bool | None = None,
        enable_thinking: bool = False,
        temporal_ids: Any = None,
        use_tts_template: bool = False,
        generate_audio: bool = False,
        output_audio_path: str | os.PathLike[str] | None = None,
        output_tts_inputs_embeds_path: None = None,
        omni_mode: bool | None = None,
        teacher_forcing: bool = False,
        return_prompt: bool = False,
        tts_proj_layer: int = -1,
        tts_sampling_params: Any = None,
        merge_audio_from_same_content: bool = True,
        *,
        temperature: float = 0.7,
        top_p: float = 0.8,
        top_k: int = 100,
        repetition_penalty: float = 1.02,
        num_beams: int | None = None,
        seed: int | None = None,
        sampling: bool | None = None,
        omni_input: bool | None = None,
        return_dict: bool = False,
        tokenizer: Any = None,
        processor: Any = None,
    ) -> Any:
        """Answers a whole conversation, as Model.chat does.

        Args:
            image: a picture for the first message, whose content is then a str.
            msgs: messages as Model.chat takes them, or the same as JSON. Special tokens in their text count
                as such, as in the official code. An assistant's message in front is the system's.
            do_sample: False takes the likeliest token, always.
            max_inp_length: changes nothing: prompts are not cut.
            stream: returns an iterator of pieces of text.
            temporal_ids: of MiniCPM-V 4.5: the pictures of all messages in groups, [[time, ...], ...] in
                tenths of a second. The frames of a group are seen as one picture.
            use_tts_template: begins the answer as one to be spoken; so does sound in the messages.
            generate_audio: with output_audio_path, says the answer in the voice of the first sound of all
                messages, else in the first of the file.
            output_audio_path: a WAV or FLAC file to write.
            omni_mode: joins the parts of a message without newlines; if None, with a video that sounds.
            return_prompt: also returns the prompt as text. Pictures and sounds are then encoded twice.
            num_beams: only 1; more warn.
            seed: the same seed gives the same answer; None draws one.
            sampling: do_sample of MiniCPM-o 2.6; omni_input: its omni_mode.
            return_dict: returns an OmniOutput, which has the sound too.
            tokenizer: changes nothing, as processor.

        The other keywords are those of Model.chat, or have only the value that they default to.

        Returns:
            str; (str, str) with return_prompt; an iterator of str with stream; OmniOutput with return_dict.

        Raises:
            ContextFullError: prompt and answer need more than the model's context.
            UnsupportedModelError: generate_audio with a model that does not speak.
        """
        check_fixed(
            vision_hidden_states=(vision_hidden_states, None),
            min_new_tokens=(min_new_tokens, 0),
            output_tts_inputs_embeds_path=(output_tts_inputs_embeds_path, None),
            teacher_forcing=(teacher_forcing, False),
            tts_proj_layer=(tts_proj_layer, -1),
            merge_audio_from_same_content=(merge_audio_from_same_content, True),
        )
        check_speech_sampling(tts_sampling_params)
        messages = conversation(msgs, image)
        if temporal_ids is not None:
            messages = packed(messages, temporal_ids)
        path = None if output_audio_path is None else Path(output_audio_path)
        is_spoken = flag("generate_audio", generate_audio) and path is not None
        is_stream, wants_prompt = flag("stream", stream), flag("return_prompt", return_prompt)
        wants_dict = flag("return_dict", return_dict)
        if is_stream + wants_prompt + wants_dict > 1:
            raise ValueError("[official] expected one of stream, return_prompt and return_dict, got more")
        if is_spoken and (is_stream or wants_prompt):
            raise ValueError("[official] expected no stream and no return_prompt with generate_audio=True")
        reading: dict[str, Any] = {
            "enable_thinking": enable_thinking,
            "max_slice_nums": max_slice_nums,
            "use_image_id": use_image_id,
            "use_tts_template": True if flag("use_tts_template", use_tts_template) else None,
            "omni_mode": omni_mode if omni_input is None else omni_input,
            "stream_input": stream_input,
            "parse_special": True,
        }
        saying: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "temperature": drawn_at(do_sample if sampling is None else sampling, temperature, num_beams),
            "top_p": top_p,
            "top_k": top_k,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
        }
        if path is not None and is_spoken:
            check_path(path)
            voice = first_sound(messages, allow_remote=self.model.allow_remote)
            saying |= {"audio": True, "voice": voice, "voice_prompt": None, "n_steps": self._n_steps}
            result = self.model.chat(messages, **reading, **saying)
            write_sound(path, result)
            return OmniOutput.of(result) if wants_dict else result.text
        answer = self.model.chat(messages, stream=True, **reading, **saying)
        if is_stream:
            return answer
        result = answer.result()
        if wants_prompt:
            return result.text, self.model.build_prompt(messages, **reading).text
        return OmniOutput.of(result) if wants_dict else result.text

    def generate(self, msgs: Any = None, **options: Any) -> Any:
        """chat() as the examples of MiniCPM-o 2.6 call it: model.generate(**inputs)."""
        return self.chat(msgs=msgs, **options)

    def as_duplex(self, device: Any = None, **options: Any) -> MiniCPMODuplex:
        """The same model for live conversation.

        Args:
            device: changes nothing.
            options: of MiniCPMODuplex.
        """
        return MiniCPMODuplex(self, **options)


def _check_file(path: Any) -> None:
    hint = "minicpmo-convert FOLDER -o model.gguf makes one of the downloaded checkpoint"
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"[official] expected the path of a GGUF file, got {type(path).__name__} (path)")
    if os.path.isdir(path):
        raise ValueError(f"[official] expected a GGUF file, got the folder {os.fspath(path)!r}: {hint}")
    if isinstance(path, str) and _REPOSITORY.fullmatch(path) and not os.path.exists(path):
        raise ValueError(
            f"[official] expected a GGUF file, got {path!r}, the name of a repository: {hint}; one of GGUF "
            "files opens with MiniCPMO(Model.from_pretrained(NAME))"
        )
