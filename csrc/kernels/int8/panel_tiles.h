#pragma once
// Products of a WeightPanel with a few rows of activations, and these rows themselves, for any instruction
// set: see panel_formats.h for MINICPMO_TARGET and V, which also has
//   kToken                              rows of x of the largest tile
//   dot<T, kSub, kBits>(q, x, stride, sum)  integer sums of kSub weights of a panel with T rows

#include <array>
#include <limits>
#include <utility>

#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/panel_formats.h"

namespace minicpmo::kernels {

namespace {

template <class V, int T, int kSub, int kBits>
MINICPMO_TARGET void multiply_tile(const WeightPanel& panel, const Int8Rows& x, int64_t begin, int64_t n,
                                   float* y, int64_t y_stride) {
    using Floats = typename V::Floats;
    constexpr int kRow = PanelPart<V>::kRow;
    constexpr bool kHasMin = !(kBits == 8 && V::kSignedBytes);
    Floats total[V::kGroup][T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int g = 0; g < V::kGroup; ++g)
            total[g][t] = begin == 0 ? V::fill(0.0F) : V::load(y + t * y_stride + g * V::kLane);
    }
    const Int8Row row = x[0];
    const int8_t* values = row.values + begin;
    for (int64_t sub = 0; sub < n / kSub; ++sub, values += kSub) {
        typename V::Ints sum[V::kGroup][T];
        V::template dot<T, kSub, kBits>(panel.q + sub * (kSub * kRow), values, x.stride, sum);
        const int64_t k = begin + sub * kSub;
        const auto* x_scales = reinterpret_cast<const char*>(row.scales + k / 32);
        const auto* x_sums =
            reinterpret_cast<const char*>(kSub == 16 ? row.sums16 + k / 16 : row.sums32 + k / 32);
        const float* scale = panel.scale + sub * kRow;
        const float* min = panel.min + sub * kRow;
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const size_t at = static_cast<size_t>(t) * x.stride;
            const Floats x_scale = V::fill(*reinterpret_cast<const float*>(x_scales + at));
            const Floats x_sum = V::fill(*reinterpret_cast<const float*>(x_sums + at));
#pragma GCC unroll 4
            for (int g = 0; g < V::kGroup; ++g) {
                const Floats product = V::mul(V::to_float(sum[g][t]), x_scale);
                total[g][t] = V::add_product(total[g][t], product, V::load(scale + g * V::kLane));
                if constexpr (kHasMin)
                    total[g][t] = V::subtract_product(total[g][t], V::load(min + g * V::kLane), x_sum);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
        for (int g = 0; g < V::kGroup; ++g) V::store(y + t * y_stride + g * V::kLane, total[g][t]);
    }
}

template <class V, int kSub, int kBits, int... kMinusOne>
constexpr std::array<TileFunction, kMostTileTokens> tiles_of(std::integer_sequence<int, kMinusOne...>) {
    return {multiply_tile<V, kMinusOne + 1, kSub, kBits>...};
}

template <class V>
PanelFormat panel_format(BlockType type) {
    constexpr auto kTokens = std::make_integer_sequence<int, V::kToken>();
    switch (type) {
        case BlockType::q4_k:
            return {256, unpack_panel<V, unpack_q4_k<V>>, tiles_of<V, 32, 4>(kTokens)};
        case BlockType::q5_k:
            return {256, unpack_panel<V, unpack_q5_k<V>>, tiles_of<V, 32, 5>(kTokens)};
        case BlockType::q6_k:
            return {256, unpack_panel<V, unpack_q6_k<V>>, tiles_of<V, 16, 6>(kTokens)};
        case BlockType::q8_0:
            return {32, unpack_panel<V, unpack_q8_0<V>>, tiles_of<V, 32, 8>(kTokens)};
        case BlockType::q4_0:
            return {32, unpack_panel<V, unpack_q4_0<V>>, tiles_of<V, 32, 4>(kTokens)};
    }
    return {};
}

// Symmetric rounding to nearest, as ggml quantises activations, but with a scale per 32 values for every
// weight type.
template <class V>
MINICPMO_TARGET void quantize_row(const float* x, char* out, int64_t n_in) {
    constexpr int kRegisters = kInt8Block / V::kLane;
    auto* values = reinterpret_cast<int8_t*>(out);
    auto* scales = reinterpret_cast<float*>(out + n_in);
    float* sums16 = scales + n_in / 32;
    float* sums32 = sums16 + n_in / 16;
    for (int64_t block = 0; block < n_in / kInt8Block; ++block) {
        typename V::Floats v[kRegisters];
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i) v[i] = V::load(x + block * kInt8Block + i * V::kLane);
        typename V::Floats sizes = V::abs(v[0]);
#pragma GCC unroll 8
        for (int i = 1; i < kRegisters; ++i) sizes = V::max(sizes, V::abs(v[i]));
        const float largest = V::reduce_max(sizes);
        // The maximum may pass over what is no number, the scale must not.
        const bool is_number = V::are_numbers(v);
        const float scale = is_number ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
        const typename V::Floats inverse = V::fill(largest > 0.0F ? 127.0F / largest : 0.0F);
        typename V::Ints q[kRegisters];
        // What is no number converts to the least integer; the bound keeps its sums from overflowing.
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i) q[i] = V::max(V::round(V::mul(v[i], inverse)), V::fill(-127));
        V::store_bytes(values + block * kInt8Block, q);
        int32_t sums[2] = {};
#pragma GCC unroll 8
        for (int i = 0; i < kRegisters; ++i) sums[i * 2 / kRegisters] += V::reduce_add(q[i]);
        scales[block] = scale;
        sums16[2 * block] = scale * static_cast<float>(sums[0]);
        sums16[2 * block + 1] = scale * static_cast<float>(sums[1]);
        sums32[block] = scale * static_cast<float>(sums[0] + sums[1]);
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
            .quantize_row = quantize_row<V>};
}

}  // namespace

}  // namespace minicpmo::kernels
