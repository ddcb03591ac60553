#include "models/speech/conformer.h"

#include <algorithm>
#include <cmath>

#include "kernels/relative_attention.h"
#include "kernels/row_norm.h"
#include "nn/attention.h"

namespace minicpmo {

namespace {

constexpr int kSpareRows = 64;  // so that chunks of changing sizes rarely need new memory
constexpr size_t kNodesPerLayer = 64;

// Of the distances n_back, n_back - 1, ..., -n_ahead: sines and cosines in turn, [n_embd, n_back + 1 +
// n_ahead].
std::vector<float> sinusoids(int n_back, int n_ahead, int n_embd) {
    std::vector<float> values;
    values.reserve(static_cast<size_t>(n_back + 1 + n_ahead) * static_cast<size_t>(n_embd));
    for (int distance = n_back; distance >= -n_ahead; --distance) {
        for (int i = 0; i < n_embd; i += 2) {
            const double angle = distance * std::pow(10000.0, -static_cast<double>(i) / n_embd);
            values.push_back(static_cast<float>(std::sin(angle)));
            if (i + 1 < n_embd) values.push_back(static_cast<float>(std::cos(angle)));
        }
    }
    return values;
}

Tensor normalized(Graph& g, Tensor x, const nn::LayerNorm& norm) {
    return kernels::row_norm(g, x, {.weight = norm.weight, .shift = norm.bias, .eps = norm.eps});
}

}  // namespace

void ConformerState::keep(int n_first, int n_last) {
    if (n_first + n_last >= n_cached) return;
    keys_values.move_rows(n_cached - n_last, n_first, n_last);
    n_cached = n_first + n_last;
}

Conformer::Conformer(const ConformerConfig& config, const WeightScope& scope) : config_(config) {
    const int64_t n_embd = config.n_embd;
    const int64_t n_ff = config.n_ff;
    const int64_t d_head = n_embd / config.n_head;
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / i;
        layers_.push_back({
            .norm1 = nn::bind_layer_norm(blk / "ln1", n_embd, config.norm_eps),
            .q = nn::bind_linear(blk / "attn_q", n_embd, n_embd),
            .k = nn::bind_linear(blk / "attn_k", n_embd, n_embd),
            .v = nn::bind_linear(blk / "attn_v", n_embd, n_embd),
            .out = nn::bind_linear(blk / "attn_out", n_embd, n_embd),
            .distance = nn::bind_linear(blk / "attn_pos", n_embd, n_embd, nn::Bias::no),
            .content_bias = blk.get_f32("attn_pos_bias_u", {d_head, config.n_head}),
            .distance_bias = blk.get_f32("attn_pos_bias_v", {d_head, config.n_head}),
            .norm2 = nn::bind_layer_norm(blk / "ln2", n_embd, config.norm_eps),
            .mlp = {nn::bind_linear(blk / "ffn_up", n_embd, n_ff),
                    nn::bind_linear(blk / "ffn_down", n_ff, n_embd)},
        });
    }
}

size_t Conformer::max_nodes() const { return kNodesPerLayer * (layers_.size() + 1); }

ConformerState Conformer::start(ggml_type cache_type, const Backend& backend) const {
    ConformerState state;
    state.keys_values = StreamCache({cache_type, config_.n_embd, 0, 2 * config_.n_layer}, backend);
    state.distances = StreamCache({cache_type, config_.n_embd, 0, config_.n_layer}, backend);
    return state;
}

void Conformer::reserve(ConformerState& state, int n, const std::string& component,
                        Workspace& workspace) const {
    const int n_key = state.n_cached + n;
    if (n_key > state.keys_values.shape().n_row) state.keys_values.set_n_row(n_key + kSpareRows);
    const bool is_covered =
        state.distances.shape().n_row > 0 && n_key - 1 <= state.n_back && n - 1 <= state.n_ahead;
    if (is_covered || layers_.empty()) return;
    state.n_back = std::max(state.n_back, n_key - 1 + kSpareRows);
    state.n_ahead = std::max(state.n_ahead, n - 1);
    const int64_t n_distance = state.n_back + 1 + state.n_ahead;
    state.distances.set_n_row(n_distance);
    GraphRunner& runner = workspace.runner(component, 8 * (layers_.size() + 1));
    runner.prepare({n_distance, state.distances.generation()}, [&](Graph& g) {
        const Tensor angles = g.input("sinusoids", GGML_TYPE_F32, {config_.n_embd, n_distance});
        for (size_t i = 0; i < layers_.size(); ++i) {
            const Tensor projected = nn::linear(g, layers_[i].distance, angles);
            g.run(ggml_cpy(g.ctx(), projected, state.distances[static_cast<int>(i)]));
        }
    });
    runner.set("sinusoids", sinusoids(state.n_back, state.n_ahead, config_.n_embd));
    runner.compute();
    workspace.release(component);
}

Tensor Conformer::encode(Graph& g, Tensor x, const ConformerState& state) const {
    for (int i = 0; i < config_.n_layer; ++i) x = g.name(layer(g, i, x, state), "conformer.layer", i);
    return x;
}

Tensor Conformer::layer(Graph& g, int index, Tensor x, const ConformerState& state) const {
    ggml_context* ctx = g.ctx();
    const Layer& w = layers_[static_cast<size_t>(index)];
    const int64_t n = x->ne[1];
    const int64_t n_key = state.n_cached + n;
    const auto append = [&](Tensor rows, int tensor) {  // -> [d_head, n_head, n_key]
        g.run(ggml_cpy(ctx, rows, state.keys_values.rows(ctx, tensor, state.n_cached, n)));
        return nn::split_heads(g, state.keys_values.rows(ctx, tensor, 0, n_key), config_.n_head);
    };
    const Tensor y = normalized(g, x, w.norm1);
    const Tensor q = nn::split_heads(g, nn::linear(g, w.q, y), config_.n_head);  // [d_head, n_head, n]
    const Tensor k = append(nn::linear(g, w.k, y), 2 * index);
    const Tensor v = append(nn::linear(g, w.v, y), 2 * index + 1);
    // From the first key as the last query sees it to the last key as the first query does.
    const Tensor distances = nn::split_heads(
        g, state.distances.rows(ctx, index, state.n_back - (n_key - 1), n_key + n - 1), config_.n_head);
    const Tensor attended = kernels::relative_attention(
        g, {q, k, v, distances, w.content_bias, w.distance_bias,
            1.0F / std::sqrt(static_cast<float>(config_.n_embd / config_.n_head))});
    x = ggml_add(ctx, x, nn::linear(g, w.out, attended));
    const Tensor up = ggml_silu_inplace(ctx, nn::linear(g, w.mlp.up, normalized(g, x, w.norm2)));
    return ggml_add(ctx, x, nn::linear(g, w.mlp.down, up));
}

}  // namespace minicpmo
