"""How much work hearing is.

Counted are products with weights, keys and values: both convolutions over every frame they are given (the
redundant ones of a stream included), queries, keys, values and output of each layer, its scores and weighted
sums over the keys that a frame may see, its feed-forward, and the projector, whose second layer works on
embeddings only. Not counted: the spectrum, norms, activations, softmax, biases.
"""

from __future__ import annotations

from minicpmo_cpp.bench.work import Matrices, Work, attention
from minicpmo_cpp.config import Config

REDUNDANT = 2  # mel frames of its neighbours that a chunk of a duplex stream repeats on each side


class AudioWork:
    def __init__(self, matrices: Matrices, config: Config) -> None:
        self._matrices = matrices
        audio = config["audio"]
        self._n_layer: int = audio["n_layer"]
        self._width: int = audio["n_embd"]
        self._n_position: int = audio["n_position"]
        self._pool_step: int = audio["pool_step"]
        self._hop: int = audio["hop"]
        self.sample_rate: int = audio["sample_rate"]
        self.chunk_s: float = audio["chunk_s"]

    @property
    def n_chunk(self) -> int:
        """Chunks that a duplex stream hears before the positions end and it forgets what came before."""
        n = self._chunk_frames
        window = n + REDUNDANT  # the redundant frames of both sides, halved
        return (self._n_position - window - 1) // n + 1

    def of_chunk(self, index: int) -> Work:
        """The index-th chunk of a duplex stream, which sees all since the stream last forgot."""
        index %= self.n_chunk
        n = self._chunk_frames
        n_mel_frame = 2 * n + REDUNDANT * (1 if index == 0 else 2)
        return self._of(n_mel_frame, n, n_pair=n * (index + 1) * n)

    def of_piece(self, seconds: float, block_s: float) -> Work:
        """Sound that is encoded at once, where a frame sees the past and its own block."""
        n_mel_frame = self._n_mel_frame(seconds)
        n, block = (n_mel_frame + 1) // 2, self._n_mel_frame(block_s) // 2
        return self._of(n_mel_frame, n, n_pair=sum(min(n, (i // block + 1) * block) for i in range(n)))

    @property
    def _chunk_frames(self) -> int:
        """Frames behind the convolutions, the second of which has stride 2, that a chunk of a stream adds."""
        return self._n_mel_frame(self.chunk_s) // 2

    def _n_mel_frame(self, seconds: float) -> int:
        return round(seconds * self.sample_rate) // self._hop

    def _of(self, n_mel_frame: int, n: int, n_pair: int) -> Work:
        """n frames that count; n_pair: pairs of a frame and a key that it sees."""
        product = self._matrices.product
        convolutions = product(r"a\.conv1\.weight", n_mel_frame)
        convolutions += product(r"a\.conv2\.weight", (n_mel_frame + 1) // 2)
        layers = product(r"a\.blk\.[0-9]+\.(attn_[qkv]|attn_out|ffn_up|ffn_down)\.weight", n)
        layers += attention(self._width, self._n_layer * n_pair)
        projector = product(r"mm\.a\.linear1\.weight", n)
        projector += product(r"mm\.a\.linear2\.weight", n // self._pool_step)
        return convolutions + layers + projector
