"""ChatLoop: talking with a model at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from minicpmo_cpp._core import MiniCPMOError
from minicpmo_cpp.attachments import Attachments
from minicpmo_cpp.model import Model
from minicpmo_cpp.progress import ReadingProgress
from minicpmo_cpp.session import Session
from minicpmo_cpp.terminal import say, to_text, write
from minicpmo_cpp.turn import Turn
from minicpmo_cpp.types import ChatResult

HELP = """\
/image path   shows the model a picture with your next message
/audio path   lets it hear a sound with your next message; an empty line sends it by itself
/video path   shows it a video with your next message
/system text  sets the system prompt and begins anew
/clear        begins anew
/help         shows this
/quit         leaves, as Ctrl-D does; Ctrl-C stops an answer"""


def answer_once(
    session: Session,
    messages: list[dict[str, Any]],
    reading: dict[str, Any],
    saying: dict[str, Any],
    *,
    is_shown: bool,
) -> ChatResult:
    """One turn, its pieces written as they come if is_shown."""
    display = ReadingProgress(Console(stderr=True))

    def show(piece: str) -> None:
        display.stop()
        if is_shown:
            write(piece)

    try:
        return Turn(session, messages, reading, saying).run(show, display.update)
    finally:
        display.stop()


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
    ) -> None:
        self._model = model
        self._session = session
        self._system = system
        self._media = media  # of the next message
        self._reading = reading
        self._saying = saying
        self._on_answer = on_answer

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
        elif command in ("/clear", "/system"):
            if command == "/system":
                self._system = rest.strip() or None
            self._session.reset()
            self._media.clear()
            say("the conversation begins anew")
        else:
            say(HELP if command == "/help" else f"expected a command of /help, got {command}")
        return True

    def _add(self, add: Callable[[str], str], path: str) -> None:
        try:
            say(f"{add(path)} go with your next message")
        except (ValueError, OSError, ImportError) as error:
            say(str(error))

    def _answer(self, text: str) -> None:
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._media.content(text)}]
        if self._session.n_past == 0 and self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        try:
            result = answer_once(self._session, messages, self._reading, self._saying, is_shown=True)
        except (MiniCPMOError, MemoryError, ValueError) as error:
            say(f"\n{error}\n/clear begins anew")
            self._media.clear()
            return
        self._media.clear()
        write("\n")
        if result.stop_reason != "stop":
            is_cut = result.stop_reason == "length"
            say("[the answer reached --max-tokens]" if is_cut else "[interrupted]")
        self._on_answer(result)


def _read_line() -> str:
    """A line of the user. The prompt is no part of the answer, so it goes to a terminal or to stderr."""
    if sys.stdout is not None and sys.stdout.isatty():
        return input("> ")
    print("> ", end="", file=sys.stderr, flush=True)
    return input()
