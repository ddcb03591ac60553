#include "kernels/pack_float.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/load_float.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// r[i][j] <-> r[j][i]: 4x4 blocks within each four rows, then the 4x4 matrix of those blocks.
MINICPMO_TARGET_AVX512 inline void transpose(__m512 (&r)[16]) {
    __m512 s[16];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
        const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
        const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[i + 2], r[i + 3]));
        const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[i + 2], r[i + 3]));
        s[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        s[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        s[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        s[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        const __m512 a = _mm512_shuffle_f32x4(s[i], s[i + 4], 0x88);  // blocks 0 and 2 of each
        const __m512 b = _mm512_shuffle_f32x4(s[i], s[i + 4], 0xdd);  // blocks 1 and 3
        const __m512 c = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

// Rows ahead to fetch, too far apart for the processor to foresee. Past the last row a fetch does nothing.
constexpr size_t kAhead = 16;

template <ggml_type kType>
MINICPMO_TARGET_AVX512 void pack_columns_of(const FloatRows& rows, int64_t n_row, int64_t begin, int64_t n_k,
                                            float* panel) {
    const std::byte* first = rows.data + begin * kBytes<kType>;
    for (int64_t j = 0; j < n_row; j += kLane) {
        const int64_t n_here = std::min(kLane, n_row - j);
        for (int64_t k = 0; k < n_k; k += kLane) {
            const __mmask16 mask = first_lanes(n_k - k);
            const std::byte* block = first + k * kBytes<kType>;
            __m512 r[16];
#pragma GCC unroll 16
            for (int64_t i = 0; i < kLane; ++i) {
                const size_t row = static_cast<size_t>(j + i);
                _mm_prefetch(reinterpret_cast<const char*>(block + (row + kAhead) * rows.stride),
                             _MM_HINT_T1);
                r[i] = i < n_here ? load<kType>(block + row * rows.stride, mask) : _mm512_setzero_ps();
            }
            transpose(r);
            float* out = panel + k * kPanel + j;
            for (int64_t i = 0; i < std::min(kLane, n_k - k); ++i) _mm512_storeu_ps(out + i * kPanel, r[i]);
        }
    }
}

template <ggml_type kType>
MINICPMO_TARGET_AVX512 void pack_rows_of(const FloatRows& rows, int64_t n_column, int64_t begin, int64_t n_k,
                                         float* panel) {
    for (int64_t k = 0; k < n_k; ++k) {
        const std::byte* row = rows.from(k).data + begin * kBytes<kType>;
        for (int64_t j = 0; j < n_column; j += kLane) {
            const __m512 values = load<kType>(row + j * kBytes<kType>, first_lanes(n_column - j));
            _mm_prefetch(reinterpret_cast<const char*>(row + kAhead * rows.stride + j * kBytes<kType>),
                         _MM_HINT_T0);
            _mm512_storeu_ps(panel + k * kPanel + j, values);
        }
    }
}

struct Tile {
    const float* panel;
    int64_t n_k;
    const float* x;
    int64_t x_stride;
    float* dst;
    int64_t dst_stride;
    __mmask16 last;  // lanes of the last register that exist in dst
    Store store;
};

// kRegister x kToken sums stay in registers over the whole of k: 3 x 8 of the 32 leave room for operands.
template <int kRegister, int kToken>
MINICPMO_TARGET_AVX512 void multiply_tile(const Tile& tile) {
    __m512 sum[kToken][kRegister];
#pragma GCC unroll 8
    for (int t = 0; t < kToken; ++t) {
#pragma GCC unroll 8
        for (int v = 0; v < kRegister; ++v) sum[t][v] = _mm512_setzero_ps();
    }
    const float* panel = tile.panel;
    const float* x = tile.x;
    const int64_t x_stride = tile.x_stride;
    for (int64_t k = 0; k < tile.n_k; ++k, ++x, panel += kPanel) {
        __m512 w[kRegister];
#pragma GCC unroll 8
        for (int v = 0; v < kRegister; ++v) w[v] = _mm512_loadu_ps(panel + v * kLane);
#pragma GCC unroll 8
        for (int t = 0; t < kToken; ++t) {
            const __m512 value = _mm512_set1_ps(x[t * x_stride]);
#pragma GCC unroll 8
            for (int v = 0; v < kRegister; ++v) sum[t][v] = _mm512_fmadd_ps(w[v], value, sum[t][v]);
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

bool is_packable(ggml_type type) {
    return has_avx512_vnni() && (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16);
}

void pack_columns(const FloatRows& rows, int64_t n_row, int64_t begin, int64_t n_k, float* panel) {
    assert(n_row <= kPanel);
    if (rows.type == GGML_TYPE_F32) return pack_columns_of<GGML_TYPE_F32>(rows, n_row, begin, n_k, panel);
    if (rows.type == GGML_TYPE_F16) return pack_columns_of<GGML_TYPE_F16>(rows, n_row, begin, n_k, panel);
    pack_columns_of<GGML_TYPE_BF16>(rows, n_row, begin, n_k, panel);
}

void pack_rows(const FloatRows& rows, int64_t n_column, int64_t begin, int64_t n_k, float* panel) {
    assert(n_column <= kPanel);
    if (rows.type == GGML_TYPE_F32) return pack_rows_of<GGML_TYPE_F32>(rows, n_column, begin, n_k, panel);
    if (rows.type == GGML_TYPE_F16) return pack_rows_of<GGML_TYPE_F16>(rows, n_column, begin, n_k, panel);
    pack_rows_of<GGML_TYPE_BF16>(rows, n_column, begin, n_k, panel);
}

void multiply_panel(const float* panel, int64_t n_column, int64_t n_k, const TokenRows& x, float* dst,
                    int64_t dst_stride, Store store) {
    const int64_t n_register = (n_column + kLane - 1) / kLane;
    const auto& tiles = kTiles[static_cast<size_t>(n_register - 1)];
    const __mmask16 last = first_lanes(n_column - (n_register - 1) * kLane);
    for (int64_t t = 0; t < x.n; t += kTokens) {
        const auto n_token = static_cast<size_t>(std::min<int64_t>(kTokens, x.n - t));
        tiles[n_token - 1](
            {panel, n_k, x.data + t * x.stride, x.stride, dst + t * dst_stride, dst_stride, last, store});
    }
}

float* thread_scratch(size_t n) {
    constexpr size_t kLine = 64;
    thread_local std::vector<float> buffer;
    if (buffer.size() < n + kLine / sizeof(float)) buffer = std::vector<float>(n + kLine / sizeof(float));
    void* begin = buffer.data();
    size_t space = buffer.size() * sizeof(float);
    return static_cast<float*>(std::align(kLine, n * sizeof(float), begin, space));
}

#else

bool is_packable(ggml_type) { return false; }

#endif

}  // namespace minicpmo::kernels
