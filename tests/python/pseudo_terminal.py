"""Terminal: what the tests of the command line type at and look at."""

from __future__ import annotations

import os
import subprocess
import sys
import time


class Terminal:
    """A program at a pseudo-terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        import pty  # Unix only

        # The child makes the terminal its controlling one, so that Ctrl-C becomes a signal.
        take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
        start = f"{take}; os.execv(sys.argv[1], sys.argv[1:])"
        self._end, child = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, *command],
            env=environment,
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        os.set_blocking(self._end, False)
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def expect(self, text: str, timeout_s: float = 60) -> str:
        """All up to `text`, which is taken from the screen."""
        deadline = time.monotonic() + timeout_s
        while text not in self._seen:
            assert time.monotonic() < deadline, f"expected {text!r}, got {self._seen[-2000:]!r}"
            self._seen += self._read()
        before, _, self._seen = self._seen.partition(text)
        return before

    def code(self) -> int:
        """Waits for the end."""
        while self._process.poll() is None:
            self._seen += self._read()
        while more := self._read():
            self._seen += more
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def _read(self) -> str:
        time.sleep(0.01)
        try:
            return os.read(self._end, 65536).decode("utf-8", "replace")
        except OSError:  # nothing there, or the program has ended
            return ""
