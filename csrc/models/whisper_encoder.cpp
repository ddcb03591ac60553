#include "models/whisper_encoder.h"

#include <cmath>

#include "nn/attention.h"

namespace minicpmo {

namespace {

constexpr int kTaps = 3;  // of both convolutions

}  // namespace

WhisperEncoder::WhisperEncoder(const WhisperConfig& config, const WeightScope& scope) : config_(config) {
    const int64_t n_embd = config.n_embd;
    const int64_t n_ff = config.n_ff;
    conv1_ = nn::bind_conv1d(scope / "conv1", config.n_mel, n_embd, kTaps);
    conv2_ = nn::bind_conv1d(scope / "conv2", n_embd, n_embd, kTaps);
    position_embedding_ = (scope / "position_embd").get("weight", {n_embd, config.n_position});
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / "blk" / i;
        layers_.push_back({
            .norm1 = nn::bind_layer_norm(blk / "ln1", n_embd, config.norm_eps),
            .q = nn::bind_linear(blk / "attn_q", n_embd, n_embd),
            .k = nn::bind_linear(blk / "attn_k", n_embd, n_embd, nn::Bias::no),
            .v = nn::bind_linear(blk / "attn_v", n_embd, n_embd),
            .out = nn::bind_linear(blk / "attn_out", n_embd, n_embd),
            .norm2 = nn::bind_layer_norm(blk / "ln2", n_embd, config.norm_eps),
            .mlp = {nn::bind_linear(blk / "ffn_up", n_embd, n_ff),
                    nn::bind_linear(blk / "ffn_down", n_ff, n_embd)},
        });
    }
    post_norm_ = nn::bind_layer_norm(scope / "post_ln", n_embd, config.norm_eps);
}

Tensor WhisperEncoder::encode(Graph& g, Tensor mel, Tensor positions, Tensor mask, const Past& past,
                              const Context& context) const {
    ggml_context* ctx = g.ctx();
    Tensor x = nn::conv1d(g, conv1_, mel, {.pad_left = 1, .pad_right = 1});
    x = nn::gelu(g, x, nn::Gelu::erf);  // [n_embd, n_mel_frame]
    x = nn::conv1d(g, conv2_, x, {.stride = 2, .pad_left = 1, .pad_right = 1});
    x = nn::gelu(g, x, nn::Gelu::erf);  // [n_embd, n_frames]
    const int64_t n = x->ne[1] - context.before - context.after;
    x = ggml_view_2d(ctx, x, x->ne[0], n, x->nb[1], x->nb[1] * static_cast<size_t>(context.before));
    x = ggml_add(ctx, x, ggml_get_rows(ctx, position_embedding_, positions));
    g.name(x, "audio.embedding");
    for (int i = 0; i < config_.n_layer; ++i) x = g.name(layer(g, i, x, mask, past), "audio.layer", i);
    return g.name(nn::layer_norm(g, post_norm_, x), "audio.out");
}

Tensor WhisperEncoder::layer(Graph& g, int index, Tensor x, Tensor mask, const Past& past) const {
    const Layer& w = layers_[static_cast<size_t>(index)];
    const Tensor y = nn::layer_norm(g, w.norm1, x);
    const Tensor q = nn::split_heads(g, nn::linear(g, w.q, y), config_.n_head);  // [d_head, n_head, n]
    Tensor k = nn::linear(g, w.k, y);                                            // [n_embd, n]
    Tensor v = nn::linear(g, w.v, y);
    if (past.cache != nullptr) {
        const auto append = [&](Tensor rows,
                                Tensor cells) {  // -> [n_embd, n_cached + n], a view of the cache
            g.run(ggml_set_rows(g.ctx(), cells, rows, past.cells));
            return ggml_view_2d(g.ctx(), cells, cells->ne[0], past.n_cached + rows->ne[1], cells->nb[1], 0);
        };
        k = append(k, past.cache->keys(index));
        v = append(v, past.cache->values(index));
    }
    const float scale = 1.0F / std::sqrt(static_cast<float>(config_.n_embd / config_.n_head));
    const Tensor attended = nn::attention(g, q, nn::split_heads(g, k, config_.n_head),
                                          nn::split_heads(g, v, config_.n_head), mask, scale);
    x = ggml_add(g.ctx(), x, nn::linear(g, w.out, attended));
    return ggml_add(g.ctx(), x, nn::mlp_gelu(g, w.mlp, nn::layer_norm(g, w.norm2, x), nn::Gelu::erf));
}

}  // namespace minicpmo
