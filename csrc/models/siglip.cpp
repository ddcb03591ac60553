#include "models/siglip.h"

#include <cmath>

namespace minicpmo {

Siglip::Siglip(const SiglipConfig& config, const WeightScope& scope) : config_(config) {
    const int64_t n_embd = config.n_embd;
    const int64_t n_ff = config.n_ff;
    const int64_t patch = config.patch_size;
    patch_embedding_.weight = (scope / "patch_embd").get("weight", {patch, patch, 3, n_embd});
    patch_embedding_.bias = (scope / "patch_embd").get_f32("bias", {n_embd});
    position_embedding_ = (scope / "position_embd")
                              .get("weight", {n_embd, int64_t{config.position_grid} * config.position_grid});
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / "blk" / i;
        layers_.push_back({
            .norm1 = nn::bind_layer_norm(blk / "ln1", n_embd, config.norm_eps),
            .q = nn::bind_linear(blk / "attn_q", n_embd, n_embd),
            .k = nn::bind_linear(blk / "attn_k", n_embd, n_embd),
            .v = nn::bind_linear(blk / "attn_v", n_embd, n_embd),
            .out = nn::bind_linear(blk / "attn_out", n_embd, n_embd),
            .norm2 = nn::bind_layer_norm(blk / "ln2", n_embd, config.norm_eps),
            .mlp = {nn::bind_linear(blk / "ffn_up", n_embd, n_ff),
                    nn::bind_linear(blk / "ffn_down", n_ff, n_embd)},
        });
    }
    post_norm_ = nn::bind_layer_norm(scope / "post_ln", n_embd, config.norm_eps);
}

Tensor Siglip::encode(Graph& g, Tensor pixels, Tensor position_ids) const {
    // A stride-14 convolution over 14x14 patches is one product per patch: the kernel read as a matrix.
    const Tensor kernel = ggml_reshape_2d(g.ctx(), patch_embedding_.weight, pixels->ne[0], config_.n_embd);
    Tensor x = nn::linear(g, {kernel, patch_embedding_.bias}, pixels);  // [n_embd, n_patch]
    x = ggml_add(g.ctx(), x, ggml_get_rows(g.ctx(), position_embedding_, position_ids));
    g.name(x, "vision.embedding");
    for (size_t i = 0; i < layers_.size(); ++i) {
        x = g.name(layer(g, layers_[i], x), "vision.layer", static_cast<int>(i));
    }
    return g.name(nn::layer_norm(g, post_norm_, x), "vision.out");
}

Tensor Siglip::layer(Graph& g, const Layer& layer, Tensor x) const {
    const Tensor y = nn::layer_norm(g, layer.norm1, x);
    const Tensor q =
        nn::split_heads(g, nn::linear(g, layer.q, y), config_.n_head);  // [d_head, n_head, n_patch]
    const Tensor k = nn::split_heads(g, nn::linear(g, layer.k, y), config_.n_head);
    const Tensor v = nn::split_heads(g, nn::linear(g, layer.v, y), config_.n_head);
    const float scale = 1.0F / std::sqrt(static_cast<float>(config_.n_embd / config_.n_head));
    const Tensor attended =
        nn::attention(g, q, k, v, nullptr, scale, &layer.q);  // [n_embd, n_patch], every patch sees all
    x = ggml_add(g.ctx(), x, nn::linear(g, layer.out, attended));
    return ggml_add(g.ctx(), x,
                    nn::mlp_gelu(g, layer.mlp, nn::layer_norm(g, layer.norm2, x), nn::Gelu::tanh));
}

}  // namespace minicpmo
