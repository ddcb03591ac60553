#pragma once
// Rows of activations as int8 with one scale per 32 values, the form that the integer products read.

#include "core/graph.h"

namespace minicpmo::kernels {

// x F32 [n_in, n], n_in a multiple of 32 -> I8 [bytes of an Int8Row, n]; one node per x, however many
// products read it. Only where int8_kernels() are.
Tensor int8_rows(Graph& g, Tensor x);

}  // namespace minicpmo::kernels
