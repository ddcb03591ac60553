#include "kernels/int8_rows.h"

#include "kernels/int8/int8_kernels.h"

namespace minicpmo::kernels {

namespace {

void compute_int8_rows(ggml_tensor* dst, int ith, int nth, void* userdata) {
    const QuantizeFunction quantize = *static_cast<const QuantizeFunction*>(userdata);
    const ggml_tensor* x = dst->src[0];
    const int64_t n_in = x->ne[0];
    for (int64_t row = ith; row < x->ne[1]; row += nth) {
        quantize(reinterpret_cast<const float*>(static_cast<const char*>(x->data) +
                                                row * static_cast<int64_t>(x->nb[1])),
                 static_cast<char*>(dst->data) + row * static_cast<int64_t>(dst->nb[1]), n_in);
    }
}

}  // namespace

Tensor int8_rows(Graph& g, Tensor x, BlockType weights) {
    return g.shared(x, block_weights(weights), [&] {
        const auto n_byte = static_cast<int64_t>(int8_row_bytes(weights, x->ne[0]));
        auto* quantize = g.own<QuantizeFunction>();
        *quantize = int8_kernels()->quantize(weights);
        Tensor sources[] = {x};
        return ggml_custom_4d(g.ctx(), GGML_TYPE_I8, n_byte, x->ne[1], 1, 1, sources, 1, compute_int8_rows,
                              GGML_N_TASKS_MAX, quantize);
    });
}

}  // namespace minicpmo::kernels
