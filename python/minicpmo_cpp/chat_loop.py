"""ChatLoop: talking with a model at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.attachments import Attachments
from minicpmo_cpp.cli_speech import SpeakingModel
from minicpmo_cpp.model import Model
from minicpmo_cpp.progress import ReadingProgress
from minicpmo_cpp.session import Session
from minicpmo_cpp.speech_output import SpeakingProgress, SpeechOutput
from minicpmo_cpp.terminal import say, to_text, write
from minicpmo_cpp.turn import Turn
from minicpmo_cpp.types import ChatResult, Piece, Progress

HELP = """\
/image path   shows the model a picture with your next message
/audio path   lets it hear a sound with your next message; an empty line sends it by itself
/video path   shows it a video with your next message
/system text  sets the system prompt and begins anew
/voice NAME   speaks in another voice of the model, a saved one or a recording, and begins anew
/clear        begins anew
/help         shows this
/quit         leaves, as Ctrl-D does; Ctrl-C stops an answer"""


class Performance:
    """One turn at the command line: text to stdout, sound to its output, how far it is to stderr."""

    def __init__(self, turn: Turn, *, is_shown: bool, output: SpeechOutput | None) -> None:
        """is_shown: whether the text is written as it comes."""
        console = Console(stderr=True)
        self._turn = turn
        self._is_shown = is_shown
        self._output = output
        self._reading = ReadingProgress(console)
        self._speaking = None if output is None else SpeakingProgress(console, output)
        self._has_begun = False
        # The line about speech and the text must not meet on one terminal.
        self._is_line_free = not is_shown or sys.stdout is None or not sys.stdout.isatty()
        self._is_text_open = is_shown

    def run(self) -> ChatResult:
        is_cut = True
        try:
            result = self._turn.run(self._show, self._wait)
            is_cut = result.stop_reason == "interrupted"
        finally:
            self._reading.stop()
            if self._speaking is not None:
                self._speaking.stop()
            self._end_output(is_cut)
        self._end_text()
        return result

    def _show(self, piece: Piece) -> None:
        self._reading.stop()
        if not self._has_begun and self._output is not None:
            self._output.begin()
        self._has_begun = True
        if piece.audio is None:
            if self._is_shown:
                write(piece)
            return
        assert self._output is not None
        self._output.write(piece.audio)
        self._tell()

    def _wait(self, progress: Progress) -> None:
        if not self._has_begun:
            self._reading.update(progress)
        else:
            self._tell()

    def _tell(self) -> None:
        if self._speaking is None:
            return
        if self._turn.is_written and not self._is_line_free:
            self._end_text()
            self._is_line_free = True
        if self._is_line_free:
            self._speaking.update()

    def _end_text(self) -> None:
        if self._is_text_open:
            write("\n")
        self._is_text_open = False

    def _end_output(self, is_cut: bool) -> None:
        output = self._output
        if output is None:
            return
        if output.seconds > 0 and sys.stderr is not None and sys.stderr.isatty():
            self._end_text()
            say(f"[{output.line}]")
        try:
            output.end(is_cut=is_cut)
        except OSError as error:  # of the player: the answer is there all the same
            say(f"minicpmo-cli: {error}")


def answer_once(
    session: Session,
    messages: list[dict[str, Any]],
    reading: dict[str, Any],
    saying: dict[str, Any],
    *,
    is_shown: bool,
    output: SpeechOutput | None = None,
) -> ChatResult:
    """One turn, its pieces written as they come if is_shown, and said if there is an output."""
    turn = Turn(session, messages, reading, saying)
    return Performance(turn, is_shown=is_shown, output=output).run()


class ChatLoop:
    """Reads lines until /quit and keeps the conversation."""

    def __init__(
        self,
        model: Model,
        session: Session,
        *,
        system: str | None,
        media: Attachments,
        reading: dict[str, Any],
        saying: dict[str, Any],
        on_answer: Callable[[ChatResult], None],
        speaking: SpeakingModel | None = None,
    ) -> None:
        self._model = model
        self._session = session
        self._system = system
        self._media = media  # of the next message
        self._reading = reading
        self._saying = saying
        self._on_answer = on_answer
        self._speaking = speaking

    def run(self) -> None:
        say(f"{self._model.config['name']} - /help lists the commands")
        while True:
            try:
                line = to_text(_read_line()).strip()
                if line.startswith("/") and not self._obey(line):
                    return
                if not line.startswith("/") and (line or self._media.has_audio):
                    self._answer(line)
            except EOFError:
                say("")
                return
            except KeyboardInterrupt:
                say("\n/quit leaves")

    def _obey(self, line: str) -> bool:
        """Whether the chat goes on."""
        command, _, rest = line.partition(" ")
        if command in ("/quit", "/exit"):
            return False
        adders = {
            "/image": self._media.add_image,
            "/audio": self._media.add_audio,
            "/video": self._media.add_video,
        }
        if command in adders:
            self._add(adders[command], rest.strip())
        elif command == "/voice":
            self._change_voice(rest.strip())
        elif command in ("/clear", "/system"):
            if command == "/system":
                self._system = rest.strip() or None
            self._begin_anew()
        else:
            say(HELP if command == "/help" else f"expected a command of /help, got {command}")
        return True

    def _begin_anew(self) -> None:
        self._session.reset()
        self._media.clear()
        say("the conversation begins anew")

    def _change_voice(self, name: str) -> None:
        if self._speaking is None:
            say("expected speech, which --output or --play turns on")
            return
        if not name:
            say(f"expected one of {', '.join(self._model.voices) or 'no voices'} or a file")
            return
        try:
            say(self._speaking.choose_voice(name))
        except (MiniCPMOError, ValueError, OSError, ImportError) as error:
            say(str(error))
            return
        self._begin_anew()

    def _add(self, add: Callable[[str], str], path: str) -> None:
        try:
            say(f"{add(path)} go with your next message")
        except (ValueError, OSError, ImportError) as error:
            say(str(error))

    def _answer(self, text: str) -> None:
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._media.content(text)}]
        saying, output = self._saying, None
        if self._speaking is not None:
            saying, output = saying | self._speaking.saying, self._speaking.output
        if self._session.n_past == 0:
            messages = [*self._system_messages(text), *messages]
        try:
            result = answer_once(self._session, messages, self._reading, saying, is_shown=True, output=output)
        except (MiniCPMOError, MemoryError, ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            say(f"\n{error}\n/clear begins anew")
            self._media.clear()
            return
        self._media.clear()
        if result.stop_reason != "stop":
            is_cut = result.stop_reason == "length"
            say("[the answer reached --max-tokens]" if is_cut else "[interrupted]")
        self._on_answer(result)

    def _system_messages(self, question: str) -> list[dict[str, Any]]:
        if self._speaking is not None:
            return self._speaking.system(self._system, question)
        return [] if self._system is None else [{"role": "system", "content": self._system}]


def _read_line() -> str:
    """A line of the user. The prompt is no part of the answer, so it goes to a terminal or to stderr."""
    if sys.stdout is not None and sys.stdout.isatty():
        return input("> ")
    print("> ", end="", file=sys.stderr, flush=True)
    return input()
