#pragma once
// Products of a WeightPanel with a few rows of activations, for any instruction set: see panel_formats.h for
// MINICPMO_TARGET and V, which also has
//   kToken                              rows of x of the largest tile
//   dot<T, kSub, kBits, kStarts>(q, x, start, stride, sum)  integer sums of kSub weights of a panel with T
//                                       rows, from 0 or from the numbers at `start`

#include <array>
#include <type_traits>
#include <utility>

#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/panel_formats.h"
#include "kernels/int8/rounded_rows.h"

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

// dots: products with single rows, nullptr to leave all of them to ggml.
template <class V>
constexpr Int8Kernels kernels_of(int64_t n_fewest, DotsFunction (*dots)(BlockType)) {
    static_assert(PanelPart<V>::kRow <= kMostPanelRows && V::kToken <= kMostTileTokens);
    return {.n_row = PanelPart<V>::kRow,
            .n_token = V::kToken,
            .n_fewest = n_fewest,
            .format = panel_format<V>,
            .dots = dots,
            .quantize_blocks = quantize_blocks<V>,
            .quantize_superblocks = quantize_superblocks<V>};
}

}  // namespace

}  // namespace minicpmo::kernels
