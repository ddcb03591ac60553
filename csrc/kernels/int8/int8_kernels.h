#pragma once
// Int8Kernels: the inner loops of one instruction set for products of quantised weights with int8 rows. What
// cuts the work and checks it is the same for all of them.

#include <array>

#include "kernels/cpu_features.h"
#include "kernels/int8/int8_row.h"
#include "kernels/int8/weight_panel.h"

namespace minicpmo::kernels {

// A panel by a number of rows of x, over n weights from `begin`: y [rows of x][y_stride], added to what is
// there unless begin is 0.
using TileFunction = void (*)(const WeightPanel& panel, const Int8Rows& x, int64_t begin, int64_t n, float* y,
                              int64_t y_stride);
constexpr int kMostTileTokens = 6;

struct PanelFormat {
    // Blocks [begin, begin + n) of all rows of a panel, rows[i] the address of a row's first block.
    void (*unpack)(const char* const* rows, int64_t begin, int64_t n, WeightPanel& panel) = nullptr;
    std::array<TileFunction, kMostTileTokens> tiles = {};  // [t]: of t + 1 rows of x, for t < n_token
};

// Rows of weights by one row of activations: y [n_row]. `stride`: bytes from row to row.
using DotsFunction = void (*)(const char* rows, size_t stride, int64_t n_row, const char* x, int64_t n_in,
                              float* y);
// x [n_in] to a row of activations.
using QuantizeFunction = void (*)(const float* x, char* out, int64_t n_in);

struct Int8Kernels {
    int n_row = 0;    // of a panel
    int n_token = 0;  // of the largest tile
    // The fewest rows of x that pay for unpacking.
    int64_t n_fewest = 2;
    PanelFormat (*format)(BlockType type) = nullptr;
    // Of single rows of x; nullptr for a type that is left to ggml, or itself nullptr for all of them.
    DotsFunction (*dots)(BlockType type) = nullptr;
    QuantizeFunction quantize_blocks = nullptr;       // to a BlockRow
    QuantizeFunction quantize_superblocks = nullptr;  // to a SuperblockRow

    QuantizeFunction quantize(BlockType weights) const {
        return block_weights(weights) == kInt8Superblock ? quantize_superblocks : quantize_blocks;
    }
};

const Int8Kernels* int8_kernels();         // of isa()
const Int8Kernels* int8_kernels(Isa set);  // nullptr where ggml's own kernels are to be used

// One for each instruction set, in the file of its name.
extern const Int8Kernels kAvx2Int8;
extern const Int8Kernels kAvxVnniInt8;
extern const Int8Kernels kAvx512Int8;
extern const Int8Kernels kDotprodInt8;
extern const Int8Kernels kI8mmInt8;

}  // namespace minicpmo::kernels
