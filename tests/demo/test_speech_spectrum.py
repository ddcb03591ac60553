"""The spectrum and the pitch that speech is made of, against their definition and against tones."""

from __future__ import annotations

import numpy as np
import pytest

from demo.sounds.mel import filters
from demo.speech.spectrum import FRAME, N_MEL, RATE, WINDOW, log_mel, pitch_of


def buzz(hertz: float, n_frame: int) -> np.ndarray:
    """A tone with nine harmonics."""
    t = np.arange(n_frame * FRAME) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * hertz * h * t) / h for h in range(1, 10))).astype(np.float32)


def test_a_frame_is_what_the_specification_says() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 6 * FRAME + 100).astype(np.float32)
    found = log_mel(samples)
    assert found.shape == (6, N_MEL)
    # Frame 3 sees the samples from 3 * 480 - 720 on, one by one.
    begin = 3 * FRAME - 720
    piece = samples[begin : begin + WINDOW].astype(np.float64)
    turns = 2 * np.pi * np.arange(WINDOW) / WINDOW
    piece *= 0.5 - 0.5 * np.cos(turns)
    for k in (4, 40, 500):
        wave = np.exp(-1j * turns * k)
        assert np.fft.rfft(piece)[k] == pytest.approx((piece * wave).sum())
    magnitude = np.sqrt(np.abs(np.fft.rfft(piece)) ** 2 + 1e-9)
    expected = np.log(magnitude @ filters(N_MEL, WINDOW, RATE))
    np.testing.assert_allclose(found[3], expected, atol=1e-5)  # float32
    # The largest coefficient of the official filters.
    assert filters(N_MEL, WINDOW, RATE).max() == pytest.approx(0.02667, abs=1e-5)


def test_silence_is_the_floor() -> None:
    # A magnitude is at least the root of 1e-9, in every bin: more than the floor of 1e-5 in wide bands alone.
    found = log_mel(np.zeros(4 * FRAME, np.float32))
    assert found.min() >= np.float32(np.log(1e-5))
    assert found.max() < -8


@pytest.mark.parametrize("hertz", [75.0, 100.0, 151.0, 220.0, 330.0])
def test_the_pitch_of_a_tone_is_its_frequency(hertz: float) -> None:
    found = pitch_of(buzz(hertz, 12))
    assert found.shape == (12,)
    # A period is found in whole samples.
    assert np.abs(found[2:-2] / hertz - 1).max() < 0.6 * hertz / RATE + 0.002


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 40 * FRAME).astype(np.float32)
    assert (pitch_of(noise) > 0).mean() < 0.1
    assert (pitch_of(0 * noise) == 0).all()
    # A tone that nobody hears.
    assert (pitch_of(0.005 * buzz(200.0, 10)) == 0).all()
