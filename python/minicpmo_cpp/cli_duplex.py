"""minicpmo-cli duplex: a conversation in which the model listens and speaks at the same time."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from minicpmo_cpp.audio import SAMPLE_RATE, decode
from minicpmo_cpp.cli import INTERRUPTED, _explain, _leave_now, _peak_bytes, _text
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
from minicpmo_cpp.duplex import DuplexSession
from minicpmo_cpp.live.captions import Captions
from minicpmo_cpp.live.film import FILMS, SUBTITLES, check_output, write_film, write_sound
from minicpmo_cpp.live.input import Feed, RealTimeFeed, Unit, units_of_sound, units_of_video, with_silence
from minicpmo_cpp.live.microphone import Loudspeaker, Microphone
from minicpmo_cpp.live.run import KEYS, DuplexRun
from minicpmo_cpp.live.said_track import SAID_RATE
from minicpmo_cpp.live.view import DuplexView
from minicpmo_cpp.source import Source, find
from minicpmo_cpp.terminal import forget_stdout, say

WINDOWS = ("off", "basic", "context")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="Exit codes: 0 ok, 1 the engine or the model failed, 2 wrong arguments, 3 a media or model file "
    "cannot be read or the output not be written, 130 interrupted."
)
def duplex(
    model: ModelOption = None,
    hf_repo: HubOption = None,
    revision: RevisionOption = None,
    offline: OfflineOption = False,
    video: Annotated[str | None, typer.Option(help="Video file to see and hear.")] = None,
    audio: Annotated[str | None, typer.Option(help="Sound file to hear.")] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Hear the microphone, speak to the loudspeaker.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help=f"A film with both voices and subtitles ({', '.join(FILMS)}), or .wav or .flac: left what "
            "was heard, right what was said.",
        ),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Give a file to the model at the speed at which it happened.")
    ] = False,
    play: Annotated[bool, typer.Option("--play", help="With --realtime: speak to the loudspeaker.")] = False,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    ref_audio: Annotated[
        str | None, typer.Option(help="A recording of 0.5 to 16.9 s: speak in this voice.")
    ] = None,
    voice: Annotated[str | None, typer.Option(help="A voice of the model, or a file of a saved one.")] = None,
    no_speech: Annotated[bool, typer.Option("--no-speech", help="Answer in text only.")] = False,
    speech_steps: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of the flow; fewer are faster and rougher.")
    ] = None,
    stack_frames: Annotated[
        int, typer.Option(min=1, max=64, help="Frames a second; all but the first make one picture.")
    ] = 1,
    max_slices: Annotated[int, typer.Option(min=1, max=9, help="Most slices of a second's first frame.")] = 1,
    silence: Annotated[
        int, typer.Option(min=0, max=600, help="Seconds after the end of a file, for the last answer.")
    ] = 0,
    max_seconds: Annotated[float | None, typer.Option(min=1, help="Hear only so much.")] = None,
    window: Annotated[
        str, typer.Option(help=f"What is forgotten when the context fills up: {', '.join(WINDOWS)}.")
    ] = "off",
    ctx: Annotated[int, typer.Option("-c", "--ctx", min=0, help="Most tokens; 0 is the model's own.")] = 0,
    force_listen: Annotated[int, typer.Option(min=0, help="Only listen for so many seconds first.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0, max=100, help="0 takes the likeliest token, always.")
    ] = 0.7,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all tokens.")] = 20,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 0.8,
    listen_scale: Annotated[
        float, typer.Option(min=0, max=100, help="Above 1 it listens more, below 1 it speaks more.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**64 - 1, help="Makes the conversation repeatable.")
    ] = None,
    subtitles: Annotated[str, typer.Option(help=f"Of a film: {', '.join(SUBTITLES)}.")] = "burned",
    font: Annotated[str | None, typer.Option(help="Font file for burned subtitles.")] = None,
    threads: Annotated[int, typer.Option("-t", "--threads", min=0, help="0 uses all cores.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or a device of the engine.")] = "auto",
    no_memory_check: NoMemoryCheckOption = False,
    no_mmap: NoMmapOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each second.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Timings on stderr.")] = False,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Fetch media from http(s) URLs.")
    ] = False,
) -> None:
    """Let MiniCPM-o see, hear and speak at the same time, second by second.

    With --mic or --realtime, space or Enter interrupts what it says and q ends the conversation.
    """
    is_live = mic or realtime
    source = ModelArguments(model, hf_repo, revision, offline)
    place = None if output is None else Path(output)
    _check_inputs(
        {"--video": video, "--audio": audio, "--mic": mic or None}, place, realtime=realtime, play=play
    )
    _check_speech(
        {"--ref-audio": ref_audio, "--voice": voice, "--speech-steps": speech_steps}, place, no_speech
    )
    for name, value, known in (("--window", window, WINDOWS), ("--subtitles", subtitles, SUBTITLES)):
        if value not in known:
            raise _bad(f"expected {', '.join(known)}, got {value}", name)
    seconds = math.inf if max_seconds is None else max_seconds
    slices = [max_slices, 1]  # one of a stacked picture, as the official examples advise
    try:
        with ExitStack() as stack:
            # What can be missing is looked for before the model is loaded.
            original = _original(video, audio, allow_remote)
            if place is not None:
                check_output(place, original.data if original and isinstance(original.data, Path) else None)
                Captions((), font)
            units = iter(()) if original is None else _units(original, stack_frames, seconds, silence)
            feed: Feed | None = None
            if is_live:
                feed = Microphone(seconds) if mic else RealTimeFeed(units, slices)
            loudspeaker = Loudspeaker(SAID_RATE) if play or (mic and not no_speech) else None
            modules = needed_modules(sees=video is not None, hears=True, speaks=not no_speech)
            opened, _ = source.open(
                stack,
                modules,
                device=device,
                n_threads=threads,
                allow_remote=allow_remote,
                n_ctx=ctx,
                memory_check=not no_memory_check,
                use_mmap=not no_mmap,
            )
            session = stack.enter_context(
                opened.duplex(
                    n_ctx=ctx,
                    window=window,
                    force_listen=force_listen,
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    listen_scale=listen_scale,
                    seed=seed,
                    audio=not no_speech,
                    n_steps=speech_steps,
                )
            )
            session.prepare(
                _text(system), voice=voice if ref_audio is None else opened.encode_voice(ref_audio)
            )
            view = _view(session, as_json=as_json, is_live=is_live)
            run = DuplexRun(session, view, loudspeaker)
            ended = _ended(run, feed, units, slices)
            if verbose or is_live:
                say(view.totals.line)
            if verbose:
                say(view.totals.stages + _memory())
            if place is not None and view.totals.n_unit > 0:
                _write(place, original, run, subtitles, font)
            if isinstance(ended, KeyboardInterrupt):
                raise typer.Exit(INTERRUPTED)
            if ended is not None:
                raise ended
    except BrokenPipeError:  # who read the units has enough
        forget_stdout()
    except KeyboardInterrupt:
        _leave_now(INTERRUPTED)
    except Exception as error:
        _explain(error)


def _check_inputs(inputs: dict[str, object], place: Path | None, *, realtime: bool, play: bool) -> None:
    given = [name for name, value in inputs.items() if value is not None]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise _bad(f"expected one of {', '.join(inputs)}, got {found}", (given or list(inputs))[-1])
    is_mic = given[0] == "--mic"
    if is_mic and realtime:
        raise _bad("expected a file with --realtime, got --mic", "--realtime")
    if play and not (realtime or is_mic):
        raise _bad("expected --realtime or --mic with --play", "--play")
    if place is not None and place.suffix.lower() in FILMS and given[0] != "--video":
        raise _bad(f"expected --video with a film, got {given[0]} ({place})", "--output")


def _check_speech(voices: dict[str, object], place: Path | None, no_speech: bool) -> None:
    given = [name for name, value in voices.items() if value is not None]
    if no_speech and given:
        raise _bad(f"expected no {given[0]} with --no-speech", given[0])
    if no_speech and place is not None and place.suffix.lower() not in FILMS:
        raise _bad(f"expected a film with --no-speech, got {place}", "--output")
    if "--ref-audio" in given and "--voice" in given:
        raise _bad("expected --voice or --ref-audio, got both", "--voice")


def _original(video: str | None, audio: str | None, allow_remote: bool) -> Source | None:
    """The file that is seen or heard, if it is one."""
    if video is not None:
        return find(video, "video", allow_remote=allow_remote)
    return None if audio is None else find(audio, "audio", allow_remote=allow_remote)


def _units(original: Source, stack_frames: int, seconds: float, silence: int) -> Iterator[Unit]:
    if original.kind == "video":
        units = units_of_video(original, stack_frames=stack_frames, seconds=seconds)
    else:
        units = units_of_sound(decode(original), seconds)
    return with_silence(units, silence)


def _view(session: DuplexSession, *, as_json: bool, is_live: bool) -> DuplexView:
    """Lines and JSON go to stdout, the live view to stderr; on one terminal they would meet."""
    console = Console(stderr=True)
    is_stdout_shown = sys.stdout is not None and sys.stdout.isatty()
    is_drawn = console.is_terminal and not console.is_dumb_terminal and not (as_json and is_stdout_shown)
    form = "json" if as_json else "" if is_drawn and is_stdout_shown else "line"
    has_keys = is_live and sys.stdin is not None and sys.stdin.isatty()
    return DuplexView(
        console, n_ctx=session.n_ctx, is_live=is_drawn, form=form, hint=KEYS if has_keys else ""
    )


def _ended(
    run: DuplexRun, feed: Feed | None, units: Iterator[Unit], slices: list[int]
) -> BaseException | None:
    """The whole conversation; what cut it short, for what was said until then is to be kept."""
    try:
        if feed is None:
            run.step_through(units, slices)
        else:
            run.live(feed)
    except (Exception, KeyboardInterrupt) as error:
        return error
    return None


def _write(place: Path, original: Source | None, run: DuplexRun, subtitles: str, font: str | None) -> None:
    """As much of the input as was heard, and all that was said."""
    if place.suffix.lower() not in FILMS or original is None:
        write_sound(place, run.track, run.heard)
        return
    with Console(stderr=True).status(f"writing {place}") as status:
        missing = write_film(
            original,
            place,
            run.track,
            subtitles=subtitles,
            font=font,
            seconds=len(run.heard) / SAMPLE_RATE,
            on_progress=lambda done_s: status.update(f"writing {place}: {done_s:.0f} s"),
        )
    if missing:
        say(f"minicpmo-cli: no font at hand shows {missing[:20]}; --font names a file of one")


def _memory() -> str:
    peak = _peak_bytes()
    return "" if peak is None else f", peak memory {peak / 2**20:.0f} MiB"


def _bad(message: str, name: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=name)
