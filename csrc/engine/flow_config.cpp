#include "engine/flow_config.h"

#include "core/metadata_keys.h"

namespace minicpmo {

namespace {

UpsampleEncoderConfig read_encoder(const Keys& keys, int up_rate, int n_lookahead) {
    UpsampleEncoderConfig c;
    c.n_layer = keys.integer("enc.block_count", 1, kMaxLayers);
    c.n_up_layer = keys.integer("enc.up_block_count", 1, kMaxLayers);
    c.n_embd = keys.integer("enc.embedding_length", 2, kMaxWidth);
    c.n_ff = keys.integer("enc.feed_forward_length", 1, kMaxWidth);
    c.n_head = keys.integer("enc.attention.head_count", 1, kMaxLayers);
    c.n_lookahead = n_lookahead;
    c.lookahead_kernel = keys.integer("enc.lookahead_kernel", 1, 64);
    c.lookahead_slope = keys.number("enc.lookahead_slope", 0.0, 1.0);
    c.up_rate = up_rate;
    c.up_taps = keys.integer("enc.up_conv.left", 0, 64) + 1;
    const int right = keys.integer("enc.up_conv.right", 0, 64);
    check<UnsupportedModelError>(right == 0,
                                 "[config] key {}enc.up_conv.right: expected 0, for a convolution that sees "
                                 "only back, got {}",
                                 keys.prefix(), right);
    c.norm_eps = keys.number("enc.layer_norm_epsilon", 0.0, 1.0);
    c.block_norm_eps = keys.number("enc.block_layer_norm_epsilon", 0.0, 1.0);
    check<ModelFileError>(c.n_embd % c.n_head == 0 && c.n_embd % 2 == 0,
                          "[config] expected flow encoder heads that divide an even width, got {} of {}",
                          c.n_head, c.n_embd);
    return c;
}

DitConfig read_dit(const Keys& keys, int n_mel) {
    DitConfig c;
    c.n_layer = keys.integer("dit.block_count", 1, kMaxLayers);
    c.n_embd = keys.integer("dit.embedding_length", 1, kMaxWidth);
    c.n_ff = keys.integer("dit.feed_forward_length", 1, kMaxWidth);
    c.n_head = keys.integer("dit.attention.head_count", 1, kMaxLayers);
    c.d_head = keys.integer("dit.attention.key_length", 1, 1024);
    c.n_mel = n_mel;
    c.n_time = keys.integer("dit.time_length", 2, kMaxWidth);
    check<ModelFileError>(c.n_time % 2 == 0,
                          "[config] key {}dit.time_length: expected an even number, got {}", keys.prefix(),
                          c.n_time);
    c.conv_kernel = keys.integer("dit.conv_kernel", 2, 64);
    c.norm_eps = keys.number("dit.layer_norm_epsilon", 0.0, 1.0);
    c.qk_norm_eps = keys.number("dit.qk_norm_epsilon", 0.0, 1.0);
    c.conv_norm_eps = keys.number("dit.conv_norm_epsilon", 0.0, 1.0);
    c.time_scale = keys.number("dit.time_scale", 0.0, 1e6);
    return c;
}

}  // namespace

SpeechFlowConfig read_flow_config(const GgufFile& file) {
    const Keys keys(file, "minicpmo.t2w.");
    SpeechFlowConfig c;
    FlowConfig& n = c.network;
    n.n_code = keys.integer("vocab_size", 1, kMaxTokens);
    n.n_speaker = keys.integer("speaker_length", 1, kMaxWidth);
    n.n_mel = keys.integer("n_mel", 1, 1024);
    n.token_rate_hz = keys.integer("token_rate", 1, 1000);
    const int up_rate = keys.integer("up_rate", 1, 16);
    n.encoder = read_encoder(keys, up_rate, keys.integer("pre_lookahead", 0, 64));
    n.matching.dit = read_dit(keys, n.n_mel);
    n.matching.guidance = keys.number("cfg_rate", 0.0, 100.0);
    c.n_step = keys.integer("n_timesteps", 1, Flow::kMaxSteps);
    c.chunk_codes = keys.integer("chunk_tokens", 1, Flow::kMaxFrames);
    c.silence_code = keys.integer("silence_token", 0, n.n_code - 1);
    c.temperature = keys.number("temperature", 0.0, 100.0);
    const TensorInfo* codes = file.find_tensor("t2w.input_embd.weight");
    if (codes != nullptr && codes->type == GGML_TYPE_F32) c.cache_value_bytes = 4;
    return c;
}

}  // namespace minicpmo
