#pragma once
// Rows of activations rounded to int8, for any instruction set: see panel_formats.h for MINICPMO_TARGET and
// V.

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/int8/int8_row.h"

namespace minicpmo::kernels {

namespace {

// 32 activations.
template <class V>
struct Values {
    static constexpr int kRegisters = kInt8Block / V::kLane;
    typename V::Floats v[kRegisters];

    MINICPMO_TARGET explicit Values(const float* x) {
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i) v[i] = V::load(x + i * V::kLane);
    }
    // The largest size; any of the sizes where not all are numbers.
    MINICPMO_TARGET float largest() const {
        typename V::Floats sizes = V::abs(v[0]);
#pragma GCC unroll 8
        for (int i = 1; i < kRegisters; ++i) sizes = V::max(sizes, V::abs(v[i]));
        return V::reduce_max(sizes);
    }
    // Stores them times `inverse`, rounded; returns the sums of the first and the second 16.
    MINICPMO_TARGET std::array<int32_t, 2> store(int8_t* out, float inverse) const {
        typename V::Ints q[kRegisters];
        // What is no number converts to the least integer; the bound keeps its sums from overflowing.
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i)
            q[i] = V::max(V::round(V::mul(v[i], V::fill(inverse))), V::fill(-127));
        V::store_bytes(out, q);
        std::array<int32_t, 2> sums = {};
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i)
            sums[static_cast<size_t>(i * 2 / kRegisters)] += V::reduce_add(q[i]);
        return sums;
    }
};

constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();
// Sizes whose steps have no inverse in float32 are taken for 0.
constexpr float kLeastSize = 1e-30F;

// Symmetric rounding to nearest, as ggml quantises activations for its own Q8_0.
template <class V>
MINICPMO_TARGET void quantize_blocks(const float* x, char* out, int64_t n_in) {
    const BlockRow row(out, n_in);
    auto* values = const_cast<int8_t*>(row.values);
    auto* scales = const_cast<float*>(row.scales);
    auto* less8 = const_cast<int32_t*>(row.less8);
    auto* less128 = const_cast<int32_t*>(row.less128);
    for (int64_t block = 0; block < n_in / kInt8Block; ++block) {
        const Values<V> v(x + block * kInt8Block);
        const bool are_numbers = V::are_numbers(v.v);
        const float largest = v.largest();
        scales[block] = are_numbers ? largest / 127.0F : kNoNumber;
        const bool has_steps = are_numbers && largest > kLeastSize;
        const auto sums = v.store(values + block * kInt8Block, has_steps ? 127.0F / largest : 0.0F);
        less8[block] = -8 * (sums[0] + sums[1]);
        less128[block] = -128 * (sums[0] + sums[1]);
    }
}

template <class V>
MINICPMO_TARGET void quantize_superblocks(const float* x, char* out, int64_t n_in) {
    constexpr int kSubs = kInt8Superblock / kInt8Block;
    const SuperblockRow row(out, n_in);
    auto* values = const_cast<int8_t*>(row.values);
    auto* scales = const_cast<float*>(row.scales);
    auto* exponents = const_cast<int32_t*>(row.exponents);
    auto* less32 = const_cast<int32_t*>(row.less32);
    auto* sums = const_cast<int16_t*>(row.sums);
    for (int64_t block = 0; block < n_in / kInt8Superblock; ++block) {
        float sizes[kSubs];
        bool are_numbers = true;
        for (int sub = 0; sub < kSubs; ++sub) {
            const Values<V> v(x + block * kInt8Superblock + sub * kInt8Block);
            sizes[sub] = v.largest();
            are_numbers = V::are_numbers(v.v) && are_numbers;
        }
        const float largest = *std::max_element(sizes, sizes + kSubs);
        const float scale = largest / (127.0F * (1 << kMostExponent));
        const float inverse = are_numbers && largest > kLeastSize ? 1.0F / scale : 0.0F;
        scales[block] = are_numbers ? scale : kNoNumber;
        for (int sub = 0; sub < kSubs; ++sub) {
            int exponent = 0;
            while (exponent < kMostExponent &&
                   sizes[sub] > 127.0F * scale * static_cast<float>(1 << exponent))
                ++exponent;
            const int64_t at = block * kSubs + sub;
            const auto two =
                Values<V>(x + at * kInt8Block)
                    .store(values + at * kInt8Block, inverse / static_cast<float>(1 << exponent));
            exponents[at] = exponent << 23;
            less32[2 * at] = -32 * two[0];
            less32[2 * at + 1] = -32 * two[1];
            sums[at] = static_cast<int16_t>((two[0] + two[1]) * (1 << exponent));
        }
    }
}

}  // namespace

}  // namespace minicpmo::kernels
