#include "kernels/pair_panel.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "kernels/avx512.h"
#include "kernels/cpu_features.h"
#include "kernels/load_float.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

#define MINICPMO_TARGET_BF16 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))

namespace {

MINICPMO_TARGET_BF16 inline __m256i rounded(__m512 values) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
}

struct Tile {
    const float* panel;
    int64_t n_pair;
    const float* x;
    int64_t x_stride;
    float* dst;
    int64_t dst_stride;
    __mmask16 last;  // lanes of the last register that exist in dst
    Store store;
};

template <int kRegister, int kToken>
MINICPMO_TARGET_BF16 void multiply_tile(const Tile& tile) {
    __m512 sum[kToken][kRegister];
#pragma GCC unroll 8
    for (int t = 0; t < kToken; ++t) {
#pragma GCC unroll 8
        for (int v = 0; v < kRegister; ++v) sum[t][v] = _mm512_setzero_ps();
    }
    const float* panel = tile.panel;
    const float* x = tile.x;
    const int64_t x_stride = tile.x_stride;
    for (int64_t k = 0; k < tile.n_pair; ++k, ++x, panel += kPanel) {
        __m512bh w[kRegister];
#pragma GCC unroll 8
        for (int v = 0; v < kRegister; ++v)
            w[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + v * kLane));
#pragma GCC unroll 8
        for (int t = 0; t < kToken; ++t) {
            int32_t pair;
            __builtin_memcpy(&pair, x + t * x_stride, sizeof(pair));
            const auto values = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 8
            for (int v = 0; v < kRegister; ++v) sum[t][v] = _mm512_dpbf16_ps(sum[t][v], w[v], values);
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kToken; ++t) {
        float* row = tile.dst + t * tile.dst_stride;
#pragma GCC unroll 8
        for (int v = 0; v < kRegister; ++v) {
            const __mmask16 mask = v == kRegister - 1 ? tile.last : first_lanes(kLane);
            float* out = row + v * kLane;
            if (tile.store == Store::add)
                sum[t][v] = _mm512_add_ps(sum[t][v], _mm512_maskz_loadu_ps(mask, out));
            _mm512_mask_storeu_ps(out, mask, sum[t][v]);
        }
    }
}

constexpr int kTokens = 8;  // of the largest tile

template <int kRegister, int... kMinusOne>
constexpr std::array<void (*)(const Tile&), kTokens> tiles_of(std::integer_sequence<int, kMinusOne...>) {
    return {multiply_tile<kRegister, kMinusOne + 1>...};
}

constexpr auto kUpToEight = std::make_integer_sequence<int, kTokens>();
constexpr std::array kTiles = {tiles_of<1>(kUpToEight), tiles_of<2>(kUpToEight), tiles_of<3>(kUpToEight)};

}  // namespace

bool has_bf16_products() {
    static const bool found = has_avx512_vnni() && __builtin_cpu_supports("avx512bf16");
    return found;
}

MINICPMO_TARGET_BF16 void make_pairs(float* panel, int64_t n_k) {
    float* out = panel;
    for (int64_t k = 0; k < n_k; k += 2, out += kPanel) {
        const float* first = panel + k * kPanel;
        for (int64_t j = 0; j < kPanel; j += kLane) {
            const __m512i low = _mm512_cvtepu16_epi32(rounded(_mm512_loadu_ps(first + j)));
            const __m512 second = k + 1 < n_k ? _mm512_loadu_ps(first + kPanel + j) : _mm512_setzero_ps();
            const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(second)), 16);
            _mm512_storeu_si512(out + j, _mm512_or_si512(low, high));
        }
    }
}

MINICPMO_TARGET_BF16 void round_row(float* row, int64_t n) {
    auto* out = reinterpret_cast<std::byte*>(row);
    for (int64_t i = 0; i < n; i += kLane) {
        const __m512 values = _mm512_maskz_loadu_ps(first_lanes(n - i), row + i);
        _mm256_mask_storeu_epi16(out + i * 2, first_lanes(n + n % 2 - i), rounded(values));
    }
}

void multiply_pairs(const float* panel, int64_t n_column, int64_t n_k, const TokenRows& x, float* dst,
                    int64_t dst_stride, Store store) {
    const int64_t n_register = (n_column + kLane - 1) / kLane;
    const auto& tiles = kTiles[static_cast<size_t>(n_register - 1)];
    const __mmask16 last = first_lanes(n_column - (n_register - 1) * kLane);
    for (int64_t t = 0; t < x.n; t += kTokens) {
        const auto n_token = static_cast<size_t>(std::min<int64_t>(kTokens, x.n - t));
        tiles[n_token - 1]({panel, (n_k + 1) / 2, x.data + t * x.stride, x.stride, dst + t * dst_stride,
                            dst_stride, last, store});
    }
}

#else

bool has_bf16_products() { return false; }

void make_pairs(float*, int64_t) {
    fail<Error>("[pair panel] expected a processor with AVX-512, got another");
}
void round_row(float*, int64_t) {
    fail<Error>("[pair panel] expected a processor with AVX-512, got another");
}
void multiply_pairs(const float*, int64_t, int64_t, const TokenRows&, float*, int64_t, Store) {
    fail<Error>("[pair panel] expected a processor with AVX-512, got another");
}

#endif

}  // namespace minicpmo::kernels
