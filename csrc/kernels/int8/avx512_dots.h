#pragma once
// Rows of weights by one row of activations on AVX-512, from the file's own blocks: decoding is bound by
// memory.

#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

DotsFunction avx512_dots(BlockType type);  // nullptr for a type that is left to ggml

}  // namespace minicpmo::kernels
