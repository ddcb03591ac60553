#pragma once
// One row of weights by one of activations on AVX-512, from the file's own blocks: decoding is bound by
// memory.

#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

DotFunction avx512_dot(BlockType type);  // nullptr for a type that is left to ggml

}  // namespace minicpmo::kernels
