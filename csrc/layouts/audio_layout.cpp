#include "core/metadata_keys.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

// No published file states these; Whisper's own.
constexpr int64_t kHopLength = 160;
constexpr int64_t kSampleRate = 16000;
constexpr double kNormEpsilon = 1e-5;

constexpr NamePair kNames[] = {
    {"encoder.conv1", "a.conv1", Form::convolution},
    {"encoder.conv2", "a.conv2", Form::convolution},
    {"encoder.positional_embedding", "a.position_embd.weight", Form::as_stored},
    {"encoder.ln_post", "a.post_ln"},
    {"audio_projector.linear1", "mm.a.linear1"},
    {"audio_projector.linear2", "mm.a.linear2"},
};
constexpr NamePair kLayerNames[] = {
    {"attn_ln", "ln1"},       {"attn.query", "attn_q"}, {"attn.key", "attn_k", Form::weight},
    {"attn.value", "attn_v"}, {"attn.out", "attn_out"}, {"mlp_ln", "ln2"},
    {"mlp.0", "ffn_up"},      {"mlp.2", "ffn_down"},
};

}  // namespace

void add_audio(Container& container, const GgufFile& file) {
    const Keys keys(file, "");  // they have no namespace
    const int n_layer = keys.integer("encoder_layers", 1, kMaxLayers);
    const auto number = [&](const char* key, int64_t value) {
        container.set(std::string("minicpmo.audio.") + key, value);
    };
    number("block_count", n_layer);
    number("embedding_length", keys.integer("d_model", 1, kMaxWidth));
    number("feed_forward_length", keys.integer("encoder_ffn_dim", 1, kMaxWidth));
    number("attention.head_count", keys.integer("encoder_attention_heads", 1, kMaxLayers));
    number("n_mel", keys.integer("n_mel", 1, 1024));
    number("n_fft", 2 * (int64_t{keys.integer("n_fft", 2, 1 << 16)} - 1));  // theirs are bins
    number("hop_length", kHopLength);
    number("sample_rate", kSampleRate);
    number("max_positions", find_tensor(file, "encoder.positional_embedding", 2).ne[1]);
    number("pool_step", keys.integer("audio_pool_step", 1, 1024));
    container.set("minicpmo.audio.layer_norm_epsilon", kNormEpsilon);
    container.set("minicpmo.audio.chunk_length_s", 1.0);
    container.set("minicpmo.audio.hidden_act", std::string("gelu"));

    add_tensors(container, file, kNames);
    for (int layer = 0; layer < n_layer; ++layer)
        add_tensors(container, file, kLayerNames, layer_prefix("encoder.blocks", "a.blk", layer));
}

}  // namespace minicpmo
