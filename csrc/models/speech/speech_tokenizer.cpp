#include "models/speech/speech_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "nn/attention.h"
#include "nn/convnext.h"

namespace minicpmo {

namespace {

constexpr int kNodesPerLayer = 64;
constexpr int kOtherNodes = 64;

}  // namespace

int SpeechTokenizerConfig::n_code(int n_mel_frame) const {
    int n = n_mel_frame;
    for (int i = 0; i < 2; ++i) n = (n - 1) / conv_stride + 1;  // both keep the length but for their stride
    return n;
}

int SpeechTokenizerConfig::n_vocab() const {
    int n = 1;
    for (int i = 0; i < n_digit; ++i) n *= n_level;
    return n;
}

SpeechTokenizer::SpeechTokenizer(const SpeechTokenizerConfig& config, const WeightScope& scope)
    : config_(config), rope_{.n_dims = config.n_embd / config.n_head, .base = config.rope_base} {
    const int64_t n_embd = config.n_embd;
    const int64_t n_ff = config.n_ff;
    conv1_ = nn::bind_conv1d(scope / "conv1", config.n_mel, n_embd, config.conv_taps);
    conv2_ = nn::bind_conv1d(scope / "conv2", n_embd, n_embd, config.conv_taps);
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / "blk" / i;
        layers_.push_back({
            .norm1 = nn::bind_layer_norm(blk / "ln1", n_embd, config.attention_norm_eps),
            .q = nn::bind_linear(blk / "attn_q", n_embd, n_embd),
            .k = nn::bind_linear(blk / "attn_k", n_embd, n_embd, nn::Bias::no),
            .v = nn::bind_linear(blk / "attn_v", n_embd, n_embd),
            .out = nn::bind_linear(blk / "attn_out", n_embd, n_embd),
            .fsmn = (blk / "attn_fsmn").get_f32("weight", {n_embd, config.fsmn_taps}),
            .norm2 = nn::bind_layer_norm(blk / "ln2", n_embd, config.ffn_norm_eps),
            .mlp = {nn::bind_linear(blk / "ffn_up", n_embd, n_ff),
                    nn::bind_linear(blk / "ffn_down", n_ff, n_embd)},
        });
    }
    digits_ = nn::bind_linear(scope / "quant", n_embd, config.n_digit);
}

SpeechTokens SpeechTokenizer::encode(const Array<float>& mel, Workspace& workspace) const {
    const auto n_frame = static_cast<int>(mel.dim(1));
    const int n = config_.n_code(n_frame);
    check<ArgumentError>(
        mel.dim(0) == config_.n_mel && n >= 2 && n <= config_.n_position,
        "[speech tokenizer] expected mel of {} bands for 2 to {} codes, got {} bands, {} codes",
        config_.n_mel, config_.n_position, mel.dim(0), n);
    GraphRunner& runner =
        workspace.runner(kRunner, static_cast<size_t>(config_.n_layer * kNodesPerLayer + kOtherNodes));
    runner.prepare({n_frame}, [&](Graph& g) {
        const Tensor positions = g.input("positions", GGML_TYPE_I32, {n});
        Tensor x = g.input("mel", GGML_TYPE_F32, {config_.n_mel, n_frame});
        const int pad = config_.conv_taps / 2;
        for (const nn::Conv1d& conv : {conv1_, conv2_}) {
            x = nn::conv1d(g, conv, x, {.stride = config_.conv_stride, .pad_left = pad, .pad_right = pad});
            x = nn::gelu(g, x, nn::Gelu::erf);  // [n_embd, n]
        }
        for (const Layer& w : layers_) {
            x = ggml_add(g.ctx(), x, attend(g, w, nn::layer_norm(g, w.norm1, x), positions));
            x = ggml_add(g.ctx(), x, nn::mlp_gelu(g, w.mlp, nn::layer_norm(g, w.norm2, x), nn::Gelu::erf));
        }
        g.output("states", x);
        g.output("digits", nn::linear(g, digits_, x));
    });
    std::vector<int32_t> positions(static_cast<size_t>(n));
    std::iota(positions.begin(), positions.end(), 0);
    runner.set("mel", mel.data);
    runner.set("positions", positions);
    runner.compute();
    SpeechTokens tokens;
    tokens.states = Array<float>({config_.n_embd, n});
    runner.read("states", tokens.states.data);
    Array<float> digits({config_.n_digit, n});
    runner.read("digits", digits.data);
    for (int i = 0; i < n; ++i) tokens.codes.push_back(quantize(digits.row(i), config_.n_level));
    return tokens;
}

Tensor SpeechTokenizer::attend(Graph& g, const Layer& w, Tensor x, Tensor positions) const {
    const int n_head = config_.n_head;
    const auto turned = [&](const nn::Linear& layer) {  // -> [d_head, n_head, n]
        return nn::rope(g, rope_, nn::split_heads(g, nn::linear(g, layer, x), n_head), positions, nullptr);
    };
    const Tensor v = nn::linear(g, w.v, x);  // [n_embd, n]
    const float scale = 1.0F / std::sqrt(static_cast<float>(config_.n_embd / n_head));
    const Tensor attended =
        nn::attention(g, turned(w.q), turned(w.k), nn::split_heads(g, v, n_head), nullptr, scale);
    return ggml_add(g.ctx(), nn::linear(g, w.out, attended), remember(g, w.fsmn, v));
}

// v plus what its surroundings say, every feature by itself. -> [n_embd, n]
Tensor SpeechTokenizer::remember(Graph& g, Tensor taps, Tensor v) const {
    return ggml_add(g.ctx(), nn::depthwise_conv1d(g, taps, v), v);
}

int32_t SpeechTokenizer::quantize(std::span<const float> digits, int n_level) {
    constexpr float kLargest = 1.0F - 1e-6F;
    int32_t code = 0;
    int32_t place = 1;
    for (const float digit : digits) {
        check<ModelFileError>(!std::isnan(digit), "[s3] expected weights that make numbers, got others");
        const float bounded = std::clamp(std::tanh(digit), -kLargest, kLargest);
        // Halves go to the even neighbour, as in every rounding mode of the floating point unit that we use.
        const auto level =
            static_cast<int32_t>(std::nearbyint((bounded + 1.0F) * static_cast<float>(n_level - 1) / 2.0F));
        code += place * level;
        place *= n_level;
    }
    return code;
}

}  // namespace minicpmo
