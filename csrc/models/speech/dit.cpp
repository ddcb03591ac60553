#include "models/speech/dit.h"

#include <algorithm>
#include <cmath>

#include "kernels/activation.h"
#include "kernels/mul_mat.h"
#include "kernels/row_norm.h"
#include "nn/attention.h"

namespace minicpmo {

namespace {

constexpr size_t kNodesPerLayer = 72;
constexpr int kParts =
    9;  // of a layer's modulation, in the order of the file: shift, scale and gate of each branch
constexpr int kAttention = 0, kMlp = 1, kConvolution = 2;

// Cosines first.
std::vector<float> time_features(float time, const DitConfig& config) {
    const int n_half = config.n_time / 2;
    std::vector<float> values(static_cast<size_t>(config.n_time));
    for (int i = 0; i < n_half; ++i) {
        const auto frequency = static_cast<float>(std::exp(-std::log(10000.0) * i / n_half));
        const float angle = config.time_scale * time * frequency;
        values[static_cast<size_t>(i)] = std::cos(angle);
        values[static_cast<size_t>(n_half + i)] = std::sin(angle);
    }
    return values;
}

}  // namespace

Dit::Dit(const DitConfig& config, const WeightScope& scope)
    : config_(config),
      time1_(nn::bind_linear(scope / "time1", config.n_time, config.n_embd)),
      time2_(nn::bind_linear(scope / "time2", config.n_embd, config.n_embd)),
      in_(nn::bind_linear(scope / "in", int64_t{4} * config.n_mel, config.n_embd)),
      out_modulation_(nn::bind_linear(scope / "final_adaln", config.n_embd, int64_t{2} * config.n_embd)),
      out_(nn::bind_linear(scope / "out", config.n_embd, config.n_mel)) {
    const int64_t n_embd = config.n_embd;
    const int64_t n_inner = int64_t{config.n_head} * config.d_head;
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / "blk" / i;
        layers_.push_back({
            .q = nn::bind_linear(blk / "attn_q", n_embd, n_inner),
            .k = nn::bind_linear(blk / "attn_k", n_embd, n_inner),
            .v = nn::bind_linear(blk / "attn_v", n_embd, n_inner),
            .out = nn::bind_linear(blk / "attn_out", n_inner, n_embd),
            .q_norm = nn::bind_layer_norm(blk / "attn_q_norm", config.d_head, config.qk_norm_eps),
            .k_norm = nn::bind_layer_norm(blk / "attn_k_norm", config.d_head, config.qk_norm_eps),
            .conv1 = nn::bind_conv1d(blk / "conv1", n_embd, n_embd, config.conv_kernel),
            .conv2 = nn::bind_conv1d(blk / "conv2", n_embd, n_embd, config.conv_kernel),
            .conv_norm = nn::bind_layer_norm(blk / "conv_norm", n_embd, config.conv_norm_eps),
            .mlp = {nn::bind_linear(blk / "ffn_up", n_embd, config.n_ff),
                    nn::bind_linear(blk / "ffn_down", config.n_ff, n_embd)},
            .modulation = nn::bind_linear(blk / "adaln", n_embd, kParts * n_embd),
        });
    }
}

size_t Dit::max_nodes() const { return kNodesPerLayer * (layers_.size() + 1); }

