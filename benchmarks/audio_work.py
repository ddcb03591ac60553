"""How much arithmetic hearing takes: 2 FLOP per multiply-add, from the sizes that the model file states.

Counted are products with weights, keys and values: both convolutions over every frame they are given (the
redundant ones of a stream included), queries, keys, values and output of each layer, its scores and weighted
sums over the keys that a frame may see, its feed-forward, and the projector, whose second layer works on
embeddings only. Not counted: the spectrum, norms, activations, softmax, biases.
"""

from __future__ import annotations

from dataclasses import dataclass

TAPS = 3  # of both convolutions; the second has stride 2
REDUNDANT = 2  # mel frames of its neighbours that a chunk of a duplex stream repeats on each side


@dataclass(frozen=True)
class AudioSizes:
    n_layer: int
    n_embd: int
    n_ff: int
    n_mel: int
    n_position: int
    pool_step: int
    sample_rate: int
    hop: int
    chunk_s: float
    n_embd_llm: int

    def n_mel_frame(self, seconds: float) -> int:
        return round(seconds * self.sample_rate) // self.hop

    @property
    def chunk_frames(self) -> int:
        """Frames behind the convolutions that a chunk of a stream adds."""
        return self.n_mel_frame(self.chunk_s) // 2

    @property
    def n_chunk(self) -> int:
        """Chunks that a duplex stream hears before the positions end and it forgets what came before."""
        window = self.chunk_frames + REDUNDANT  # the redundant frames of both sides, halved
        return (self.n_position - window - 1) // self.chunk_frames + 1


def of_chunk(sizes: AudioSizes, index: int) -> int:
    """FLOP of the index-th chunk of a duplex stream, which sees all since the stream last forgot."""
    index %= sizes.n_chunk
    n_mel_frame = 2 * sizes.chunk_frames + REDUNDANT * (1 if index == 0 else 2)
    n = sizes.chunk_frames
    return _flop(sizes, n_mel_frame, n, n_seen=n * (index + 1) * n)


def of_piece(sizes: AudioSizes, seconds: float, block_s: float) -> int:
    """FLOP of sound that is encoded at once, where a frame sees the past and its own block."""
    n_mel_frame = sizes.n_mel_frame(seconds)
    n, block = (n_mel_frame + 1) // 2, sizes.n_mel_frame(block_s) // 2
    n_seen = sum(min(n, (i // block + 1) * block) for i in range(n))
    return _flop(sizes, n_mel_frame, n, n_seen)


def _flop(sizes: AudioSizes, n_mel_frame: int, n: int, n_seen: int) -> int:
    """n frames that count; n_seen: pairs of a frame and a key that it sees."""
    width = sizes.n_embd
    convolutions = n_mel_frame * TAPS * sizes.n_mel * width + (n_mel_frame + 1) // 2 * TAPS * width**2
    layer = n * (4 * width**2 + 2 * width * sizes.n_ff) + 2 * n_seen * width
    projector = n * width * sizes.n_embd_llm + n // sizes.pool_step * sizes.n_embd_llm**2
    return 2 * (convolutions + sizes.n_layer * layer + projector)
