"""The log-mel spectrum that Whisper hears, in numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE, N_FFT, HOP, PIECE = 16000, 400, 160, 480000  # Hz, samples
Floats = NDArray[np.float32]


def log_mel(samples: Floats, n_mel: int) -> Floats:
    """Samples at 16 kHz, up to 30 s -> [n_mel, n_frame], a hundred frames a second."""
    n = len(samples)
    if not 0 < n <= PIECE:
        raise ValueError(f"[mel] expected 1 to {PIECE} samples, got {n}")
    # Frames behind the sound see silence, and one frame of it has the spectrum's floor.
    n_frame = -(-n // HOP)
    padded = np.zeros(n_frame * HOP + N_FFT, np.float64)
    padded[:n] = samples
    padded = np.pad(padded, (N_FFT // 2, 0), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][:n_frame]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    log = np.log10(np.maximum(power @ filters(n_mel, N_FFT, RATE), 1e-10))
    log = np.maximum(log, log.max() - 8.0)
    return np.ascontiguousarray(((log + 4.0) / 4.0).T, dtype=np.float32)


@cache
def filters(n_mel: int, n_fft: int, rate: int) -> NDArray[np.float64]:
    """Triangles of the Slaney scale up to 8 kHz, of equal area: [n_fft / 2 + 1, n_mel]."""
    top = 15.0 + 27.0 * np.log(8.0) / np.log(6.4)
    mels = np.linspace(0.0, top, n_mel + 2)
    hertz = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))
    bins = np.linspace(0.0, rate / 2, n_fft // 2 + 1)[:, None]
    rising = (bins - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - bins) / (hertz[2:] - hertz[1:-1])
    area: NDArray[np.float64] = 2.0 / (hertz[2:] - hertz[:-2])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)) * area)
