#pragma once
// Products of quantised weights with many int8 rows (prompts, encoders), and with one (decoding). Weights
// stay in the file's own layout: a panel of rows is unpacked into the cache once for all tokens of a batch,
// so there is one copy of every weight in memory and nothing to prepare at load.

#include "core/graph.h"

namespace minicpmo::kernels {

bool gemm_int8_supports(const ggml_tensor* w, const ggml_tensor* x);  // x [n_in, n], n >= 2
bool gemv_int8_supports(const ggml_tensor* w, const ggml_tensor* x);  // x [n_in, 1]

// w [n_in, n_out], x F32 [n_in, n] -> F32 [n_out, n]. Only where supported, and on the CPU.
Tensor gemm_int8(Graph& g, Tensor w, Tensor x);
Tensor gemv_int8(Graph& g, Tensor w, Tensor x);

}  // namespace minicpmo::kernels
