#include "base/error.h"
#include "core/mapped_file.h"
#include "core/metadata_keys.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

constexpr int kUpRate = 2;  // mel frames of a code
constexpr int64_t kSampleRate = 24000;
constexpr int64_t kHopLength = 480;
constexpr int64_t kUsualSteps = 10;
constexpr int64_t kMaxTaps = 64;

constexpr NamePair kExtraNames[] = {
    {"input_embedding", "t2w.input_embd", Form::weight},
    {"spk_embed_affine_layer", "t2w.spk_affine"},
    {"encoder_proj", "t2w.enc_proj"},
};
constexpr NamePair kEncoderNames[] = {
    {"embed.out.0", "t2w.enc.embd"},
    {"embed.out.1", "t2w.enc.embd_norm"},
    {"pre_lookahead_layer.conv1", "t2w.enc.lookahead1", Form::convolution},
    {"pre_lookahead_layer.conv2", "t2w.enc.lookahead2", Form::convolution},
    {"up_embed.out.0", "t2w.enc.up_embd"},
    {"up_embed.out.1", "t2w.enc.up_embd_norm"},
    {"after_norm", "t2w.enc.output_norm"},
};
constexpr NamePair kConformerNames[] = {
    {"norm_mha", "ln1"},
    {"self_attn.linear_q", "attn_q"},
    {"self_attn.linear_k", "attn_k"},
    {"self_attn.linear_v", "attn_v"},
    {"self_attn.linear_out", "attn_out"},
    {"self_attn.linear_pos", "attn_pos", Form::weight},
    {"self_attn.pos_bias_u", "attn_pos_bias_u", Form::as_stored},
    {"self_attn.pos_bias_v", "attn_pos_bias_v", Form::as_stored},
    {"norm_ff", "ln2"},
    {"feed_forward.w_1", "ffn_up"},
    {"feed_forward.w_2", "ffn_down"},
};
constexpr NamePair kDitNames[] = {
    {"estimator.t_embedder.mlp.0", "t2w.dit.time1"},
    {"estimator.t_embedder.mlp.2", "t2w.dit.time2"},
    {"estimator.in_proj", "t2w.dit.in"},
    {"estimator.final_layer.adaLN_modulation.1", "t2w.dit.final_adaln"},
    {"estimator.final_layer.linear", "t2w.dit.out"},
};
constexpr NamePair kDitLayerNames[] = {
    {"attn.to_q", "attn_q"},
    {"attn.to_k", "attn_k"},
    {"attn.to_v", "attn_v"},
    {"attn.proj", "attn_out"},
    {"attn.q_norm", "attn_q_norm"},
    {"attn.k_norm", "attn_k_norm"},
    {"conv.block.1", "conv1", Form::convolution},
    {"conv.block.3", "conv_norm"},
    {"conv.block.6", "conv2", Form::convolution},
    {"mlp.fc1", "ffn_up"},
    {"mlp.fc2", "ffn_down"},
    {"adaLN_modulation.1", "adaln"},
};

int64_t taps(const GgufFile& file, const std::string& convolution) {
    const int64_t n = find_tensor(file, convolution + ".weight", 3).ne[0];
    check<ModelFileError>(n >= 2 && n <= kMaxTaps,
                          "[layout] expected {}.weight with 2 to {} taps, got {} ({})", convolution, kMaxTaps,
                          n, utf8_path(file.path()));
    return n;
}

// Sets keys below one prefix.
class KeyWriter {
public:
    KeyWriter(Container& container, std::string prefix) : container_(container), prefix_(std::move(prefix)) {}
    void number(const char* key, int64_t value) const { container_.set(prefix_ + key, value); }
    void real(const char* key, double value) const { container_.set(prefix_ + key, value); }

private:
    Container& container_;
    std::string prefix_;
};

