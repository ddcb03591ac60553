"""minicpmo-cli: questions to a model file, in one shot or at a terminal."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import typer

    from minicpmo_cpp.chat_loop import ChatLoop, answer_once
    from minicpmo_cpp.cli_memory import show_plan
    from minicpmo_cpp.cli_model import (
        HubOption,
        ModelArguments,
        ModelOption,
        NoMemoryCheckOption,
        NoMmapOption,
        OfflineOption,
        RevisionOption,
        needed_modules,
    )
    from minicpmo_cpp.cli_speech import LANGUAGES, MODES, SpeakingModel, SpeechArguments
except ImportError as missing:
    raise SystemExit(f"minicpmo-cli: {missing}; pip install 'minicpmo-cpp[cli]'") from None

from minicpmo_cpp import __version__
from minicpmo_cpp._core import MiniCPMOError, ModelFileError, UnsupportedModelError
from minicpmo_cpp.attachments import Attachments
from minicpmo_cpp.model import Model
from minicpmo_cpp.tasks import TASKS
from minicpmo_cpp.terminal import encodes_all, forget_stdout, prepare_streams, say, to_text, write
from minicpmo_cpp.types import ChatResult

FAILED, USAGE, BAD_INPUT, INTERRUPTED = 1, 2, 3, 130  # exit codes; 0 is success

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    prepare_streams()
    if sys.argv[1:2] == ["duplex"]:
        from minicpmo_cpp.cli_duplex import app as duplex

        duplex(sys.argv[2:], prog_name="minicpmo-cli duplex")
    if sys.argv[1:2] == ["bench"]:
        from minicpmo_cpp.cli_bench import app as bench

        bench(sys.argv[2:], prog_name="minicpmo-cli bench")
    app(prog_name="minicpmo-cli")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        write(f"minicpmo-cli {__version__}\n")
        raise typer.Exit


@app.command(
    epilog="Exit codes: 0 ok, 1 the engine or the model failed, 2 wrong arguments, 3 a media or model file "
    "cannot be read or the sound not be written, 130 interrupted."
)
def chat(
    model: ModelOption = None,
    hf_repo: HubOption = None,
    revision: RevisionOption = None,
    offline: OfflineOption = False,
    mmproj: Annotated[
        str | None,
        typer.Option(help="File that sees. With this or one of the next, no others are looked for."),
    ] = None,
    audio_model: Annotated[str | None, typer.Option(help="File that hears.")] = None,
    tts_model: Annotated[str | None, typer.Option(help="File that says speech codes.")] = None,
    projector: Annotated[str | None, typer.Option(help="File of its projector, if it has none.")] = None,
    token2wav: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of what turns codes into sound.")
    ] = None,
    image: Annotated[list[str] | None, typer.Option(help="Image file or data: URL; may be repeated.")] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(help="Sound to hear: a question by itself, or what -p or --task is about."),
    ] = None,
    video: Annotated[list[str] | None, typer.Option(help="Video file; may be repeated.")] = None,
    fps: Annotated[
        float, typer.Option(min=0.01, max=10, help="Pictures and pieces of sound a second of a video.")
    ] = 1.0,
    stack_frames: Annotated[
        int, typer.Option(min=1, max=64, help="Frames of a video that each of these shows.")
    ] = 1,
    no_video_audio: Annotated[
        bool, typer.Option("--no-video-audio", help="Look at videos without hearing them.")
    ] = False,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="What to ask; stdin if absent.")
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"Ask this of the sound: {', '.join(TASKS)}.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    think: Annotated[bool, typer.Option("--think", help="Let the model think first.")] = False,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="0 takes the likeliest token. 0.7, or 0.1 with --speak and --mode mimick."
        ),
    ] = None,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all tokens.")] = 100,
    min_p: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    repeat_penalty: Annotated[float, typer.Option(min=0, max=100, help="1 is none.")] = 1.02,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 4096,
    draft: Annotated[
        int,
        typer.Option(min=0, max=64, help="Guess so many tokens at a time from what was read; 0 is none."),
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**64 - 1, help="Makes the answer repeatable.")
    ] = None,
    threads: Annotated[int, typer.Option("-t", "--threads", min=0, help="0 uses all cores.")] = 0,
    ctx: Annotated[int, typer.Option("-c", "--ctx", min=0, help="Most tokens; 0 is the model's own.")] = 0,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Speak, to this .wav or .flac; a chat writes out-1.wav, ..."),
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Speak, to the loudspeaker.")] = False,
    ref_audio: Annotated[
        str | None, typer.Option(help="A recording of 0.5 to 16.9 s: speak in this voice.")
    ] = None,
    voice: Annotated[str | None, typer.Option(help="A voice of the model, or a file of a saved one.")] = None,
    voices: Annotated[bool, typer.Option("--voices", help="List the voices of the model.")] = False,
    mode: Annotated[
        str | None, typer.Option(help=f"As whom it speaks: {', '.join(MODES)}; assistant if absent.")
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help=f"Of the system prompt for that: {', '.join(LANGUAGES)}.")
    ] = None,
    speak: Annotated[str | None, typer.Option(metavar="TEXT", help="Read this text out.")] = None,
    speech_steps: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of the flow; fewer are faster and rougher.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or a device of the engine.")] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Show what memory this would take, and exit.")] = False,
    no_memory_check: NoMemoryCheckOption = False,
    no_mmap: NoMmapOption = False,
    max_slices: Annotated[int | None, typer.Option(min=1, max=64, help="Most slices of an image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Timings on stderr.")] = False,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Fetch media from http(s) URLs.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Ask MiniCPM-o about text, images, sound and video; with -o or --play it speaks.

    Without a question, at a terminal, it chats. minicpmo-cli duplex --help: listening and speaking at once;
    minicpmo-cli bench --help: how fast it is here.
    """
    _check_task(task, prompt, audio)
    parts = {
        "mmproj": mmproj,
        "audio_model": audio_model,
        "tts_model": tts_model,
        "projector": projector,
        "token2wav": token2wav,
    }
    source = ModelArguments(model, hf_repo, revision, offline, parts)
    speech = SpeechArguments(output, play, ref_audio, voice, mode, lang, _text(speak), speech_steps)
    speech.check(
        has_question=prompt is not None or task is not None,
        has_audio=bool(audio),
        has_system=system is not None,
        has_thoughts=think,
    )
    is_asked = prompt is not None or task is not None or speech.is_calm
    is_typed = not is_asked and sys.stdin is not None and sys.stdin.isatty()
    is_chat = is_typed and not audio
    if is_chat and as_json:
        raise typer.BadParameter("expected --prompt with --json", param_hint="--json")
    saying = {
        "max_new_tokens": max_tokens,
        "temperature": (0.1 if speech.is_calm else 0.7) if temperature is None else temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repeat_penalty,
        "seed": seed,
        "enable_thinking": think,
        "draft_tokens": draft,
    }
    reading = {"max_slice_nums": max_slices}
    modules = needed_modules(
        sees=is_chat or bool(image or video),
        hears=is_chat or bool(audio) or (bool(video) and not no_video_audio),
        speaks=is_chat or voices or speech.is_wanted,
    )
    loading = {"device": device, "n_ctx": ctx, "memory_check": not no_memory_check, "use_mmap": not no_mmap}
    try:
        if plan:
            has_task = is_asked or is_chat or image or video or audio or speech.is_wanted
            show_plan(source.plan(modules if has_task else None, **loading), as_json=as_json)
            return
        media = Attachments(
            allow_remote=allow_remote, use_audio=not no_video_audio, stack_frames=stack_frames, fps=fps
        )
        for paths, add in ((image, media.add_image), (video, media.add_video), (audio, media.add_audio)):
            for path in paths or []:
                add(path)
        text = ""
        if task is not None:
            text = TASKS[task]
        elif not (is_typed or speech.is_calm or voices):
            text = _read_prompt(prompt)
        if not (is_chat or text or media or speech.speak or voices):
            raise typer.BadParameter("expected a prompt or media, got neither", param_hint="--prompt")
        with ExitStack() as stack:
            opened, file = source.open(
                stack, modules, n_threads=threads, allow_remote=allow_remote, **loading
            )
            if voices:
                write("".join(f"{name}\n" for name in opened.voices))
                return
            speaking = None
            if speech.is_wanted:
                sound = media.first_sound
                speaking = SpeakingModel(opened, speech, sound=sound, is_chat=is_chat)

            def report(result: ChatResult) -> None:
                if verbose:
                    say(_timings_line(result))

            session = stack.enter_context(opened.session(n_ctx=ctx))
            system = _text(system)
            if is_chat:
                loop = ChatLoop(
                    opened,
                    session,
                    system=system,
                    media=media,
                    reading=reading,
                    saying=saying,
                    on_answer=report,
                    speaking=speaking,
                )
                loop.run()
                return
            messages: list[dict[str, Any]] = [{"role": "user", "content": media.content(text)}]
            if speaking is not None:
                messages = speaking.messages(system, media.content(text), text)
                saying |= speaking.saying
            elif system is not None:
                messages.insert(0, {"role": "system", "content": system})
            said_to = None if speaking is None else speaking.output
            result = answer_once(session, messages, reading, saying, is_shown=not as_json, output=said_to)
            if as_json:
                write(_as_json(result, opened, file, speaking) + "\n")
            report(result)
            if result.stop_reason == "interrupted":
                raise typer.Exit(INTERRUPTED)
            if said_to is not None and said_to.seconds == 0:
                say("minicpmo-cli: the model said nothing")
                raise typer.Exit(FAILED)
    except BrokenPipeError:  # who read the answer has enough
        forget_stdout()
    except KeyboardInterrupt:
        _leave_now(INTERRUPTED)
    except Exception as error:
        _explain(error)


