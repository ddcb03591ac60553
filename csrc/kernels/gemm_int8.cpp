#include "kernels/gemm_int8.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/avx512.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_rows.h"
#include "kernels/weight_panel.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

constexpr int kGroups = 2;  // panels side by side
constexpr int kTokens = 6;  // of a tile; 2 x 6 integer and 2 x 6 float accumulators fill the registers

constexpr int64_t kRows = kGroups * kPanelRows;  // of a piece

// Scratch of one thread; lives as long as the thread, because ggml's threads come back for every node.
struct Scratch {
    std::vector<WeightPanel> panels = std::vector<WeightPanel>(kGroups);
    std::vector<char> rows;
};
Scratch& thread_scratch() {
    thread_local Scratch scratch;
    return scratch;
}

// The rows of a piece lie one after the other, and a panel reads all of them at once, a little of each: from
// memory that is slow. Copied in one go they are in the second-level cache when the panels read them
// (measured on Zen 5: unpacking Q4_K takes 155 ns for 4096 weights instead of 396, of which 89 are
// arithmetic).
const char* near_rows(const ggml_tensor* w, int64_t row, int n_thread, Scratch& scratch) {
    constexpr size_t kMaxBytes = 768 << 10;  // beyond, they would not stay there
    const auto n_row = static_cast<size_t>(std::min(kRows, w->ne[1] - row));
    const char* first = static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1];
    const size_t n_byte = n_row * w->nb[1];
    if (n_byte > kMaxBytes || w->nb[1] != ggml_row_size(w->type, w->ne[0])) return first;
    scratch.rows.resize(std::max(scratch.rows.size(), n_byte));
    std::memcpy(scratch.rows.data(), first, n_byte);
    // The next piece of this thread is likely to be that many pieces further; past the end this is ignored.
    const char* next = first + static_cast<size_t>(n_thread) * n_byte;
    for (size_t i = 0; i < n_byte; i += 64) __builtin_prefetch(next + i, 0, 2);
    return scratch.rows.data();
}

// The int8 rows of a tile's tokens, a fixed distance apart.
struct TokenRows {
    const char* first;
    size_t stride;  // bytes
    int64_t n_in;

    Int8Row operator[](int t) const { return {first + static_cast<size_t>(t) * stride, n_in}; }
};

// One tile: kGroups x 16 rows by T tokens over n weights from `begin`, added to y [T][n_out] unless it is the
// first stretch.
template <int T, int kSub>
MINICPMO_TARGET_AVX512 void tile(const WeightPanel* panels, const TokenRows& x, int64_t begin, int64_t n,
                                 float* y, int64_t n_out, const __mmask16* masks) {
    __m512 total[kGroups][T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
        for (int g = 0; g < kGroups; ++g) {
            total[g][t] = begin == 0 ? _mm512_setzero_ps()
                                     : _mm512_maskz_loadu_ps(masks[g], y + t * n_out + g * kPanelRows);
        }
    }
    const Int8Row row = x[0];
    const int8_t* values = row.values + begin;
    for (int64_t sub = 0; sub < n / kSub; ++sub, values += kSub) {
        __m512i sum[kGroups][T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) sum[0][t] = sum[1][t] = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (int word = 0; word < kSub / 4; ++word) {
            const __m512i w0 = _mm512_load_si512(panels[0].q + (sub * (kSub / 4) + word) * 64);
            const __m512i w1 = _mm512_load_si512(panels[1].q + (sub * (kSub / 4) + word) * 64);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                int32_t four;
                __builtin_memcpy(&four, values + static_cast<size_t>(t) * x.stride + word * 4, 4);
                const __m512i a = _mm512_set1_epi32(four);
                sum[0][t] = _mm512_dpbusd_epi32(sum[0][t], w0, a);
                sum[1][t] = _mm512_dpbusd_epi32(sum[1][t], w1, a);
            }
        }
        const int64_t k = begin + sub * kSub;
        const auto* x_scales = reinterpret_cast<const char*>(row.scales + k / 32);
        const auto* x_sums =
            reinterpret_cast<const char*>(kSub == 16 ? row.sums16 + k / 16 : row.sums32 + k / 32);
        const float* scale = panels[0].scale + sub * kPanelRows;
        const float* min = panels[0].min + sub * kPanelRows;
        constexpr int64_t kNextPanel = sizeof(WeightPanel) / sizeof(float);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const __m512 x_scale =
                _mm512_set1_ps(*reinterpret_cast<const float*>(x_scales + static_cast<size_t>(t) * x.stride));
            const __m512 x_sum =
                _mm512_set1_ps(*reinterpret_cast<const float*>(x_sums + static_cast<size_t>(t) * x.stride));
#pragma GCC unroll 2
            for (int g = 0; g < kGroups; ++g) {
                const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[g][t]), x_scale);
                total[g][t] = _mm512_fmadd_ps(product, _mm512_load_ps(scale + g * kNextPanel), total[g][t]);
                total[g][t] = _mm512_fnmadd_ps(_mm512_load_ps(min + g * kNextPanel), x_sum, total[g][t]);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
        for (int g = 0; g < kGroups; ++g)
            _mm512_mask_storeu_ps(y + t * n_out + g * kPanelRows, masks[g], total[g][t]);
    }
}

