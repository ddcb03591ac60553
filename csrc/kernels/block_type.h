#pragma once
// Which of ggml's types our integer products know.

#include <ggml.h>

#include <optional>

#include "kernels/int8/weight_blocks.h"

namespace minicpmo::kernels {

inline std::optional<BlockType> block_type(ggml_type type) {
    if (type == GGML_TYPE_Q4_K) return BlockType::q4_k;
    if (type == GGML_TYPE_Q5_K) return BlockType::q5_k;
    if (type == GGML_TYPE_Q6_K) return BlockType::q6_k;
    if (type == GGML_TYPE_Q8_0) return BlockType::q8_0;
    if (type == GGML_TYPE_Q4_0) return BlockType::q4_0;
    return std::nullopt;
}

}  // namespace minicpmo::kernels
