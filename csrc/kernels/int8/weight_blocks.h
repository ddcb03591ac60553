#pragma once
// The quantised formats of GGUF that our kernels read: how each packs its weights. w = scale * q - min, q
// unsigned. Layouts: github.com/ggml-org/ggml, src/ggml-common.h.

#include <cstdint>

namespace minicpmo::kernels {

enum class BlockType { q4_k, q5_k, q6_k, q8_0, q4_0 };

constexpr int block_weights(BlockType type) {
    return type == BlockType::q8_0 || type == BlockType::q4_0 ? 32 : 256;
}

struct BlockQ4K {        // 256 weights in 8 sub-blocks of 32
    uint16_t d, d_min;   // float16
    uint8_t scales[12];  // 8 six-bit scales and 8 six-bit minima
    uint8_t qs[128];     // 32 bytes c: low nibbles sub-block 2c, high nibbles sub-block 2c + 1
};
struct BlockQ5K {
    uint16_t d, d_min;
    uint8_t scales[12];
    uint8_t qh[32];  // bit s of byte l: the fifth bit of weight l of sub-block s
    uint8_t qs[128];
};
struct BlockQ6K {     // 256 weights in 16 sub-blocks of 16; q - 32
    uint8_t ql[128];  // low four bits: 64 bytes for each half of the block
    uint8_t qh[64];   // high two bits: 32 bytes for each half
    int8_t scales[16];
    uint16_t d;
};
struct BlockQ8_0 {  // 32 weights, signed
    uint16_t d;
    int8_t qs[32];
};
struct BlockQ4_0 {  // 32 weights; q - 8
    uint16_t d;
    uint8_t qs[16];  // low nibbles weights 0..15, high nibbles 16..31
};
static_assert(sizeof(BlockQ4K) == 144 && sizeof(BlockQ5K) == 176 && sizeof(BlockQ6K) == 210);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18);

}  // namespace minicpmo::kernels
