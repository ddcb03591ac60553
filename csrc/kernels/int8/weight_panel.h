#pragma once
// WeightPanel: rows of quantised weights unpacked for the dot-product instructions, a stretch of each row at
// a time.

#include <cstddef>
#include <cstdint>

namespace minicpmo::kernels {

constexpr int kMostPanelRows = 32;
constexpr int64_t kPanelDepth = 1024;  // most weights of a row at a time: they stay in the first-level cache

// w = scale * (q - zero) in formats without minima, scale * q - min_scale * min in the others. Bytes lie as
// [depth / 4][row][4], so that one instruction multiplies 4 weights of each row with 4 activations broadcast
// to all rows; scales as [sub-block][row], minima as [sub-block / 2][row][2] and their scales as
// [block][row]. How many rows there are is the instruction set's choice, and whether q of 8 bits are signed.
struct WeightPanel {
    alignas(64) uint8_t q[kMostPanelRows * kPanelDepth];
    alignas(64) float scale[kMostPanelRows * kPanelDepth / 16];
    alignas(64) int16_t min[kMostPanelRows * kPanelDepth / 32];
    alignas(64) float min_scale[kMostPanelRows * kPanelDepth / 256];
};

// Rows of activations in the form that a format of weights wants (int8_row.h), a fixed distance apart.
struct Int8Rows {
    const char* first;
    size_t stride;  // bytes
    int64_t n_in;

    const char* operator[](int64_t t) const { return first + static_cast<size_t>(t) * stride; }
};

}  // namespace minicpmo::kernels
