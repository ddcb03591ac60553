#include <algorithm>

#include "kernels/block_type.h"
#include "kernels/gemm_int8.h"
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8_rows.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

namespace {

struct GemvNode {
    DotsFunction dots = nullptr;
    RangeShare share;
};

// nullptr where ggml's own product is to be taken.
DotsFunction dots_function(ggml_type type) {
    const Int8Kernels* kernels = int8_kernels();
    const auto block = block_type(type);
    return kernels != nullptr && kernels->dots != nullptr && block ? kernels->dots(*block) : nullptr;
}

// One stream of memory per thread is what the hardware reads fastest: pieces are large, and a thread takes
// neighbours.
void compute_gemv(ggml_tensor* dst, int ith, int nth, void* userdata) {
    constexpr int64_t kPiecesPerThread = 8;
    auto& node = *static_cast<GemvNode*>(userdata);
    const ggml_tensor* w = dst->src[0];
    const int64_t n_in = w->ne[0];
    const int64_t n_out = w->ne[1];
    const auto* x = static_cast<const char*>(dst->src[1]->data);
    auto* y = static_cast<float*>(dst->data);
    const int64_t n_piece = std::min(n_out, kPiecesPerThread * nth);
    for (int64_t i = 0; (i = node.share.take(n_piece, ith, nth)) >= 0;) {
        const int64_t row = n_out * i / n_piece;
        node.dots(static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1], w->nb[1],
                  n_out * (i + 1) / n_piece - row, x, n_in, y + row);
    }
}

}  // namespace

bool gemv_int8_supports(const ggml_tensor* w, const ggml_tensor* x) {
    return dots_function(w->type) != nullptr && w->ne[2] == 1 && w->ne[3] == 1 &&
           ggml_nelements(x) == x->ne[0] && x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float);
}

Tensor gemv_int8(Graph& g, Tensor w, Tensor x) {
    auto* node = g.own<GemvNode>();
    node->dots = dots_function(w->type);
    Tensor sources[] = {w, int8_rows(g, x, *block_type(w->type))};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, w->ne[1], 1, 1, 1, sources, 2, compute_gemv,
                          GGML_N_TASKS_MAX, node);
}

}  // namespace minicpmo::kernels
