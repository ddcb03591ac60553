#pragma once
// Activations in full float32 on the CPU. ggml's own GELU reads a float16 table, which costs three decimal
// digits.

#include "core/graph.h"

namespace minicpmo::kernels {

// On the CPU both write over x, which must be contiguous.
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); reference: torch gelu(approximate="tanh").
Tensor gelu_tanh(Graph& g, Tensor x);
// 0.5 x (1 + erf(x / sqrt 2)); reference: torch gelu(approximate="none").
Tensor gelu_erf(Graph& g, Tensor x);

}  // namespace minicpmo::kernels
