"""The spectrum that flow and vocoder share, and the pitch below it, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.sounds.mel import filters

RATE, FRAME, WINDOW, N_MEL = 24000, 480, 1920, 80  # Hz, samples a frame, samples of a window, bands
_LOWEST, _HIGHEST = 60.0, 420.0  # Hz that a voice is looked for at
_LEAST_ALIKE = 0.5  # of a period with the next, 0 to 1, in what is voiced
_LEAST_LOUD = 3e-3  # of the samples' root of mean squares
Floats = NDArray[np.float32]


def log_mel(samples: Floats) -> Floats:
    """Samples at 24 kHz -> natural logarithms of magnitudes [n_frame, 80], whole frames only."""
    half = (WINDOW - FRAME) // 2
    frames = _windows(np.pad(samples.astype(np.float64), half, mode="reflect"), WINDOW, len(samples) // FRAME)
    turns = np.arange(WINDOW) / WINDOW
    spectrum = np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * turns)), axis=1)
    magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    return np.log(np.maximum(magnitude @ filters(N_MEL, WINDOW, RATE), 1e-5)).astype(np.float32)


def pitch_of(samples: Floats) -> Floats:
    """Hz of each frame, 0 where nothing is voiced: the shortest period that nearly repeats best."""
    n = 2 * round(RATE / _LOWEST)
    n_frame = len(samples) // FRAME
    frames = _windows(np.pad(samples.astype(np.float64), (n - FRAME) // 2 + 1), n, n_frame)
    frames = frames - frames.mean(axis=1, keepdims=True)
    alike = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * n, axis=1)) ** 2, axis=1)[:, :n]
    # A longer lag has fewer products to sum.
    alike = alike / np.maximum(alike[:, :1], 1e-9) * (n / (n - np.arange(n)))
    first, last = round(RATE / _HIGHEST), round(RATE / _LOWEST)
    lags = alike[:, first:last]
    is_peak = np.zeros(lags.shape, bool)
    is_peak[:, 1:-1] = (lags[:, 1:-1] >= lags[:, :-2]) & (lags[:, 1:-1] >= lags[:, 2:])
    good = is_peak & (lags > 0.85 * np.where(is_peak, lags, 0.0).max(axis=1, keepdims=True))
    lag = first + good.argmax(axis=1)
    loud = np.sqrt((frames**2).mean(axis=1)) > _LEAST_LOUD
    voiced = good.any(axis=1) & loud & (np.take_along_axis(alike, lag[:, None], 1)[:, 0] > _LEAST_ALIKE)
    return np.where(voiced, RATE / lag, 0.0).astype(np.float32)


def _windows(samples: NDArray[np.float64], n: int, n_frame: int) -> NDArray[np.float64]:
    """[n_frame, n]"""
    return np.lib.stride_tricks.sliding_window_view(samples, n)[::FRAME][:n_frame]
