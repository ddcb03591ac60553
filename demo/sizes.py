"""How large each part of the demo model is. Every row is whole blocks of 32, so that q8_0 takes all of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    n_vocab: int
    # language model
    n_embd: int = 256  # whole 128s: each 128 is a head of the resampler
    n_layer: int = 4
    n_head: int = 4
    n_head_kv: int = 2
    d_head: int = 64
    n_ff: int = 512
    # vision tower and resampler
    v_embd: int = 192
    v_layer: int = 4
    v_head: int = 6
    v_ff: int = 576
    v_grid: int = 23  # learned positions a side; a prime, so that no patch lies on a boundary of two
    n_query: int = 36
    scale: int = 168  # pixels a side of a square slice
    max_slices: int = 4
    # sound
    a_embd: int = 160
    a_layer: int = 4
    a_head: int = 5
    a_position: int = 1500
    n_mel: int = 80

    @property
    def a_ff(self) -> int:
        """The official projector's width is a quarter of it."""
        return 4 * self.a_embd


PATCH = 14
POOL = 5  # positions of sound that become one embedding
BLOCK = 50  # positions of sound, a second, that hear each other
LLM_EPS = V_EPS = 1e-6
A_EPS = 1e-5
ROPE_THETA = 1e6
