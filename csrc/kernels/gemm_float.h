#pragma once
// Matrix products of float weights, summed in float32; ggml rounds the tokens to the weights' type.
// Reference: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.

#include "core/graph.h"

namespace minicpmo::kernels {

// w [n_in, n_out] of type F32, F16 or BF16 with contiguous rows, x F32 and contiguous, on a processor with
// AVX-512. Any number of tokens; with very few ggml is faster, because here every weight is unpacked first.
bool gemm_float_supports(const ggml_tensor* w, const ggml_tensor* x);

// ggml_mul_mat(w, x), x [n_in, n, ...] -> F32 [n_out, n, ...]. Only where supported, and on the CPU.
Tensor gemm_float(Graph& g, Tensor w, Tensor x);

}  // namespace minicpmo::kernels
