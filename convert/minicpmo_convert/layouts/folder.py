"""A checkpoint -> a folder of files: the pair that llama.cpp reads, or the set that llama.cpp-omni reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from minicpmo_convert.convert import Conversion, Say, read_model
from minicpmo_convert.error import check
from minicpmo_convert.layouts.audio_file import audio_file
from minicpmo_convert.layouts.prompt_cache import prompt_cache
from minicpmo_convert.layouts.speech_files import projector_file, token2wav_files, tts_file
from minicpmo_convert.layouts.split_file import SplitFile, header, llm_file
from minicpmo_convert.layouts.vision_file import vision_file
from minicpmo_convert.speech import FlowSpeech, VocosSpeech
from minicpmo_convert.voices import encode, put, read_recordings

LAYOUTS = ("omni", "mmproj")
_CACHE = "token2wav-gguf/prompt_cache.gguf"
# Modules that the published layouts have no place for, or whose files cannot say all of it.
_OURS = ("s3.", "spk.", "t2w.hift_causal.")
_NOWHERE_ELSE = ("tts.", "dvae.", "vocos.")  # no layout is published for speech of several code books


def write_folder(
    checkpoint: Path,
    target: Path,
    type_name: str,
    layout: str,
    say: Say = lambda line: None,
    token2wav: Sequence[Path] = (),
    voices: Mapping[str, Path] | None = None,
    imatrix: Path | None = None,
) -> int:
    """Converts the checkpoint into files inside the folder `target`; returns their size in bytes.

    `type_name` is that of the language model; the other files are F16 as published, or F32 with f32.
    `voices` are recordings by name: the first becomes the voice that llama.cpp-omni speaks with, and all are
    in the supplement.
    """
    recordings = read_recordings(voices or {})
    check(layout in LAYOUTS, f"[layout] expected one of {', '.join(LAYOUTS)}, got {layout!r} (--layout)")
    model = read_model(checkpoint, type_name, say, token2wav, imatrix)
    check(
        not target.exists() or target.is_dir(),
        f"[layout] expected a folder to write into, got a file ({target})",
    )
    check(target.parent.is_dir(), f"[layout] expected an existing folder, got {target.parent}")
    target.mkdir(exist_ok=True)
    size = 0
    for file in _pair(model) if layout == "mmproj" else _set(model):
        size += file.write(target)
        say(f"{target / file.place}: {len(file.outputs)} tensors")
    if recordings:
        check(layout == "omni", f"[layout] expected voices in layout omni, got {layout} (--voice)")
        made = encode(target, recordings)
        cache = prompt_cache(target, made[0], _CACHE)
        supplement = target / _supplement(model).place
        size += cache.write(target) - supplement.stat().st_size
        put(supplement, supplement, recordings, made)
        size += supplement.stat().st_size
        say(f"{target / _CACHE}: {recordings[0].name!r}")
    return size


def _pair(model: Conversion) -> list[SplitFile]:
    return [llm_file(model), vision_file(model, "mmproj-model-f16.gguf")]


def _set(model: Conversion) -> list[SplitFile]:
    """Places and names are those that llama.cpp-omni looks for, whatever the types inside."""
    name = model.family.file_name
    files = [llm_file(model), vision_file(model, f"vision/{name}-vision-F16.gguf")]
    if model.audio_sizes:
        files.append(audio_file(model, f"audio/{name}-audio-F16.gguf"))
    speech = model.speech
    if isinstance(speech, FlowSpeech) and speech.codes:
        files.append(tts_file(model, f"tts/{name}-tts-F16.gguf"))
        files.append(projector_file(model, f"tts/{name}-projector-F16.gguf"))
    return [*files, *token2wav_files(model, "token2wav-gguf"), _supplement(model)]


def _supplement(model: Conversion) -> SplitFile:
    """What the other files leave out, in the terms of the single file: facts, and whole modules."""
    keys = header(model.family.architecture)
    for key, entry in model.keys.items():
        if key.startswith("minicpmo."):
            keys.put(key, entry)
    ours = _OURS + (_NOWHERE_ELSE if isinstance(model.speech, VocosSpeech) else ())
    tensors = [tensor for tensor in model.tensors if tensor.name.startswith(ours)]
    outputs = [model.output_of(tensor) for tensor in tensors]
    return SplitFile(f"{model.family.file_name}-supplement.gguf", keys, outputs)
