"""What the speech tokenizer hears, in numpy: Whisper's spectrum of 128 bands, of whole frames only."""

from __future__ import annotations

import numpy as np

from demo.sounds.mel import HOP, N_FFT, RATE, Floats, filters

N_MEL = 128


def tokenizer_mel(samples: Floats) -> Floats:
    """Samples at 16 kHz, 400 at least -> [n_frame, 128], a hundred frames a second."""
    padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(samples) // HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    log = np.log10(np.maximum(power @ filters(N_MEL, N_FFT, RATE), 1e-10))
    log = np.maximum(log, log.max() - 8.0)
    return ((log + 4.0) / 4.0).astype(np.float32)
