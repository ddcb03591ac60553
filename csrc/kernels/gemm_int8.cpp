#include "kernels/gemm_int8.h"

#include "kernels/block_type.h"
#include "kernels/int8/int8_product.h"
#include "kernels/int8_rows.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

namespace {

struct GemmNode {
    const Int8Kernels* kernels = nullptr;
    WorkShare share;
};

void compute_gemm(ggml_tensor* dst, int, int nth, void* userdata) {
    auto& node = *static_cast<GemmNode*>(userdata);
    const ggml_tensor* w = dst->src[0];
    const ggml_tensor* x = dst->src[1];
    const Int8Product product = {.kernels = *node.kernels,
                                 .type = *block_type(w->type),
                                 .w = static_cast<const char*>(w->data),
                                 .w_stride = w->nb[1],
                                 .has_gaps = w->nb[1] != ggml_row_size(w->type, w->ne[0]),
                                 .n_in = w->ne[0],
                                 .n_out = w->ne[1],
                                 .x = {static_cast<const char*>(x->data), x->nb[1], w->ne[0]},
                                 .n = x->ne[1],
                                 .y = static_cast<float*>(dst->data)};
    for (int64_t i = 0; (i = node.share.take(product.n_piece(), nth)) >= 0;) product.compute(i, nth);
}

}  // namespace

bool gemm_int8_supports(const ggml_tensor* w, const ggml_tensor* x) {
    const Int8Kernels* kernels = int8_kernels();
    return kernels != nullptr && block_type(w->type) && w->ne[2] == 1 && w->ne[3] == 1 &&
           x->ne[1] >= kernels->n_fewest && x->ne[2] == 1 && x->ne[3] == 1 && x->type == GGML_TYPE_F32 &&
           x->nb[0] == sizeof(float);
}

Tensor gemm_int8(Graph& g, Tensor w, Tensor x) {
    auto* node = g.own<GemmNode>();
    node->kernels = int8_kernels();
    Tensor sources[] = {w, int8_rows(g, x, *block_type(w->type))};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, w->ne[1], x->ne[1], 1, 1, sources, 2, compute_gemm,
                          GGML_N_TASKS_MAX, node);
}

}  // namespace minicpmo::kernels
