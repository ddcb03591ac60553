"""What the members' checkpoints are asked, in tests and by the oracle: pictures, sounds, conversations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_GREEDY = 12
SEE = ("o-2.6", "v-2.6", "v-4.5", "v-4.0", "v-4.0-scaled", "v-2.5")


@dataclass(frozen=True)
class Frames:
    """Pictures by name that are one, and their times in tenths of a second."""

    names: list[str]
    times: list[int]


@dataclass(frozen=True)
class Conversation:
    messages: list[tuple[str, list[str | Frames]]]  # "@name" is a picture, "#name" a sound
    members: tuple[str, ...] = SEE
    thinks: bool = False


CONVERSATIONS = {
    "text": Conversation(
        [("user", ["Hello, what is the whole, 12345 at 2 ½?"])], members=(*SEE, "v-4.0-long")
    ),
    "image": Conversation([("user", ["@wide", "What is at the end?"])]),
    "turns": Conversation(
        [
            ("system", ["Answer in a word. "]),
            ("user", ["@small", "@wide", "Compare the two."]),
            ("assistant", ["Hello."]),
            ("user", ["  Why?"]),
        ]
    ),
    "thinking": Conversation([("user", ["Hello"])], members=("v-4.5",), thinks=True),
    "video": Conversation(
        [
            (
                "user",
                [
                    Frames(["frame0", "frame1", "frame2"], [0, 7, 14]),
                    Frames(["frame3", "frame4"], [21, 3600]),
                    "What is it?",
                ],
            )
        ],
        members=("v-4.5",),
    ),
    "sound": Conversation([("user", ["#speech", "What is it?"])], members=("o-2.6",)),
    "omni": Conversation(
        [("system", ["Hello", "#short"]), ("user", ["@small", "#speech"])], members=("o-2.6",)
    ),
    "long": Conversation([("user", ["Hello, the 123. " * 90])], members=("v-4.0-long",)),
}


def pictures() -> dict[str, NDArray[np.uint8]]:
    """uint8 [h, w, 3]: smooth with noise, so that filters of resizing tell."""
    sizes = {"small": (60, 50), "wide": (200, 240), **{f"frame{i}": (90, 160) for i in range(5)}}
    found = {}
    for i, (name, (height, width)) in enumerate(sizes.items()):
        rng = np.random.default_rng(100 + i)
        down, across = np.mgrid[:height, :width]
        waves = np.stack([np.sin(down / (7 + c)) + np.cos(across / (9 + i + c)) for c in range(3)], -1)
        noise = rng.standard_normal((height, width, 3))
        found[name] = np.clip(128 + 45 * waves + 20 * noise, 0, 255).astype(np.uint8)
    return found


def sounds() -> dict[str, NDArray[np.float32]]:
    """float32 [n] at 16 kHz."""
    found = {}
    for i, (name, n_sample) in enumerate({"speech": 41600, "short": 9600}.items()):
        rng = np.random.default_rng(200 + i)
        time = np.arange(n_sample) / 16000
        tone = np.sin(2 * np.pi * (200 + 150 * np.sin(3 * time)) * time) * np.exp(-time)
        found[name] = (0.3 * tone + 0.02 * rng.standard_normal(n_sample)).astype(np.float32)
    return found