void add_encoder(Container& container, const GgufFile& file) {
    const int n_layer = count_layers(file, "encoders.", ".norm_mha.weight");
    const int n_up_layer = count_layers(file, "up_encoders.", ".norm_mha.weight");
    const TensorInfo& bias = find_tensor(file, "encoders.0.self_attn.pos_bias_u", 2);
    const int64_t n_tap_up = taps(file, "up_layer.conv");
    const KeyWriter keys(container, "minicpmo.t2w.");
    keys.number("pre_lookahead", taps(file, "pre_lookahead_layer.conv1") - 1);
    keys.number("enc.block_count", n_layer);
    keys.number("enc.up_block_count", n_up_layer);
    keys.number("enc.embedding_length", bias.ne[0] * bias.ne[1]);
    keys.number("enc.feed_forward_length", find_tensor(file, "encoders.0.feed_forward.w_1.weight", 2).ne[1]);
    keys.number("enc.attention.head_count", bias.ne[1]);
    keys.number("enc.lookahead_kernel", taps(file, "pre_lookahead_layer.conv2"));
    keys.number("enc.up_conv.left", repeated_reach(static_cast<int>(n_tap_up), kUpRate));
    keys.number("enc.up_conv.right", 0);
    keys.real("enc.layer_norm_epsilon", 1e-5);
    keys.real("enc.block_layer_norm_epsilon", 1e-12);
    keys.real("enc.lookahead_slope", 0.01);

    add_tensors(container, file, kEncoderNames);
    container.add(fold_repeated(find_tensor(file, "up_layer.conv.weight", 3), kUpRate),
                  "t2w.enc.up_conv.weight");
    container.add(repeated(find_tensor(file, "up_layer.conv.bias", 1), kUpRate), "t2w.enc.up_conv.bias");
    for (int layer = 0; layer < n_layer; ++layer)
        add_tensors(container, file, kConformerNames, layer_prefix("encoders", "t2w.enc.blk", layer));
    for (int layer = 0; layer < n_up_layer; ++layer)
        add_tensors(container, file, kConformerNames, layer_prefix("up_encoders", "t2w.enc.up_blk", layer));
}

void add_estimator(Container& container, const GgufFile& file) {
    const int n_layer = count_layers(file, "estimator.blocks.", ".attn.to_q.weight");
    const TensorInfo& query = find_tensor(file, "estimator.blocks.0.attn.to_q.weight", 2);
    const int64_t d_head = find_tensor(file, "estimator.blocks.0.attn.q_norm.weight", 1).ne[0];
    const KeyWriter keys(container, "minicpmo.t2w.dit.");
    keys.number("block_count", n_layer);
    keys.number("embedding_length", query.ne[0]);
    keys.number("feed_forward_length", find_tensor(file, "estimator.blocks.0.mlp.fc1.weight", 2).ne[1]);
    keys.number("attention.head_count", query.ne[1] / d_head);
    keys.number("attention.key_length", d_head);
    keys.number("time_length", find_tensor(file, "estimator.t_embedder.mlp.0.weight", 2).ne[0]);
    keys.number("conv_kernel", taps(file, "estimator.blocks.0.conv.block.1"));
    keys.real("layer_norm_epsilon", 1e-6);
    keys.real("qk_norm_epsilon", 1e-5);
    keys.real("conv_norm_epsilon", 1e-5);
    keys.real("time_scale", 1000.0);

    add_tensors(container, file, kDitNames);
    for (int layer = 0; layer < n_layer; ++layer)
        add_tensors(container, file, kDitLayerNames, layer_prefix("estimator.blocks", "t2w.dit.blk", layer));
}

}  // namespace

void add_flow(Container& container, const FlowFiles& files) {
    const TensorInfo& speaker = find_tensor(files.extra, "spk_embed_affine_layer.weight", 2);
    const KeyWriter keys(container, "minicpmo.t2w.");
    keys.number("vocab_size", find_tensor(files.extra, "input_embedding.weight", 2).ne[1]);
    keys.number("speaker_length", speaker.ne[0]);
    keys.number("n_mel", speaker.ne[1]);
    keys.number("token_rate", kSampleRate / kHopLength / kUpRate);
    keys.number("up_rate", kUpRate);
    keys.number("chunk_tokens", 25);
    keys.number("silence_token", 4218);
    keys.number("n_timesteps", kUsualSteps);
    keys.real("cfg_rate", 0.7);
    keys.real("temperature", 1.0);
    keys.number("sample_rate", kSampleRate);
    keys.number("mel.n_fft", 1920);
    keys.number("mel.win_length", 1920);
    keys.number("mel.hop_length", kHopLength);
    keys.real("mel.f_min", 0.0);
    keys.real("mel.f_max", 8000.0);
    add_tensors(container, files.extra, kExtraNames);
    add_encoder(container, files.encoder);
    add_estimator(container, files.matching);
}

}  // namespace minicpmo