def _check_task(task: str | None, prompt: str | None, audio: list[str] | None) -> None:
    if task is None:
        return
    if task not in TASKS:
        raise typer.BadParameter(f"expected {', '.join(TASKS)}, got {task}", param_hint="--task")
    if prompt is not None:
        raise typer.BadParameter("expected --prompt or --task, got both", param_hint="--task")
    if not audio:
        raise typer.BadParameter("expected --audio with --task", param_hint="--task")


def _text(given: str | None) -> str | None:
    return None if given is None else to_text(given)


def _read_prompt(prompt: str | None) -> str:
    if prompt is not None:
        return to_text(prompt)
    return to_text(sys.stdin.buffer.read()).strip() if sys.stdin is not None else ""


def _as_json(result: ChatResult, model: Model, path: Path, speaking: SpeakingModel | None) -> str:
    timings = asdict(result.timings)
    timings |= {name: getattr(result.timings, name) for name in ("prefill_tok_per_s", "decode_tok_per_s")}
    fields: dict[str, Any] = {
        "text": result.text,
        "token_ids": result.token_ids,
        "stop_reason": result.stop_reason,
        "timings": timings,
        "model": {"name": model.config["name"], "path": str(path), "type": model.config["llm"]["type"]},
    }
    spoken = result.speech_timings
    if speaking is not None and spoken is not None:
        said_to = speaking.output.path
        about = {"path": None if said_to is None else str(said_to), "voice": speaking.voice_name}
        fields["speech"] = about | asdict(spoken) | {"audio_s": spoken.audio_s, "rtf": spoken.rtf}
    return json.dumps(fields, ensure_ascii=not encodes_all())


