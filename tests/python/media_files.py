"""Small files of sound and video for the tests."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray


def wav(samples: NDArray[Any], rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def film(seconds: int, *, has_sound: bool = True) -> bytes:
    """64 x 48 pixels, five frames a second, and a tone."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        pictures = output.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("aac", rate=16000, layout="mono") if has_sound else None
        for i in range(5 * seconds):
            image = np.full((48, 64, 3), 20 * i % 256, np.uint8)
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(pictures.encode())
        if sound is not None:
            tone = 0.3 * np.sin(np.arange(16000 * seconds, dtype=np.float32) / 5)
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            output.mux(sound.encode(frame))
            output.mux(sound.encode())
    return file.getvalue()
