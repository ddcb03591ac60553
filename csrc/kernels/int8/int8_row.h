#pragma once
// BlockRow and SuperblockRow: where the parts of a row of int8 activations lie, for weights whose blocks are
// of 32 and of 256. Values are -127 to 127.

#include <cstddef>
#include <cstdint>

#include "kernels/int8/weight_blocks.h"

namespace minicpmo::kernels {

constexpr int kInt8Block = 32;
constexpr int kInt8Superblock = 256;
constexpr int kMostExponent = 3;

// x[i] is about values[i] * scales[i / 32]. Weights q of 4 and of 8 bits stand for q - 8 and q - 128: a sum
// of their products is right if it starts at `less8` or `less128`, that many times the sum of the values.
struct BlockRow {
    const int8_t* values;
    const float* scales;
    const int32_t* less8;
    const int32_t* less128;

    BlockRow(const char* row, int64_t n_in)
        : values(reinterpret_cast<const int8_t*>(row)),
          scales(reinterpret_cast<const float*>(values + n_in)),
          less8(reinterpret_cast<const int32_t*>(scales + n_in / 32)),
          less128(less8 + n_in / 32) {}

    static size_t n_byte(int64_t n_in) { return static_cast<size_t>(n_in + 4 * (3 * n_in / 32)); }
};

// x[i] is about values[i] * 2^e * scales[i / 256] with an exponent e of 0 to 3 for each 32 values. So
// their scales cost a product an addition to its exponent for 32 weights and one multiplication for 256,
// minima are multiplied as integers, and still no value has a larger step than with one scale for all 256.
struct SuperblockRow {
    const int8_t* values;
    const float* scales;
    const int32_t* exponents;  // [n_in / 32]: e where a float32 has its exponent
    const int32_t* less32;     // [n_in / 16]: where sums with weights start that stand for q - 32
    const int16_t* sums;       // [n_in / 32]: 2^e times the values added up, +-8 * 32 * 127 at most

    SuperblockRow(const char* row, int64_t n_in)
        : values(reinterpret_cast<const int8_t*>(row)),
          scales(reinterpret_cast<const float*>(values + n_in)),
          exponents(reinterpret_cast<const int32_t*>(scales + n_in / 256)),
          less32(exponents + n_in / 32),
          sums(reinterpret_cast<const int16_t*>(less32 + n_in / 16)) {}

    static size_t n_byte(int64_t n_in) {
        return static_cast<size_t>(n_in + 4 * (n_in / 256 + n_in / 32 + n_in / 16) + 2 * (n_in / 32));
    }
};

inline size_t int8_row_bytes(BlockType weights, int64_t n_in) {
    return block_weights(weights) == kInt8Superblock ? SuperblockRow::n_byte(n_in) : BlockRow::n_byte(n_in);
}

}  // namespace minicpmo::kernels
