#pragma once
// Products of a WeightPanel with a few rows of activations, and these rows themselves, for any instruction
// set: see panel_formats.h for MINICPMO_TARGET and V, which also has
//   kToken                              rows of x of the largest tile
//   dot<T, kSub, kBits, kStarts>(q, x, start, stride, sum)  integer sums of kSub weights of a panel with T
//                                       rows, from 0 or from the numbers at `start`

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/panel_formats.h"

namespace minicpmo::kernels {

namespace {

// What is true of all weights of a format once they are in a panel of V.
template <class V, BlockType kType>
struct Unpacked {
    static constexpr bool kIsSuper = block_weights(kType) == kInt8Superblock;
    using Row = std::conditional_t<kIsSuper, SuperblockRow, BlockRow>;
    static constexpr int kBlock = block_weights(kType);
    static constexpr int kSub = kType == BlockType::q6_k ? 16 : 32;  // weights of one scale
    static constexpr int kBits = kType == BlockType::q8_0   ? 8
                                 : kType == BlockType::q6_k ? 6
                                 : kType == BlockType::q5_k ? 5
                                                            : 4;
    static constexpr bool kHasMin = kType == BlockType::q4_k || kType == BlockType::q5_k;
    static constexpr bool kStarts = !kHasMin && !(kType == BlockType::q8_0 && V::kSignedBytes);

    static const int32_t* start(const Row& x, int64_t k) {
        if constexpr (kType == BlockType::q6_k) return x.less32 + k / 16;
        if constexpr (kType == BlockType::q8_0) return x.less128 + k / 32;
        if constexpr (kType == BlockType::q4_0) return x.less8 + k / 32;
        return nullptr;
    }
};

// The number at `p` in the row `offset` bytes further.
template <class Number>
MINICPMO_TARGET inline Number further(const Number* p, size_t offset) {
    return *reinterpret_cast<const Number*>(reinterpret_cast<const char*>(p) + offset);
}

// part -= minima of a block of 256 weights of each row by the sums of activations.
template <class V, int T>
MINICPMO_TARGET inline void subtract_minima(const int16_t* min, const float* min_scale, const int16_t* sums,
                                            size_t stride, typename V::Floats (&part)[V::kGroup][T]) {
    constexpr int kRow = PanelPart<V>::kRow;
    typename V::Ints sum[V::kGroup][T];
    const auto* pairs = reinterpret_cast<const char*>(sums);
#pragma GCC unroll 4
    for (int pair = 0; pair < kInt8Superblock / 64; ++pair) {
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const typename V::Ints x = V::fill_four(pairs + static_cast<size_t>(t) * stride + pair * 4);
#pragma GCC unroll 4
            for (int g = 0; g < V::kGroup; ++g) {
                const typename V::Ints w = V::load(min + (pair * kRow + g * V::kLane) * 2);
                sum[g][t] = pair == 0 ? V::pair_products(w, x) : V::add_pair_products(sum[g][t], w, x);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int g = 0; g < V::kGroup; ++g) {
            const typename V::Floats scale = V::load(min_scale + g * V::kLane);
            part[g][t] = V::subtract_product(part[g][t], V::to_float(sum[g][t]), scale);
        }
    }
}

template <class V, BlockType kType, int T>
MINICPMO_TARGET void multiply_tile(const WeightPanel& panel, const Int8Rows& x, int64_t begin, int64_t n,
                                   float* y, int64_t y_stride) {
    using Floats = typename V::Floats;
    using F = Unpacked<V, kType>;
    constexpr int kRow = PanelPart<V>::kRow;
    constexpr int kSubs = F::kBlock / F::kSub;
    const typename F::Row row(x.first, x.n_in);
    Floats total[V::kGroup][T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int g = 0; g < V::kGroup; ++g)
            total[g][t] = begin == 0 ? V::fill(0.0F) : V::load(y + t * y_stride + g * V::kLane);
    }
    const uint8_t* q = panel.q;
    const float* scale = panel.scale;
    for (int64_t block = 0; block < n / F::kBlock; ++block) {
        const int64_t k = begin + block * F::kBlock;
        Floats part[V::kGroup][T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
            for (int g = 0; g < V::kGroup; ++g) part[g][t] = V::fill(0.0F);
        }
#pragma GCC unroll 1
        for (int sub = 0; sub < kSubs; ++sub, q += F::kSub * kRow, scale += kRow) {
            const int64_t k_sub = k + sub * F::kSub;
            typename V::Ints sum[V::kGroup][T];
            V::template dot<T, F::kSub, F::kBits, F::kStarts>(q, row.values + k_sub, F::start(row, k_sub),
                                                              x.stride, sum);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
                for (int g = 0; g < V::kGroup; ++g) {
                    Floats product = V::to_float(sum[g][t]);
                    if constexpr (F::kIsSuper) {
                        const size_t at = static_cast<size_t>(t) * x.stride;
                        product =
                            V::add_to_exponent(product, V::fill(further(row.exponents + k_sub / 32, at)));
                    }
                    const Floats w_scale = V::load(scale + g * V::kLane);
                    part[g][t] = V::add_product(part[g][t], product, w_scale);
                }
            }
        }
        if constexpr (F::kHasMin) {
            subtract_minima<V, T>(panel.min + block * (kInt8Superblock / 32) * kRow,
                                  panel.min_scale + block * kRow, row.sums + k / 32, x.stride, part);
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const Floats x_scale =
                V::fill(further(row.scales + k / F::kBlock, static_cast<size_t>(t) * x.stride));
#pragma GCC unroll 4
            for (int g = 0; g < V::kGroup; ++g)
                total[g][t] = V::add_product(total[g][t], part[g][t], x_scale);
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int g = 0; g < V::kGroup; ++g) V::store(y + t * y_stride + g * V::kLane, total[g][t]);
    }
}

