#pragma once
// Rows of activations as int8, in the form that integer products with weights of a type read.

#include "core/graph.h"
#include "kernels/int8/weight_blocks.h"

namespace minicpmo::kernels {

// x F32 [n_in, n], n_in a multiple of the weights' blocks -> I8 [int8_row_bytes, n]; one node per x and form,
// however many products read it. Only where int8_kernels() are.
Tensor int8_rows(Graph& g, Tensor x, BlockType weights);

}  // namespace minicpmo::kernels
