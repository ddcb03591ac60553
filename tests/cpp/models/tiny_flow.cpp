#include "models/tiny_flow.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"

namespace minicpmo {

namespace {

constexpr int kEmbd = kTinyFlowEmbd;
constexpr int kFf = 64;
constexpr int kHead = 16;

class FlowWriter {
public:
    FlowWriter(GgufBuilder& builder, const TinyFlowOptions& options)
        : builder_(builder), type_(options.type), rng_{options.seed, 0} {}

    void values(const std::string& name, int n, float middle, float range, int n_column = 1) {
        std::vector<float> numbers = random(n * n_column, middle, range);
        std::string bytes(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
        std::vector<uint64_t> dims = {static_cast<uint64_t>(n)};
        if (n_column > 1) dims.push_back(static_cast<uint64_t>(n_column));
        builder_.tensor(
            {.name = "t2w." + name, .dims = dims, .type = GGML_TYPE_F32, .data = std::move(bytes)});
    }
    void matrix(const std::string& name, int n_in, int n_out, float scale = 1.0F) {
        const std::vector<float> numbers =
            random(n_in * n_out, 0.0F, scale * 1.7F / std::sqrt(static_cast<float>(n_in)));
        std::string bytes(ggml_row_size(type_, n_in) * static_cast<size_t>(n_out), '\0');
        ggml_quantize_chunk(type_, numbers.data(), bytes.data(), 0, n_out, n_in, nullptr);
        builder_.tensor({.name = "t2w." + name + ".weight",
                         .dims = {static_cast<uint64_t>(n_in), static_cast<uint64_t>(n_out)},
                         .type = static_cast<uint32_t>(type_),
                         .data = std::move(bytes)});
    }
    void linear(const std::string& name, int n_in, int n_out) {
        matrix(name, n_in, n_out);
        values(name + ".bias", n_out, 0.0F, 0.2F);
    }
    void norm(const std::string& name, int n) {
        values(name + ".weight", n, 1.0F, 0.2F);
        values(name + ".bias", n, 0.0F, 0.2F);
    }

private:
    std::vector<float> random(int n, float middle, float range) {
        std::vector<float> numbers(static_cast<size_t>(n));
        for (float& x : numbers) x = middle + range * (2 * static_cast<float>(rng_.uniform()) - 1);
        return numbers;
    }

    GgufBuilder& builder_;
    ggml_type type_;
    Rng rng_;
};

void add_keys(GgufBuilder& b, const TinyFlowOptions& options) {
    const auto count = [&](const char* key, int value) {
        b.add(std::string("minicpmo.t2w.") + key, static_cast<uint32_t>(value));
    };
    const auto number = [&](const char* key, float value) {
        b.add(std::string("minicpmo.t2w.") + key, value);
    };
    count("vocab_size", options.n_code);
    count("speaker_length", options.n_speaker);
    count("n_mel", kTinyFlowMel);
    count("token_rate", 25);
    count("up_rate", 2);
    count("pre_lookahead", 3);
    count("chunk_tokens", 25);
    count("silence_token", 5);
    count("n_timesteps", 3);
    number("cfg_rate", 0.7F);
    number("temperature", 1.0F);
    count("enc.block_count", 2);
    count("enc.up_block_count", 1);
    count("enc.embedding_length", kEmbd);
    count("enc.feed_forward_length", kFf);
    count("enc.attention.head_count", 2);
    count("enc.lookahead_kernel", 3);
    count("enc.up_conv.left", 2);
    count("enc.up_conv.right", 0);
    number("enc.layer_norm_epsilon", 1e-5F);
    number("enc.block_layer_norm_epsilon", 1e-12F);
    number("enc.lookahead_slope", 0.01F);
    count("dit.block_count", 2);
    count("dit.embedding_length", kEmbd);
    count("dit.feed_forward_length", kFf);
    count("dit.attention.head_count", 2);
    count("dit.attention.key_length", kHead);
    count("dit.time_length", 32);
    count("dit.conv_kernel", 3);
    number("dit.layer_norm_epsilon", 1e-6F);
    number("dit.qk_norm_epsilon", 1e-5F);
    number("dit.conv_norm_epsilon", 1e-5F);
    number("dit.time_scale", 1000.0F);
}

void add_encoder(FlowWriter& w) {
    const auto layer = [&](const std::string& blk) {
        w.norm(blk + "ln1", kEmbd);
        w.norm(blk + "ln2", kEmbd);
        for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"})
            w.linear(blk + name, kEmbd, kEmbd);
        w.matrix(blk + "attn_pos", kEmbd, kEmbd);
        w.values(blk + "attn_pos_bias_u", kHead, 0.0F, 0.5F, kEmbd / kHead);
        w.values(blk + "attn_pos_bias_v", kHead, 0.0F, 0.5F, kEmbd / kHead);
        w.linear(blk + "ffn_up", kEmbd, kFf);
        w.linear(blk + "ffn_down", kFf, kEmbd);
    };
    for (const char* name : {"enc.embd", "enc.up_embd"}) {
        w.linear(name, kEmbd, kEmbd);
        w.norm(std::string(name) + "_norm", kEmbd);
    }
    w.linear("enc.lookahead1", 4 * kEmbd, kEmbd);
    w.linear("enc.lookahead2", 3 * kEmbd, kEmbd);
    w.linear("enc.up_conv", 3 * kEmbd, 2 * kEmbd);
    w.norm("enc.output_norm", kEmbd);
    for (const char* blk : {"enc.blk.0.", "enc.blk.1.", "enc.up_blk.0."}) layer(blk);
}

void add_estimator(FlowWriter& w, float velocity) {
    w.linear("dit.time1", 32, kEmbd);
    w.linear("dit.time2", kEmbd, kEmbd);
    w.linear("dit.in", 4 * kTinyFlowMel, kEmbd);
    w.linear("dit.final_adaln", kEmbd, 2 * kEmbd);
    w.matrix("dit.out", kEmbd, kTinyFlowMel, velocity == 0.0F ? 1.0F : 0.0F);
    w.values("dit.out.bias", kTinyFlowMel, velocity, velocity == 0.0F ? 0.2F : 0.0F);
    for (const std::string blk : {"dit.blk.0.", "dit.blk.1."}) {
        for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"})
            w.linear(blk + name, kEmbd, kEmbd);
        w.norm(blk + "attn_q_norm", kHead);
        w.norm(blk + "attn_k_norm", kHead);
        w.norm(blk + "conv_norm", kEmbd);
        w.linear(blk + "conv1", 3 * kEmbd, kEmbd);
        w.linear(blk + "conv2", 3 * kEmbd, kEmbd);
        w.linear(blk + "ffn_up", kEmbd, kFf);
        w.linear(blk + "ffn_down", kFf, kEmbd);
        w.linear(blk + "adaln", kEmbd, 9 * kEmbd);
    }
}

}  // namespace

FlowConfig tiny_flow_config() {
    FlowConfig c;
    c.n_code = kTinyFlowCodes;
    c.n_speaker = kTinyFlowSpeaker;
    c.n_mel = kTinyFlowMel;
    c.encoder = {.n_embd = kEmbd, .n_ff = kFf, .n_head = kEmbd / kHead, .n_layer = 2, .n_up_layer = 1};
    c.matching.dit = {.n_layer = 2,
                      .n_embd = kEmbd,
                      .n_ff = kFf,
                      .n_head = 2,
                      .d_head = kHead,
                      .n_mel = kTinyFlowMel,
                      .n_time = 32};
    return c;
}

void add_tiny_flow(GgufBuilder& builder, const TinyFlowOptions& options) {
    add_keys(builder, options);
    FlowWriter w(builder, options);
    w.matrix("input_embd", kEmbd, options.n_code, 3.0F);
    w.linear("spk_affine", options.n_speaker, kTinyFlowMel);
    w.linear("enc_proj", kEmbd, kTinyFlowMel);
    add_encoder(w);
    add_estimator(w, options.velocity);
}

}  // namespace minicpmo
