#include "models/resampler.h"

#include <cmath>

namespace minicpmo {

Resampler::Resampler(const ResamplerConfig& config, const WeightScope& scope) : config_(config) {
    const int64_t n_embd = config.n_embd;
    const WeightScope attn = scope / "attn";
    query_ = scope.get_f32("query", {n_embd, config.n_query});
    kv_ = nn::bind_linear(scope / "kv", config.n_embd_vision, n_embd, nn::Bias::no);
    q_proj_ = nn::bind_linear(attn / "q", n_embd, n_embd);
    k_proj_ = nn::bind_linear(attn / "k", n_embd, n_embd);
    v_proj_ = nn::bind_linear(attn / "v", n_embd, n_embd);
    out_ = nn::bind_linear(attn / "out", n_embd, n_embd);
    proj_ =
        nn::bind_linear(scope / "proj", n_embd, n_embd, nn::Bias::no);  // the parameter `proj`, transposed
    norm_q_ = nn::bind_layer_norm(scope / "ln_q", n_embd, config.norm_eps);
    norm_kv_ = nn::bind_layer_norm(scope / "ln_kv", n_embd, config.norm_eps);
    norm_post_ = nn::bind_layer_norm(scope / "ln_post", n_embd, config.norm_eps);
}

Tensor Resampler::resample(Graph& g, Tensor patches, Tensor positions) const {
    const int n_head = config_.n_head;
    const Tensor kv = nn::layer_norm(g, norm_kv_, nn::linear(g, kv_, patches));  // [n_embd, n_patch]
    const Tensor query = nn::layer_norm(g, norm_q_, query_);                     // [n_embd, n_query]
    const Tensor keys =
        ggml_add(g.ctx(), kv, positions);  // positions go to the keys only; values stay without
    const Tensor q = nn::split_heads(g, nn::linear(g, q_proj_, query), n_head);  // [d_head, n_head, n_query]
    const Tensor k = nn::split_heads(g, nn::linear(g, k_proj_, keys), n_head);   // [d_head, n_head, n_patch]
    const Tensor v = nn::split_heads(g, nn::linear(g, v_proj_, kv), n_head);     // [d_head, n_head, n_patch]
    const float scale = 1.0F / std::sqrt(static_cast<float>(config_.n_embd / n_head));
    const Tensor attended = nn::attention(g, q, k, v, nullptr, scale, &q_proj_);  // [n_embd, n_query]
    const Tensor out = nn::layer_norm(g, norm_post_, nn::linear(g, out_, attended));
    const Tensor rows = nn::linear(g, proj_, out);
    const bool is_scaled = config_.output_scale != 1.0F;
    return g.name(is_scaled ? ggml_scale(g.ctx(), rows, config_.output_scale) : rows, "resampler.out");
}

namespace {

// 10000^(-k / n) for k below n.
std::vector<float> frequencies(int n) {
    std::vector<float> omega;
    for (int k = 0; k < n; ++k)
        omega.push_back(1.0F / std::pow(10000.0F, static_cast<float>(k) / static_cast<float>(n)));
    return omega;
}

}  // namespace

Array<float> Resampler::positions(int rows, int cols) const {
    const std::vector<float> omega = frequencies(config_.n_embd / 4);
    Array<float> table({config_.n_embd, int64_t{rows} * cols});
    float* out = table.data.data();
    for (int row = 0; row < rows; ++row) {
        for (int col = 0; col < cols; ++col) {
            for (const int position : {col, row}) {
                for (const float w : omega) *out++ = std::sin(static_cast<float>(position) * w);
                for (const float w : omega) *out++ = std::cos(static_cast<float>(position) * w);
            }
        }
    }
    return table;
}

Array<float> Resampler::positions(int rows, int cols, int32_t time) const {
    Array<float> table = positions(rows, cols);
    if (time < 0) return table;
    const std::vector<float> omega = frequencies(config_.n_embd / 2);
    std::vector<float> moment;
    for (const float w : omega) moment.push_back(std::sin(static_cast<float>(time) * w));
    for (const float w : omega) moment.push_back(std::cos(static_cast<float>(time) * w));
    for (size_t i = 0; i < table.data.size(); ++i) table.data[i] += moment[i % moment.size()];
    return table;
}

}  // namespace minicpmo