StreamCache Dit::modulation(std::span<const float> times, Workspace& workspace) const {
    const auto n_time = static_cast<int64_t>(times.size());
    const int64_t n_embd = config_.n_embd;
    const auto n_layer = static_cast<int64_t>(layers_.size());
    std::vector<float> features;
    for (const float time : times) {
        const std::vector<float> one = time_features(time, config_);
        features.insert(features.end(), one.begin(), one.end());
    }
    GraphRunner& runner = workspace.runner("dit_modulation", 8 * (layers_.size() + 4));
    runner.prepare({n_time}, [&](Graph& g) {
        ggml_context* ctx = g.ctx();
        const Tensor x = g.input("features", GGML_TYPE_F32, {config_.n_time, n_time});
        const Tensor c = nn::linear(g, time2_, ggml_silu(ctx, nn::linear(g, time1_, x)));
        const Tensor active = ggml_silu(ctx, c);  // [n_embd, n_time]
        for (size_t i = 0; i < layers_.size(); ++i)
            g.output(std::to_string(i), nn::linear(g, layers_[i].modulation, active));
        g.output("final", nn::linear(g, out_modulation_, active));
    });
    runner.set("features", features);
    runner.compute();

    const int64_t n_vector = kParts * n_layer + 2;
    std::vector<float> all(static_cast<size_t>(n_embd * n_vector * n_time));
    const auto take = [&](const std::string& output, int64_t first, int64_t n_part) {
        std::vector<float> parts(static_cast<size_t>(n_part * n_embd * n_time));
        runner.read(output, parts);
        for (int64_t t = 0; t < n_time; ++t) {
            for (int64_t i = 0; i < n_part * n_embd; ++i) {
                const bool is_scale = i / n_embd % 3 == 1;
                all[static_cast<size_t>((t * n_vector + first) * n_embd + i)] =
                    parts[static_cast<size_t>(t * n_part * n_embd + i)] + (is_scale ? 1.0F : 0.0F);
            }
        }
    };
    for (int64_t i = 0; i < n_layer; ++i) take(std::to_string(i), kParts * i, kParts);
    take("final", kParts * n_layer, 2);
    workspace.release("dit_modulation");

    StreamCache modulation({GGML_TYPE_F32, n_embd, n_vector, static_cast<int>(n_time)}, workspace.backend());
    for (int t = 0; t < static_cast<int>(n_time); ++t) {
        const size_t n = ggml_nbytes(modulation[t]);
        ggml_backend_tensor_set(modulation[t], all.data() + static_cast<size_t>(t) * (n / sizeof(float)), 0,
                                n);
    }
    return modulation;
}

Dit::Modulation Dit::part(Graph& g, Tensor modulation, int layer, int index) const {
    const auto vector = [&](int i) {
        return ggml_view_1d(g.ctx(), modulation, config_.n_embd,
                            modulation->nb[1] * static_cast<size_t>(kParts * layer + 3 * index + i));
    };
    const bool is_final = layer == config_.n_layer;
    return {vector(0), vector(1), is_final ? nullptr : vector(2)};
}

Tensor Dit::embed(Graph& g, Tensor conditions) const {
    const Tensor weight = in_.weight;
    const int64_t n_mel = config_.n_mel;
    const size_t offset = ggml_row_size(weight->type, n_mel);
    const Tensor rest = ggml_view_2d(g.ctx(), weight, 3 * n_mel, weight->ne[1], weight->nb[1], offset);
    return nn::linear(g, {rest, in_.bias}, conditions);  // [n_embd, 2 * n_frame]
}

Tensor Dit::velocity(Graph& g, Tensor x, Tensor embedded, Tensor modulation, const Past& past) const {
    ggml_context* ctx = g.ctx();
    const int64_t n_embd = config_.n_embd;
    const int64_t n_frame = x->ne[1];
    const Tensor noise_weight = ggml_view_2d(ctx, in_.weight, config_.n_mel, n_embd, in_.weight->nb[1], 0);
    const Tensor noise = ggml_reshape_3d(ctx, kernels::mul_mat(g, noise_weight, x), n_embd, 1, n_frame);
    x = ggml_add(ctx, ggml_reshape_3d(ctx, embedded, n_embd, kBranches, n_frame), noise);
    x = ggml_reshape_2d(ctx, x, n_embd, kBranches * n_frame);
    const auto modulated = [&](const Modulation& m) {
        return kernels::row_norm(g, x, {.weight = m.scale, .shift = m.shift, .eps = config_.norm_eps});
    };
    for (int i = 0; i < config_.n_layer; ++i) {
        const Layer& w = layers_[static_cast<size_t>(i)];
        // NOTE: attention, convolution, MLP is the order of the reference, although the file has the
        // modulation of the MLP before that of the convolution.
        Modulation m = part(g, modulation, i, kAttention);
        x = kernels::gated_add(g, x, attention(g, w, modulated(m), past, i), w.out.bias, m.gate);
        m = part(g, modulation, i, kConvolution);
        x = kernels::gated_add(g, x, convolution(g, w, x, m, past, i), w.conv2.kernel.bias, m.gate);
        m = part(g, modulation, i, kMlp);
        x = kernels::gated_add(g, x, mlp(g, w, modulated(m)), w.mlp.down.bias, m.gate);
        g.name(x, "dit.layer", i);
    }
    return g.name(nn::linear(g, out_, modulated(part(g, modulation, config_.n_layer, 0))), "dit.velocity");
}

