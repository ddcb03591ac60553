#include "kernels/gemm_float.h"

#include <algorithm>

#include "kernels/avx512.h"
#include "kernels/pack_float.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// Measured, not derived: the packed weights of a block, 96 x 1152 floats, stay in the second-level cache.
constexpr int64_t kBlockRows = 2 * kPanel;
constexpr int64_t kBlockK = 1152;
constexpr int64_t kBlockTokens = 8;

struct Range {
    int64_t begin;
    int64_t end;
};

void multiply_block(const FloatRows& w, Range rows, Range k, const TokenRows& x, float* dst, int64_t n_out,
                    float* panels) {
    const int64_t n_k = k.end - k.begin;
    for (int64_t row = rows.begin; row < rows.end; row += kPanel) {
        pack_columns(w.from(row), std::min(kPanel, rows.end - row), k.begin, n_k,
                     panels + (row - rows.begin) * n_k);
    }
    const Store store = k.begin == 0 ? Store::overwrite : Store::add;
    for (int64_t t = 0; t < x.n; t += kBlockTokens) {
        const TokenRows tokens = {x.data + t * x.stride + k.begin, x.stride, std::min(kBlockTokens, x.n - t)};
        for (int64_t row = rows.begin; row < rows.end; row += kPanel) {
            multiply_panel(panels + (row - rows.begin) * n_k, std::min(kPanel, rows.end - row), n_k, tokens,
                           dst + t * n_out + row, n_out, store);
        }
    }
}

void compute(ggml_tensor* dst, int, int nth, void* share) {
    const ggml_tensor* w = dst->src[0];
    const ggml_tensor* x = dst->src[1];
    const int64_t n_in = w->ne[0];
    const int64_t n_out = w->ne[1];
    const FloatRows weights = {static_cast<const std::byte*>(w->data), w->nb[1], w->type};
    const TokenRows tokens = {static_cast<const float*>(x->data), n_in, ggml_nrows(x)};
    const int64_t n_block = (n_in + kBlockK - 1) / kBlockK;
    // Blocks of equal depth, so that none is too shallow to pay for its loads and stores of sums.
    const int64_t n_k = (n_in + n_block - 1) / n_block;
    float* panels = thread_scratch(static_cast<size_t>(kBlockRows * n_k));
    const int64_t n_piece = (n_out + kBlockRows - 1) / kBlockRows;
    for (int64_t i = 0; (i = static_cast<WorkShare*>(share)->take(n_piece, nth)) >= 0;) {
        const Range rows = {i * kBlockRows, std::min((i + 1) * kBlockRows, n_out)};
        for (int64_t k = 0; k < n_in; k += n_k) {
            multiply_block(weights, rows, {k, std::min(k + n_k, n_in)}, tokens,
                           static_cast<float*>(dst->data), n_out, panels);
        }
    }
}

}  // namespace

bool gemm_float_supports(const ggml_tensor* w, const ggml_tensor* x) {
    return is_packable(w->type) && w->nb[0] == ggml_type_size(w->type) && w->ne[2] == 1 && w->ne[3] == 1 &&
           x->type == GGML_TYPE_F32 && ggml_is_contiguous(x) && x->ne[0] == w->ne[0];
}

Tensor gemm_float(Graph& g, Tensor w, Tensor x) {
    Tensor args[] = {w, x};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, w->ne[1], x->ne[1], x->ne[2], x->ne[3], args, 2, compute,
                          GGML_N_TASKS_MAX, g.own<WorkShare>());
}

#else

bool gemm_float_supports(const ggml_tensor*, const ggml_tensor*) { return false; }

Tensor gemm_float(Graph& g, Tensor w, Tensor x) { return ggml_mul_mat(g.ctx(), w, x); }

#endif

}  // namespace minicpmo::kernels