def _timings_line(result: ChatResult) -> str:
    t = result.timings
    parts = [
        f"load {t.load_s:.2f} s",
        f"vision {t.vision_s:.2f} s for {t.n_slice} slices",
        f"audio {t.audio_s:.2f} s for {t.heard_s:.1f} s of sound, {t.n_audio} tokens",
        f"prompt {t.n_prompt} tokens at {t.prefill_tok_per_s:.1f} tok/s",
        f"first token {t.first_token_s:.2f} s",
        f"answer {len(result.token_ids)} tokens at {t.decode_tok_per_s:.1f} tok/s",
    ]
    if t.n_drafted > 0:
        parts.append(f"{t.n_confirmed} of {t.n_drafted} guesses right")
    if (s := result.speech_timings) is not None:
        parts += [
            f"voice {s.voice_s:.2f} s",
            f"speech {s.audio_s:.1f} s",
            f"codes {s.codes_s:.2f} s",
            f"flow {s.flow_s:.2f} s",
            f"vocoder {s.vocoder_s:.2f} s",
            f"real-time factor {s.rtf:.2f}",
            f"first sound {s.first_sample_s:.2f} s after the first words",
        ]
    peak = _peak_bytes()
    if peak is not None:
        parts.append(f"peak memory {peak / 2**20:.0f} MiB")
    return ", ".join(parts)


def _peak_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _explain(error: Exception) -> NoReturn:
    """One line for the user and the exit code that goes with it."""
    if isinstance(error, (typer.Exit, typer.BadParameter)):
        raise error
    text, _, table = str(error).partition("\n") if isinstance(error, MemoryError) else (str(error), "", "")
    line = " ".join(text.split()) or type(error).__name__
    say(f"minicpmo-cli: {line}" + (f"\n{table}" if table else ""))
    if isinstance(error, UnsupportedModelError):
        raise typer.Exit(FAILED)
    is_media = line.startswith(("[image]", "[audio]", "[video]", "[voice]", "[remote]"))
    is_output = line.startswith("[output]") and isinstance(error, OSError)
    if isinstance(error, (ModelFileError, FileNotFoundError)) or is_media or is_output:
        raise typer.Exit(BAD_INPUT)
    is_argument = isinstance(error, (ValueError, TypeError)) and not isinstance(error, MiniCPMOError)
    raise typer.Exit(USAGE if is_argument else FAILED)


def _leave_now(code: int) -> NoReturn:
    """Leaves without waiting for the engine's thread."""
    say("interrupted")
    os._exit(code)


if __name__ == "__main__":
    main()
