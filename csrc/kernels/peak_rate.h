#pragma once
// multiply_in_registers: products that touch no memory, for whoever asks how fast the processor could be.
// The instructions are those that our kernels use here, so their rate is the kernels' limit.

#include <cstdint>
#include <string_view>

namespace minicpmo::kernels {

enum class ProductType {
    float32,  // fused multiply-adds
    int8,     // dot products of unsigned and signed bytes, summed in 32 bits
};

struct RegisterProducts {
    std::string_view instructions;  // that computed them
    int64_t n_op = 0;               // multiplications and additions: two a multiply-add
};

// The same products n_round times, on the calling thread; a round takes some nanoseconds. Throws
// ArgumentError unless n_round is 1 to 2^40.
RegisterProducts multiply_in_registers(ProductType type, int64_t n_round);

}  // namespace minicpmo::kernels