using TileFunction = void (*)(const WeightPanel*, const TokenRows&, int64_t, int64_t, float*, int64_t,
                              const __mmask16*);

template <int kSub>
TileFunction tile_of(int64_t n_token) {
    static constexpr TileFunction kTiles[] = {tile<1, kSub>, tile<2, kSub>, tile<3, kSub>,
                                              tile<4, kSub>, tile<5, kSub>, tile<6, kSub>};
    return kTiles[n_token - 1];
}

// kGroups x 16 rows of w from `row` on, times all tokens.
void compute_rows(ggml_tensor* dst, const PanelFormat& format, int64_t row, int n_thread, Scratch& scratch) {
    const ggml_tensor* w = dst->src[0];
    const ggml_tensor* x = dst->src[1];
    const int64_t n_in = w->ne[0];
    const int64_t n_out = w->ne[1];
    const int64_t n = x->ne[1];
    const char* first = near_rows(w, row, n_thread, scratch);
    WeightPanel* panels = scratch.panels.data();
    const char* rows[kGroups][kPanelRows];
    __mmask16 masks[kGroups];
    for (int64_t g = 0; g < kGroups; ++g) {
        const int64_t left = std::clamp<int64_t>(n_out - row - g * kPanelRows, 0, kPanelRows);
        masks[g] = static_cast<__mmask16>((1U << left) - 1U);
        for (int64_t i = 0; i < kPanelRows; ++i) {
            // Rows past the end repeat the last one; their results are never stored.
            rows[g][i] =
                first + static_cast<size_t>(std::min(g * kPanelRows + i, n_out - 1 - row)) * w->nb[1];
        }
    }
    for (int64_t begin = 0; begin < n_in; begin += kPanelDepth) {
        const int64_t depth = std::min(kPanelDepth, n_in - begin);
        for (int g = 0; g < kGroups; ++g)
            format.unpack(rows[g], begin / format.n_block, depth / format.n_block, panels[g]);
        for (int64_t t = 0; t < n; t += kTokens) {
            const int64_t n_token = std::min<int64_t>(kTokens, n - t);
            const TokenRows tokens{static_cast<const char*>(x->data) + static_cast<size_t>(t) * x->nb[1],
                                   x->nb[1], n_in};
            const TileFunction compute = format.n_sub == 16 ? tile_of<16>(n_token) : tile_of<32>(n_token);
            compute(panels, tokens, begin, depth, static_cast<float*>(dst->data) + t * n_out + row, n_out,
                    masks);
        }
    }
}

void compute_gemm(ggml_tensor* dst, int, int nth, void* share) {
    const PanelFormat& format = *panel_format(dst->src[0]->type);
    const int64_t n_piece = (dst->ne[0] + kRows - 1) / kRows;
    Scratch& scratch = thread_scratch();
    for (int64_t i = 0; (i = static_cast<WorkShare*>(share)->take(n_piece, nth)) >= 0;) {
        compute_rows(dst, format, i * kRows, nth, scratch);
    }
}

}  // namespace

bool gemm_int8_supports(const ggml_tensor* w, const ggml_tensor* x) {
    return has_avx512_vnni() && panel_format(w->type) != nullptr && w->ne[2] == 1 && w->ne[3] == 1 &&
           x->ne[1] >= 2 && x->ne[2] == 1 && x->ne[3] == 1 && x->type == GGML_TYPE_F32 &&
           x->nb[0] == sizeof(float);
}

Tensor gemm_int8(Graph& g, Tensor w, Tensor x) {
    Tensor sources[] = {w, int8_rows(g, x)};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, w->ne[1], x->ne[1], 1, 1, sources, 2, compute_gemm,
                          GGML_N_TASKS_MAX, g.own<WorkShare>());
}

#else

bool gemm_int8_supports(const ggml_tensor*, const ggml_tensor*) { return false; }
Tensor gemm_int8(Graph& g, Tensor w, Tensor x) { return ggml_mul_mat(g.ctx(), w, x); }

#endif

}  // namespace minicpmo::kernels
