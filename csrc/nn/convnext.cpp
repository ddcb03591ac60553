#include "nn/convnext.h"

namespace minicpmo::nn {

ConvNext bind_convnext(const WeightScope& scope, const ConvNextConfig& config) {
    const WeightScope conv = scope / "conv";
    return {.taps = conv.get_f32("weight", {config.n_embd, config.n_tap}),
            .bias = conv.get_f32("bias", {config.n_embd}),
            .dilation = config.dilation,
            .norm = bind_layer_norm(scope / "ln", config.n_embd, config.norm_eps),
            .mlp = {bind_linear(scope / "ffn_up", config.n_embd, config.n_ff),
                    bind_linear(scope / "ffn_down", config.n_ff, config.n_embd)}};
}

Tensor convnext(Graph& g, const ConvNext& block, Tensor x) {
    const Tensor around = ggml_add(g.ctx(), depthwise_conv1d(g, block.taps, x, block.dilation), block.bias);
    return ggml_add(g.ctx(), x, mlp_gelu(g, block.mlp, layer_norm(g, block.norm, around), Gelu::erf));
}

// To ggml, time is the width of an image of height 1, whose channels lie together.
Tensor depthwise_conv1d(Graph& g, Tensor taps, Tensor x, int dilation) {
    ggml_context* ctx = g.ctx();
    const int64_t n_embd = x->ne[0];
    const Tensor image = ggml_permute(ctx, ggml_reshape_4d(ctx, x, n_embd, x->ne[1], 1, 1), 2, 0, 1, 3);
    const Tensor kernel =
        ggml_permute(ctx, ggml_reshape_4d(ctx, taps, n_embd, 1, taps->ne[1], 1), 3, 2, 0, 1);
    const int pad = static_cast<int>(taps->ne[1] / 2) * dilation;
    const Tensor around =
        ggml_conv_2d_dw_direct(ctx, kernel, image, 1, 1, pad, 0, dilation, 1);  // [n, 1, n_embd]
    const Tensor rows = ggml_permute(ctx, around, 1, 2, 0, 3);                  // [n_embd, n, 1], as they lie
    return ggml_view_2d(ctx, rows, n_embd, x->ne[1], rows->nb[1], 0);
}

}  // namespace minicpmo::nn
