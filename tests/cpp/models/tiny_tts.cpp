#include "models/tiny_tts.h"

#include <cmath>

#include "base/rng.h"

namespace minicpmo {

namespace {

constexpr int kLayers = 2;
constexpr int kEmbd = 32;
constexpr int kFf = 48;
constexpr int kHeads = 2;
constexpr int kHeadWidth = 16;

void add_keys(GgufBuilder& b, const TinyTtsOptions& options) {
    const std::string prefix = "minicpmo.tts.";
    const auto number = [&](const char* key, int value) {
        b.add(prefix + key, static_cast<uint32_t>(value));
    };
    number("block_count", kLayers);
    number("embedding_length", kEmbd);
    number("feed_forward_length", kFf);
    number("attention.head_count", kHeads);
    number("attention.head_count_kv", kHeads);
    number("attention.key_length", kHeadWidth);
    number("context_length", options.n_ctx);
    number("llm_embedding_length", options.n_embd_llm);
    number("num_vq", options.num_vq);
    number("num_audio_tokens", options.n_code);
    number("num_text_tokens", options.n_text);
    number("audio_bos_token_id", kTinyAudioBos);
    number("text_eos_token_id", kTinyTextEos);
    number("audio_eos_code", options.n_code - 1);
    b.add(prefix + "attention.layer_norm_rms_epsilon", 1e-6F).add(prefix + "rope.freq_base", 1e4F);
    b.add(prefix + "normalize_projected_hidden", true);
    b.add(prefix + "condition_type", options.condition).add(prefix + "attention_type", options.attention);
}

class TensorWriter {
public:
    explicit TensorWriter(GgufBuilder& builder) : builder_(builder) {}

    void matrix(const std::string& name, int n_in, int n_out, float range = 1.7F) {
        values(name + ".weight", {n_in, n_out}, 0.0F, range / std::sqrt(static_cast<float>(n_in)));
    }
    void values(const std::string& name, const std::vector<int>& dims, float middle, float range = 0.2F) {
        BuilderTensor tensor{.name = "tts." + name, .dims = {}, .type = GGML_TYPE_F32, .data = {}};
        int n = 1;
        for (const int extent : dims) n *= extent;
        for (int i = 0; i < n; ++i)
            tensor.data += le(middle + range * static_cast<float>(2 * rng_.uniform() - 1));
        for (const int extent : dims) tensor.dims.push_back(static_cast<uint64_t>(extent));
        builder_.tensor(std::move(tensor));
    }

private:
    GgufBuilder& builder_;
    Rng rng_{11, 0};
};

}  // namespace

void add_tiny_tts(GgufBuilder& builder, const TinyTtsOptions& options) {
    add_keys(builder, options);
    TensorWriter w(builder);
    w.matrix("emb_text", kEmbd, options.n_text, 6.0F);
    w.matrix("emb_code", kEmbd, options.n_code, 6.0F);
    w.matrix("head_code", kEmbd, options.n_code);
    w.matrix("projector.linear1", options.n_embd_llm, kEmbd);
    w.values("projector.linear1.bias", {kEmbd}, 0.0F);
    w.matrix("projector.linear2", kEmbd, kEmbd);
    w.values("projector.linear2.bias", {kEmbd}, 0.0F);
    for (int i = 0; i < kLayers; ++i) {
        const std::string blk = "blk." + std::to_string(i) + ".";
        w.values(blk + "attn_norm.weight", {kEmbd}, 1.0F);
        for (const char* name : {"attn_q", "attn_k", "attn_v"})
            w.matrix(blk + name, kEmbd, kHeads * kHeadWidth);
        w.matrix(blk + "attn_output", kHeads * kHeadWidth, kEmbd);
        w.values(blk + "ffn_norm.weight", {kEmbd}, 1.0F);
        w.matrix(blk + "ffn_gate", kEmbd, kFf);
        w.matrix(blk + "ffn_up", kEmbd, kFf);
        w.matrix(blk + "ffn_down", kFf, kEmbd);
    }
    w.values("output_norm.weight", {kEmbd}, 1.0F);
}

TtsLmConfig tiny_tts_config(const TinyTtsOptions& options) {
    return {.decoder = {.n_layer = kLayers,
                        .n_embd = kEmbd,
                        .n_ff = kFf,
                        .n_head = kHeads,
                        .n_head_kv = kHeads,
                        .d_head = kHeadWidth,
                        .rope = {.n_dims = kHeadWidth, .base = 1e4F}},
            .n_embd_llm = options.n_embd_llm,
            .n_text = options.n_text,
            .n_code = options.n_code,
            .n_ctx = options.n_ctx,
            .text_eos = kTinyTextEos,
            .audio_bos = kTinyAudioBos};
}

}  // namespace minicpmo
