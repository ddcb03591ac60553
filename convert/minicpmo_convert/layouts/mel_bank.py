"""Triangular filters between frequencies that lie evenly on Slaney's mel scale, each of area one.

Reference: Slaney, Auditory Toolbox, 1998; librosa.filters.mel with its defaults gives the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LINEAR_HZ = 200.0 / 3.0  # of a mel, below _BREAK_HZ
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0  # of a mel, above


def mel_bank(n_mel: int, n_fft: int, sample_rate: int) -> NDArray[np.float32]:
    """float32 [n_mel, n_fft / 2 + 1]: how much each band hears of each bin of a spectrum."""
    top = _BREAK_MEL + np.log(sample_rate / 2 / _BREAK_HZ) / _LOG_STEP
    mels = np.linspace(0.0, top, n_mel + 2)
    edges = np.where(
        mels < _BREAK_MEL, mels * _LINEAR_HZ, _BREAK_HZ * np.exp((mels - _BREAK_MEL) * _LOG_STEP)
    )
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    filters: NDArray[np.float32] = (triangles * (2.0 / (high - low))).astype(np.float32)
    return filters
