#include "nn/attention.h"

#include "kernels/attention.h"

namespace minicpmo::nn {

Tensor split_heads(Graph& g, Tensor x, int64_t n_head) {
    return ggml_reshape_3d(g.ctx(), x, x->ne[0] / n_head, n_head, x->ne[1]);
}

Tensor attention(Graph& g, Tensor q, Tensor k, Tensor v, Tensor mask, float scale, const Linear* layer) {
    if (g.on_cpu() && kernels::attention_supports(q, k, v, mask)) {
        const bool rounds = layer != nullptr && ggml_is_quantized(layer->weight->type);
        const auto operand = rounds ? kernels::Operand::bf16 : kernels::Operand::f32;
        return kernels::attention(g, q, k, v, mask, scale, operand);
    }
    const auto time_second = [&](Tensor x) {
        return ggml_permute(g.ctx(), x, 0, 2, 1, 3);
    };  // [d_head, n, n_head]
    const Tensor out =
        ggml_flash_attn_ext(g.ctx(), time_second(q), time_second(k), time_second(v), mask, scale, 0.0F,
                            0.0F);  // [d_head, n_head, n]
    ggml_flash_attn_ext_set_prec(out, GGML_PREC_F32);
    return ggml_reshape_2d(g.ctx(), out, out->ne[0] * out->ne[1], out->ne[2]);
}

}  // namespace minicpmo::nn
