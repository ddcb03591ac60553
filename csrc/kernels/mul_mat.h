#pragma once
// mul_mat: the product every Linear is, by the fastest kernel that knows its types, or by ggml.

#include "core/graph.h"

namespace minicpmo::kernels {

// w [n_in, n_out], x F32 [n_in, n, ...] -> F32 [n_out, n, ...]
Tensor mul_mat(Graph& g, Tensor w, Tensor x);

}  // namespace minicpmo::kernels