Tensor Dit::attention(Graph& g, const Layer& w, Tensor y, const Past& past, int index) const {
    ggml_context* ctx = g.ctx();
    const int64_t n_head = int64_t{kBranches} * config_.n_head;
    const int64_t n_row = n_head * config_.d_head;  // of a frame
    const int64_t n_frame = y->ne[1] / kBranches;
    const auto heads = [&](const nn::Linear& layer,
                           const nn::LayerNorm& norm) {  // -> [d_head, n_head, n_frame]
        const Tensor rows =
            ggml_reshape_2d(ctx, kernels::mul_mat(g, layer.weight, y), config_.d_head, n_head * n_frame);
        const Tensor normal = kernels::row_norm(
            g, rows, {.bias = layer.bias, .weight = norm.weight, .shift = norm.bias, .eps = norm.eps});
        return ggml_reshape_3d(ctx, normal, config_.d_head, n_head, n_frame);
    };
    const Tensor q = heads(w.q, w.q_norm);
    Tensor k = ggml_reshape_2d(ctx, heads(w.k, w.k_norm), n_row, n_frame);
    Tensor v = ggml_reshape_2d(ctx, nn::linear(g, w.v, y), n_row, n_frame);
    if (past.keys_values != nullptr) {
        const auto store = [&](Tensor rows, int tensor) {
            g.run(ggml_set_rows(ctx, (*past.keys_values)[past.first + tensor], rows, past.cells));
            return past.keys_values->rows(ctx, past.first + tensor, 0, past.n_key);
        };
        k = store(k, 2 * index);
        v = store(v, 2 * index + 1);
    }
    const float scale = 1.0F / std::sqrt(static_cast<float>(config_.d_head));
    const Tensor attended =
        nn::attention(g, q, nn::split_heads(g, k, n_head), nn::split_heads(g, v, n_head), nullptr, scale);
    return kernels::mul_mat(g, w.out.weight,
                            ggml_reshape_2d(ctx, attended, n_row / kBranches, kBranches * n_frame));
}

Tensor Dit::convolution(Graph& g, const Layer& w, Tensor x, const Modulation& m, const Past& past,
                        int index) const {
    ggml_context* ctx = g.ctx();
    const int n_context = config_.n_context();
    const bool is_stream = past.contexts != nullptr;
    // Takes a row_norm that begins with what the last chunk left, and leaves its own end for the next one.
    const auto convolve = [&](const nn::Conv1d& conv, Tensor y, kernels::RowNorm norm, int tensor) {
        norm.context = is_stream ? (*past.contexts)[past.first + tensor] : nullptr;
        y = kernels::row_norm(g, y, norm);
        if (is_stream) {
            const Tensor last = ggml_view_2d(ctx, y, y->ne[0], n_context, y->nb[1],
                                             y->nb[1] * static_cast<size_t>(y->ne[1] - n_context));
            g.run(ggml_cpy(ctx, last, norm.context));
        }
        return nn::conv1d(g, {{conv.kernel.weight, nullptr}, conv.n_tap}, y,
                          {.dilation = kBranches, .pad_left = is_stream ? 0 : n_context});
    };
    const Tensor y =
        convolve(w.conv1, x, {.weight = m.scale, .shift = m.shift, .eps = config_.norm_eps}, 2 * index);
    return convolve(w.conv2, y,
                    {.bias = w.conv1.kernel.bias,
                     .weight = w.conv_norm.weight,
                     .shift = w.conv_norm.bias,
                     .eps = w.conv_norm.eps,
                     .mish = true},
                    2 * index + 1);
}

Tensor Dit::mlp(Graph& g, const Layer& w, Tensor y) const {
    return kernels::mul_mat(g, w.mlp.down.weight, kernels::gelu_tanh(g, nn::linear(g, w.mlp.up, y)));
}

}  // namespace minicpmo
