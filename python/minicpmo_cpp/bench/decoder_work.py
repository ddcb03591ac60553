"""How much work the language model is."""

from __future__ import annotations

import re
from dataclasses import replace

from minicpmo_cpp.bench.work import Matrices, Work, attention
from minicpmo_cpp.config import Config

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


def token_bytes(matrices: Matrices) -> int:
    """Bytes of weights that one token reads: layers, last norm, head, a row of the embedding."""
    head = HEAD if HEAD in matrices else EMBEDDING  # a tied head is the embedding
    layers = matrices.bytes_of(r"blk\.[0-9]+\..*|output_norm\.weight")
    return layers + matrices[head].n_byte + matrices.row_bytes(EMBEDDING)


class DecoderWork:
    def __init__(self, matrices: Matrices, config: Config) -> None:
        self._matrices = matrices
        llm = config["llm"]
        self._n_layer: int = llm["n_layer"]
        self._width: int = llm["n_head"] * llm["d_head"]

    def of_prefill(self, n: int) -> Work:
        """n tokens into an empty conversation, up to the last one's logits, as one graph."""
        head = HEAD if HEAD in self._matrices else EMBEDDING
        products = self._matrices.product(r"blk\.[0-9]+\..*\.weight", n)
        products += self._matrices.product(re.escape(head))
        products += attention(self._width, self._n_layer * n * (n + 1) // 2)
        n_byte = token_bytes(self._matrices) + (n - 1) * self._matrices.row_bytes(EMBEDDING)
        return replace(products, n_byte=n_byte)

    def of_token(self, n_past: int = 0) -> Work:
        """One token after so many. Of what is read, weights count, the cache does not."""
        return self.of_prefill(1) + attention(self._width, self._n_layer * n_past)
