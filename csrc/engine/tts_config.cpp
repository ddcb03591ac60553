#include "engine/tts_config.h"

#include "base/error.h"
#include "core/metadata_keys.h"
#include "core/quantize.h"

namespace minicpmo {

namespace {

constexpr int kLeastContext = 64;  // positions, below which no turn fits

// One of `known`; what else a file may ask for is beyond this build.
std::string choice(const Keys& keys, const std::string& key, std::initializer_list<const char*> known) {
    const auto value = keys.file().get<std::string>(keys.prefix() + key);
    std::string names;
    for (const char* name : known) {
        if (value == name) return value;
        names += (names.empty() ? "" : " or ") + std::string(name);
    }
    fail<UnsupportedModelError>("[config] key {}{}: expected {}, got {} ({})", keys.prefix(), key, names,
                                value, keys.file().path().string());
}

}  // namespace

int read_llm_width(const Keys& keys, int n_embd_llm) {
    const int n_embd = keys.integer("llm_embedding_length", 1, kMaxWidth);
    check<ModelFileError>(n_embd == n_embd_llm,
                          "[config] key {}llm_embedding_length: expected {} as in the LLM, got {} ({})",
                          keys.prefix(), n_embd_llm, n_embd, keys.file().path().string());
    return n_embd;
}

DecoderConfig read_tts_decoder(const Keys& keys) {
    DecoderConfig d;
    d.n_layer = keys.integer("block_count", 1, kMaxLayers);
    d.n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    d.n_ff = keys.integer("feed_forward_length", 1, kMaxWidth);
    d.n_head = keys.integer("attention.head_count", 1, kMaxLayers);
    d.n_head_kv = keys.integer("attention.head_count_kv", 1, d.n_head);
    d.d_head = keys.integer("attention.key_length", 2, 1024);
    check<ModelFileError>(d.n_head % d.n_head_kv == 0 && d.d_head % 2 == 0,
                          "[config] expected key heads that divide {} heads, of an even width, got {} of {}",
                          d.n_head, d.n_head_kv, d.d_head);
    d.norm_eps = keys.number("attention.layer_norm_rms_epsilon", 0.0, 1.0);
    d.rope.n_dims = d.d_head;
    d.rope.base = keys.number("rope.freq_base", 1.0, 1e12);
    const auto pairs = keys.file().get_or<std::string>(keys.prefix() + "rope.pairs", "halves");
    check<UnsupportedModelError>(pairs == "halves" || pairs == "neighbours",
                                 "[config] key {}rope.pairs: expected halves or neighbours, got {} ({})",
                                 keys.prefix(), pairs, keys.file().path().string());
    if (pairs == "neighbours") d.rope.pairs = nn::RopePairs::neighbours;
    return d;
}

CodeSampling read_code_sampling(const Keys& keys) {
    CodeSampling s;
    s.temperature = keys.number("sampling.temperature", 0.0, 100.0, s.temperature);
    s.repetition_penalty = keys.number("sampling.repetition_penalty", 1e-3, 100.0, s.repetition_penalty);
    s.repetition_window = keys.integer("sampling.repetition_window", 0, kMaxTokens, s.repetition_window);
    s.top_p = keys.number("sampling.top_p", 1e-6, 1.0, s.top_p);
    s.top_k = keys.integer("sampling.top_k", 0, kMaxTokens, s.top_k);
    s.min_keep = keys.integer("sampling.min_keep", 2, kMaxTokens, s.min_keep);
    return s;
}

TtsConfig read_tts_config(const GgufFile& file, int n_embd_llm) {
    const Keys keys(file, "minicpmo.tts.");
    TtsConfig tts;
    TtsLmConfig& lm = tts.lm;
    const int num_vq = keys.integer("num_vq", 1, 64);
    check<UnsupportedModelError>(num_vq == 1, "[config] expected speech of one code book, got {} ({})",
                                 num_vq, file.path().string());
    choice(keys, "condition_type", {"hidden_text_merge"});
    tts.recomputes =
        choice(keys, "attention_type", {"full_attention", "sliding_recompute"}) == "sliding_recompute";
    lm.decoder = read_tts_decoder(keys);
    lm.n_embd_llm = read_llm_width(keys, n_embd_llm);
    lm.n_text = keys.integer("num_text_tokens", 1, kMaxTokens);
    lm.n_code = keys.integer("num_audio_tokens", 4, kMaxTokens);
    lm.n_ctx = keys.integer("context_length", kLeastContext, kMaxTokens);
    lm.normalize = file.get_or<bool>(keys.prefix() + "normalize_projected_hidden", true);
    lm.audio_bos = keys.integer("audio_bos_token_id", 0, lm.n_text - 1);
    lm.text_eos = keys.integer("text_eos_token_id", 0, lm.n_text - 1);
    keys.integer("audio_eos_code", lm.n_code - 1, lm.n_code - 1, lm.n_code - 1);
    tts.sampling = read_code_sampling(keys);
    const TensorInfo* ffn = file.find_tensor("tts.blk.0.ffn_gate.weight");
    tts.file_type = ffn != nullptr ? type_name(ffn->type) : "unknown";
    return tts;
}

}  // namespace minicpmo
