#pragma once
// WeightPanel: 16 rows of quantised weights unpacked for the dot-product instruction, a stretch of each row
// at a time.

#include <ggml.h>

#include <cstdint>

namespace minicpmo::kernels {

constexpr int kPanelRows = 16;  // one 32-bit lane of a register each
constexpr int64_t kPanelDepth =
    1024;  // most weights of a row at a time: two panels stay in the first-level cache

// w = scale * q - min. Bytes lie as [depth / 4][row][4], so that one instruction multiplies 4 weights of each
// row with 4 activations broadcast to all rows; scales and minima as [sub-block][row].
struct WeightPanel {
    alignas(64) uint8_t q[kPanelRows * kPanelDepth];
    alignas(64) float scale[kPanelRows * kPanelDepth / 16];
    alignas(64) float min[kPanelRows * kPanelDepth / 16];
};

struct PanelFormat {
    int n_sub = 0;    // weights that share a scale
    int n_block = 0;  // weights of one block in the file
    // Blocks [begin, begin + n) of 16 rows, rows[i] the address of a row's first block.
    void (*unpack)(const char* const* rows, int64_t begin, int64_t n, WeightPanel& panel) = nullptr;
};

const PanelFormat* panel_format(ggml_type type);  // nullptr for a type without one

}  // namespace minicpmo::kernels
