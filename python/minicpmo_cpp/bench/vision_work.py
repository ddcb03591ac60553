"""How much work seeing one slice is: every patch through the tower, the queries through the resampler.

Counted are products with weights, and scores and weighted sums. Not counted: what depends on no input (the
queries' own projection), norms, activations, softmax, biases.
"""

from __future__ import annotations

from minicpmo_cpp.bench.work import Matrices, Work, attention
from minicpmo_cpp.config import Config

LAYER = r"(attn_[qkv]|attn_out|ffn_up|ffn_down)\.weight"


class VisionWork:
    def __init__(self, matrices: Matrices, config: Config) -> None:
        self._matrices = matrices
        vision = config["vision"]
        self._n_layer: int = vision["n_layer"]
        self._width: int = vision["n_embd"]
        self._n_query: int = vision["n_query"]
        self._width_llm: int = config["llm"]["n_embd"]

    def of_slice(self, n_patch: int) -> Work:
        # A checkpoint may hold one more layer than runs.
        layers = "|".join(str(i) for i in range(self._n_layer))
        tower = self._matrices.product(rf"v\.patch_embd\.weight|v\.blk\.({layers})\.{LAYER}", n_patch)
        tower += attention(self._width, self._n_layer * n_patch**2)
        resampler = self._matrices.product(r"resampler\.(kv|attn\.[kv])\.weight", n_patch)
        resampler += self._matrices.product(r"resampler\.(attn\.out|proj)\.weight", self._n_query)
        resampler += attention(self._width_llm, self._n_query * n_patch)
        return tower + resampler
