"""ReadingProgress: how far images, sound and prompt are read, on stderr, where a terminal can show it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from minicpmo_cpp.types import Progress


class ReadingProgress:
    """Appears when something is left to wait for and vanishes with stop()."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._display: Display | None = None
        self._tasks: dict[str, TaskID] = {}

    def update(self, progress: Progress) -> None:
        if not self._console.is_terminal:
            return
        for name, done, total in (
            ("images", progress.n_slice_done, progress.n_slice),
            ("audio", progress.n_audio_done, progress.n_audio),
            ("prompt", progress.n_token_done, progress.n_token),
        ):
            if done < total or name in self._tasks:
                self._show(name, done, total)

    def stop(self) -> None:
        if self._display is not None:
            self._display.stop()
        self._display, self._tasks = None, {}

    def _show(self, name: str, done: int, total: int) -> None:
        if self._display is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._display = Display(*columns, console=self._console, transient=True)
            self._display.start()
        if name not in self._tasks:
            self._tasks[name] = self._display.add_task(name, total=total)
        self._display.update(self._tasks[name], completed=done, total=total)