template <class V, BlockType kType, int... kMinusOne>
constexpr std::array<TileFunction, kMostTileTokens> tiles_of(std::integer_sequence<int, kMinusOne...>) {
    return {multiply_tile<V, kType, kMinusOne + 1>...};
}

template <class V>
PanelFormat panel_format(BlockType type) {
    constexpr auto kTokens = std::make_integer_sequence<int, V::kToken>();
    switch (type) {
        case BlockType::q4_k:
            return {unpack_panel<V, unpack_q4_k<V>>, tiles_of<V, BlockType::q4_k>(kTokens)};
        case BlockType::q5_k:
            return {unpack_panel<V, unpack_q5_k<V>>, tiles_of<V, BlockType::q5_k>(kTokens)};
        case BlockType::q6_k:
            return {unpack_panel<V, unpack_q6_k<V>>, tiles_of<V, BlockType::q6_k>(kTokens)};
        case BlockType::q8_0:
            return {unpack_panel<V, unpack_q8_0<V>>, tiles_of<V, BlockType::q8_0>(kTokens)};
        case BlockType::q4_0:
            return {unpack_panel<V, unpack_q4_0<V>>, tiles_of<V, BlockType::q4_0>(kTokens)};
    }
    return {};
}

// 32 activations.
template <class V>
struct Values {
    static constexpr int kRegisters = kInt8Block / V::kLane;
    typename V::Floats v[kRegisters];

    MINICPMO_TARGET explicit Values(const float* x) {
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i) v[i] = V::load(x + i * V::kLane);
    }
    // The largest size, which may pass over what is no number.
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
        const float largest = v.largest();
        scales[block] = V::are_numbers(v.v) ? largest / 127.0F : kNoNumber;
        const auto sums =
            v.store(values + block * kInt8Block, largest > kLeastSize ? 127.0F / largest : 0.0F);
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
        const float inverse = largest > kLeastSize ? 1.0F / scale : 0.0F;
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

// dot: products of single rows, nullptr to leave all of them to ggml.
template <class V>
constexpr Int8Kernels kernels_of(int64_t n_fewest, DotFunction (*dot)(BlockType)) {
    static_assert(PanelPart<V>::kRow <= kMostPanelRows && V::kToken <= kMostTileTokens);
    return {.n_row = PanelPart<V>::kRow,
            .n_token = V::kToken,
            .n_fewest = n_fewest,
            .format = panel_format<V>,
            .dot = dot,
            .quantize_blocks = quantize_blocks<V>,
            .quantize_superblocks = quantize_superblocks<V>};
}

}  // namespace

}  // namespace minicpmo::kernels
