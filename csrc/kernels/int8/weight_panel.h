#pragma once
// WeightPanel: rows of quantised weights unpacked for the dot-product instructions, a stretch of each row at
// a time, and the rows of int8 activations they are multiplied with.

#include <cstddef>
#include <cstdint>

namespace minicpmo::kernels {

constexpr int kMostPanelRows = 32;
constexpr int64_t kPanelDepth = 1024;  // most weights of a row at a time: they stay in the first-level cache
constexpr int kInt8Block = 32;         // activations that share a scale

// w = scale * q - min. Bytes lie as [depth / 4][row][4], so that one instruction multiplies 4 weights of each
// row with 4 activations broadcast to all rows; scales and minima as [sub-block][row]. How many rows there
// are is the instruction set's choice, and whether q of 8 bits are signed.
struct WeightPanel {
    alignas(64) uint8_t q[kMostPanelRows * kPanelDepth];
    alignas(64) float scale[kMostPanelRows * kPanelDepth / 16];
    alignas(64) float min[kMostPanelRows * kPanelDepth / 16];
};

// Where the parts of one row of activations lie: values, then scales, then scaled sums of 16 and of 32
// values. x[i] is about values[i] * scales[i / 32]; sums16[j] = scale * (values of block j of 16 added up),
// sums32 likewise. Values are -127 at least.
struct Int8Row {
    const int8_t* values;
    const float* scales;
    const float* sums16;
    const float* sums32;

    Int8Row(const void* row, int64_t n_in)
        : values(static_cast<const int8_t*>(row)),
          scales(reinterpret_cast<const float*>(values + n_in)),
          sums16(scales + n_in / 32),
          sums32(sums16 + n_in / 16) {}

    static size_t n_byte(int64_t n_in) {
        return static_cast<size_t>(n_in + 4 * (n_in / 32 + n_in / 16 + n_in / 32));
    }
};

// Rows of activations, a fixed distance apart.
struct Int8Rows {
    const char* first;
    size_t stride;  // bytes
    int64_t n_in;

    Int8Row operator[](int64_t t) const { return {first + static_cast<size_t>(t) * stride, n_in}; }
};

}  // namespace minicpmo::kernels
