"""FetchProgress: how far files are fetched, on stderr: a bar at a terminal, else a line for each file."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from minicpmo_cpp.hub.amount import in_bytes
from minicpmo_cpp.hub.listing import HubFile
from minicpmo_cpp.terminal import say


class FetchProgress:
    """Appears when something is fetched and vanishes with stop()."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._display: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, file: HubFile) -> None:
        if not self._console.is_terminal:
            say(f"fetching {file.path} ({in_bytes(file.size)})")
            return
        if self._display is None:
            self._display = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._display.start()
        self._task = self._display.add_task(file.path.rpartition("/")[2], total=file.size)

    def update(self, n_byte: int) -> None:
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=n_byte)

    def stop(self) -> None:
        if self._display is not None:
            self._display.stop()
        self._display = self._task = None
