#pragma once
// Int8Product: quantised weights times rows of int8 activations, cut into pieces that any thread may take.

#include <cstddef>
#include <cstdint>

#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

struct Int8Product {
    const Int8Kernels& kernels;
    BlockType type;
    const char* w;    // rows of n_in weights
    size_t w_stride;  // bytes from row to row
    bool has_gaps;    // between the rows of w
    int64_t n_in;
    int64_t n_out;
    Int8Rows x;
    int64_t n;  // rows of x
    float* y;   // [n][n_out]

    int64_t n_piece() const { return (n_out + kernels.n_row - 1) / kernels.n_row; }

    // Piece i, a panel's rows of w times all of x. n_thread threads take turns: what the next piece of this
    // one is likely to read is asked for.
    void compute(int64_t i, int n_thread) const;
};

}  // namespace minicpmo::kernels
