"""Player: speech to the loudspeaker, by whatever program there is."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from minicpmo_cpp.sound_file import SoundFile, to_pcm
from minicpmo_cpp.types import Samples

# Programs that play raw samples from standard input, and one that needs a file.
_STREAMING = {
    "ffplay": "-loglevel error -nodisp -autoexit -f s16le -sample_rate {rate} -i pipe:0",
    "aplay": "-q -t raw -f S16_LE -c 1 -r {rate} -",
    "paplay": "--raw --format=s16le --channels=1 --rate={rate}",
}
_FROM_FILE = "afplay"


def find_player() -> str:
    """The path of a program. Raises OSError if there is none."""
    names = (*_STREAMING, _FROM_FILE)
    for name in names:
        if path := shutil.which(name):
            return path
    raise OSError(f"[play] expected one of {', '.join(names)} on the PATH, got none")


class Player:
    """Plays one answer while it is made; never keeps the caller waiting before close()."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._program = find_player()
        name = Path(self._program).stem.lower()
        self._file: SoundFile | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if name == _FROM_FILE:
            handle, path = tempfile.mkstemp(suffix=".wav")
            os.close(handle)
            self._path = Path(path)
            self._file = SoundFile(self._path, sample_rate)
            return
        arguments = _STREAMING[name].format(rate=sample_rate).split()
        self._process = self._start(arguments, subprocess.PIPE)
        self._samples: queue.SimpleQueue[Samples | None] = queue.SimpleQueue()  # None is the last
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def write(self, samples: Samples) -> None:
        if self._file is not None:
            self._file.write(samples)
        else:
            self._samples.put(samples)

    def close(self) -> None:
        """Waits until all was heard; Ctrl-C ends that. Raises OSError if the program failed."""
        code = 0
        try:
            if self._file is not None:
                self._file.close()
                self._process = self._start([str(self._path)], subprocess.DEVNULL)
            else:
                self._samples.put(None)
                while self._thread.is_alive():
                    self._thread.join(0.1)
            assert self._process is not None
            code = self._process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
        if code != 0:
            raise OSError(f"[play] expected sound of {self._program}, got exit code {code}")

    def stop(self) -> None:
        """Silence, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _start(self, arguments: list[str], stdin: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._program, *arguments], stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _feed(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # the program has ended
            while (samples := self._samples.get()) is not None:
                process.stdin.write(to_pcm(samples).tobytes())
                process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()
