#pragma once
// Activations in full float32 on the CPU. ggml's own GELU reads a float16 table, which costs three decimal
// digits.

#include "core/graph.h"

namespace minicpmo::kernels {

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); reference: torch gelu(approximate="tanh"). x must be
// contiguous.
Tensor gelu_tanh(Graph& g, Tensor x);

}  // namespace minicpmo::kernels
