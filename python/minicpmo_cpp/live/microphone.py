"""What a live conversation has of the room: a microphone, a loudspeaker and keys.

sounddevice records: pip install 'minicpmo-cpp[live]'.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from minicpmo_cpp.audio import SAMPLE_RATE, _resampler
from minicpmo_cpp.player import Player, find_player
from minicpmo_cpp.types import Samples

if TYPE_CHECKING:
    from minicpmo_cpp.duplex import DuplexSession

_WAIT_S = 0.1  # for sound or a key before looking whether all is over


class Microphone:
    """The system's own microphone as the input of a conversation."""

    def __init__(self, seconds: float = math.inf) -> None:
        """
        Args:
            seconds: when it ends by itself.

        Raises:
            OSError: there is no microphone, or it cannot be opened.
            ImportError: sounddevice is missing.
        """
        devices = _sounddevice()
        try:
            rate = _rate(devices)
            self._stream = devices.InputStream(
                samplerate=rate, channels=1, dtype="float32", callback=self._hear
            )
        except (devices.PortAudioError, ValueError) as error:
            raise OSError(f"[microphone] expected a microphone, got: {error}") from None
        self._resample = None if rate == SAMPLE_RATE else _resampler(rate)
        self._queue: queue.SimpleQueue[Samples] = queue.SimpleQueue()
        self._seconds = seconds
        self._begin_s = time.monotonic()
        self.heard: list[Samples] = []

    def run(self, session: DuplexSession, stop: threading.Event) -> None:
        n_left = self._seconds * SAMPLE_RATE
        with self._stream:
            self._begin_s = time.monotonic()
            while not stop.is_set() and n_left >= 1:
                try:
                    samples = self._queue.get(timeout=_WAIT_S)
                except queue.Empty:
                    if not self._stream.active:
                        raise OSError("[microphone] expected sound, got a microphone that stopped") from None
                    continue
                if self._resample is not None:
                    samples = self._resample(samples, False)
                samples = samples[: int(min(n_left, len(samples)))]
                session.push_audio(samples)
                self.heard.append(samples)
                n_left -= len(samples)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._begin_s

    def _hear(self, samples: Any, n_sample: int, when: Any, status: Any) -> None:
        self._queue.put(samples[:, 0].copy())


class Loudspeaker:
    """Plays what is said; falls silent at once and speaks again with the next sound."""

    def __init__(self, sample_rate: int) -> None:
        """Raises OSError if no program plays sound."""
        find_player()
        self._sample_rate = sample_rate
        self._player: Player | None = None
        self._lock = threading.Lock()

    def write(self, samples: Samples) -> None:
        with self._lock:
            self._player = self._player or Player(self._sample_rate)
            self._player.write(samples)

    def silence(self) -> None:
        with self._lock:
            if self._player is not None:
                self._player.stop()
            self._player = None

    def close(self) -> None:
        """Waits until all was heard."""
        if self._player is not None:
            self._player.close()
        self._player = None


class Keys:
    """Hands over each key that is typed at the terminal; nothing where standard input is none.

    What is typed is not shown meanwhile. Ctrl-C stays a signal.
    """

    def __init__(self, on_key: Callable[[str], None]) -> None:
        self._on_key = on_key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._is_there = sys.stdin is not None and sys.stdin.isatty()
        self._settings: Any = None

    def __enter__(self) -> Keys:
        if self._is_there:
            if sys.platform != "win32":
                import termios
                import tty

                self._settings = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._is_there:
            self._thread.join()
            if sys.platform != "win32":
                import termios

                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)

    def _listen(self) -> None:
        while not self._stop.is_set():
            if key := _next_key():
                self._on_key(key)


def _next_key() -> str:
    """A key, or nothing after a while."""
    if sys.platform == "win32":
        import msvcrt

        if msvcrt.kbhit():
            return msvcrt.getwch()
        time.sleep(_WAIT_S)
        return ""
    import os
    import select

    is_typed = bool(select.select([sys.stdin], [], [], _WAIT_S)[0])
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "ignore") if is_typed else ""


def _rate(devices: Any) -> int:
    """16 kHz if the device records that, else its own."""
    try:
        devices.check_input_settings(samplerate=SAMPLE_RATE, channels=1, dtype="float32")
    except (devices.PortAudioError, ValueError):
        return int(devices.query_devices(kind="input")["default_samplerate"])
    return SAMPLE_RATE


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise ImportError(
            "[microphone] recording needs sounddevice: pip install 'minicpmo-cpp[live]'"
        ) from None
    except OSError:  # the package without its library
        raise OSError(
            "[microphone] recording needs PortAudio: apt-get install libportaudio2, or its like"
        ) from None
    return sounddevice
