#include "models/speech/upsample_encoder.h"

#include <cmath>

#include "kernels/row_norm.h"

namespace minicpmo {

namespace {

ConformerConfig conformer_config(const UpsampleEncoderConfig& c, int n_layer) {
    return {n_layer, c.n_embd, c.n_ff, c.n_head, c.block_norm_eps};
}

// x behind what the last chunk left in `cache`, which takes the last rows of the result for the next chunk.
Tensor with_context(Graph& g, Tensor x, const StreamCache& cache) {
    const Tensor context = cache[0];
    if (context->ne[1] == 0) return x;
    const Tensor all = ggml_concat(g.ctx(), context, x, 1);
    const Tensor last = ggml_view_2d(g.ctx(), all, all->ne[0], context->ne[1], all->nb[1],
                                     all->nb[1] * static_cast<size_t>(x->ne[1]));
    g.run(ggml_cpy(g.ctx(), last, context));
    return all;
}

}  // namespace

void UpsampleEncoderState::keep(int n_first, int n_last) {
    const int up_rate = layers.n_cached > 0 ? up_layers.n_cached / layers.n_cached : 1;
    layers.keep(n_first, n_last);
    up_layers.keep(up_rate * n_first, up_rate * n_last);
}

UpsampleEncoder::UpsampleEncoder(const UpsampleEncoderConfig& config, const WeightScope& scope)
    : config_(config),
      embedding_{nn::bind_linear(scope / "embd", config.n_embd, config.n_embd),
                 nn::bind_layer_norm(scope / "embd_norm", config.n_embd, config.norm_eps)},
      lookahead1_(
          nn::bind_conv1d(scope / "lookahead1", config.n_embd, config.n_embd, config.n_lookahead + 1)),
      lookahead2_(
          nn::bind_conv1d(scope / "lookahead2", config.n_embd, config.n_embd, config.lookahead_kernel)),
      layers_(conformer_config(config, config.n_layer), scope / "blk"),
      up_conv_(nn::bind_conv1d(scope / "up_conv", config.n_embd, int64_t{config.up_rate} * config.n_embd,
                               config.up_taps)),
      up_embedding_{nn::bind_linear(scope / "up_embd", config.n_embd, config.n_embd),
                    nn::bind_layer_norm(scope / "up_embd_norm", config.n_embd, config.norm_eps)},
      up_layers_(conformer_config(config, config.n_up_layer), scope / "up_blk"),
      output_norm_(nn::bind_layer_norm(scope / "output_norm", config.n_embd, config.norm_eps)) {}

UpsampleEncoderState UpsampleEncoder::start(ggml_type cache_type, const Backend& backend) const {
    const auto context = [&](int n) { return StreamCache({GGML_TYPE_F32, config_.n_embd, n, 1}, backend); };
    return {context(config_.lookahead_kernel - 1), context(config_.up_taps - 1),
            layers_.start(cache_type, backend), up_layers_.start(cache_type, backend)};
}

void UpsampleEncoder::reserve(UpsampleEncoderState& state, int n, Workspace& workspace) const {
    layers_.reserve(state.layers, n, "flow_distances", workspace);
    up_layers_.reserve(state.up_layers, config_.up_rate * n, "flow_distances", workspace);
}

void UpsampleEncoder::advance(UpsampleEncoderState& state, int n) const {
    state.layers.n_cached += n;
    state.up_layers.n_cached += config_.up_rate * n;
}

Tensor UpsampleEncoder::embed(Graph& g, const Embedding& embedding, Tensor x) const {
    const nn::LayerNorm& norm = embedding.norm;
    x = kernels::row_norm(g, nn::linear(g, embedding.linear, x),
                          {.weight = norm.weight, .shift = norm.bias, .eps = norm.eps});
    return ggml_scale_inplace(g.ctx(), x, std::sqrt(static_cast<float>(config_.n_embd)));
}

Tensor UpsampleEncoder::look_ahead(Graph& g, Tensor x, bool is_last, const StreamCache& context) const {
    const Tensor ahead = ggml_leaky_relu(
        g.ctx(), nn::conv1d(g, lookahead1_, x, {.pad_right = is_last ? config_.n_lookahead : 0}),
        config_.lookahead_slope, true);  // [n_embd, n]
    const Tensor back = nn::conv1d(g, lookahead2_, with_context(g, ahead, context));
    return ggml_add(g.ctx(), back, ggml_view_2d(g.ctx(), x, x->ne[0], back->ne[1], x->nb[1], 0));
}

Tensor UpsampleEncoder::encode(Graph& g, Tensor x, bool is_last, const UpsampleEncoderState& state) const {
    x = look_ahead(g, embed(g, embedding_, x), is_last, state.lookahead_context);  // [n_embd, n]
    x = layers_.encode(g, x, state.layers);
    x = nn::conv1d(g, up_conv_, with_context(g, x, state.up_context));            // [up_rate * n_embd, n]
    x = ggml_reshape_2d(g.ctx(), x, config_.n_embd, config_.up_rate * x->ne[1]);  // [n_embd, up_rate * n]
    x = up_layers_.encode(g, embed(g, up_embedding_, x), state.up_layers);
    return g.name(
        kernels::row_norm(
            g, x, {.weight = output_norm_.weight, .shift = output_norm_.bias, .eps = output_norm_.eps}),
        "flow.encoder");
}

}  // namespace minicpmo
