#include "models/tiny_model.h"

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/rng.h"
#include "models/tiny_book.h"
#include "models/tiny_flow.h"
#include "models/tiny_tts.h"
#include "models/tiny_vocoder.h"
#include "models/tiny_voice.h"

namespace minicpmo {

namespace {

constexpr int kVisionEmbd = 32;
constexpr int kVisionFf = 48;
constexpr int kPatchSize = 14;
constexpr int kPositionGrid = 8;
constexpr int kAudioEmbd = 32;
constexpr int kAudioFf = 64;
constexpr int kMelBands = 16;

const std::vector<std::string> kSpecialTokens = {
    "<unk>",       "<|endoftext|>", "<|im_start|>", "<|im_end|>",      "<image>",
    "</image>",    "<slice>",       "</slice>",     "<image_id>",      "</image_id>",
    "<|tts_bos|>", "<think>",       "</think>",     "<|audio_start|>", "<|audio_end|>",
};
// Roles and tokens of full duplex.
const std::vector<std::pair<const char*, const char*>> kDuplexTokens = {
    {"im_end", "<|im_end|>"},
    {"tts_bos", "<|tts_bos|>"},
    {"tts_eos", "<|tts_eos|>"},
    {"tts_pad", "<|tts_pad|>"},
    {"unit_start", "<unit>"},
    {"unit_end", "</unit>"},
    {"listen", "<|listen|>"},
    {"speak", "<|speak|>"},
    {"turn_eos", "<|turn_eos|>"},
    {"chunk_eos", "<|chunk_eos|>"},
    {"chunk_tts_eos", "<|chunk_tts_eos|>"},
};
const std::string kSpeakerToken = "<|spk|>";
const std::vector<std::pair<std::string, std::string>> kMerges = {
    {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"\u0120", "t"}};

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 and up in order.
std::string byte_letter(int byte, int& next_letter) {
    const bool stands_for_itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int code = stands_for_itself ? byte : next_letter++;
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

struct TinyVocabulary {
    std::vector<std::string> tokens;
    std::vector<int32_t> types;
    std::vector<std::string> merges;
    std::map<std::string, uint32_t> id;
};

TinyVocabulary make_vocabulary(bool has_duplex, bool has_books) {
    TinyVocabulary v;
    const auto add = [&](const std::string& token, int32_t type) {
        v.id[token] = static_cast<uint32_t>(v.tokens.size());
        v.tokens.push_back(token);
        v.types.push_back(type);
    };
    int next_letter = 0x100;
    for (int byte = 0; byte < 256; ++byte) add(byte_letter(byte, next_letter), 1);
    for (const auto& [left, right] : kMerges) {
        add(left + right, 1);
        v.merges.push_back(left + " " + right);
    }
    for (const std::string& token : kSpecialTokens) add(token, 3);
    for (const auto& [_, token] : kDuplexTokens) {
        if (has_duplex && !v.id.contains(token)) add(token, 3);
    }
    if (has_books) add(kSpeakerToken, 3);
    return v;
}

void add_vocabulary(GgufBuilder& b, bool has_duplex, bool has_books) {
    const TinyVocabulary v = make_vocabulary(has_duplex, has_books);
    b.add("tokenizer.ggml.model", "gpt2").add("tokenizer.ggml.pre", "qwen2");
    b.array("tokenizer.ggml.tokens", v.tokens).array("tokenizer.ggml.token_type", v.types);
    b.array("tokenizer.ggml.merges", v.merges);
    b.array("minicpmo.tokens.stop", std::vector<uint32_t>{v.id.at("<|im_end|>"), v.id.at("<|endoftext|>")});
    const std::vector<std::pair<const char*, const char*>> roles = {{"unk", "<unk>"},
                                                                    {"image_start", "<image>"},
                                                                    {"image_end", "</image>"},
                                                                    {"slice_start", "<slice>"},
                                                                    {"slice_end", "</slice>"},
                                                                    {"image_id_start", "<image_id>"},
                                                                    {"image_id_end", "</image_id>"},
                                                                    {"audio_start", "<|audio_start|>"},
                                                                    {"audio_end", "<|audio_end|>"}};
    for (const auto& [role, token] : roles) b.add(std::string("minicpmo.tokens.") + role, v.id.at(token));
    for (const auto& [role, token] : kDuplexTokens) {
        if (has_duplex) b.add(std::string("minicpmo.tokens.") + role, v.id.at(token));
    }
    if (!has_books) return;
    b.add("minicpmo.tokens.spk", v.id.at(kSpeakerToken));
    b.add("minicpmo.chat.spoken_begin", kSpeakerToken + "<|tts_bos|>");
}

void add_llm_keys(GgufBuilder& b, int n_ctx) {
    b.add("general.architecture", "minicpmo")
        .add("general.name", "Tiny")
        .add("minicpmo.version", uint32_t{1});
    b.add("minicpmo.llm.arch", "qwen3");
    const auto number = [&](const char* key, int value) {
        b.add(std::string("qwen3.") + key, static_cast<uint32_t>(value));
    };
    number("block_count", kTinyLayers);
    number("context_length", n_ctx);
    number("embedding_length", kTinyEmbd);
    number("feed_forward_length", kTinyFf);
    number("attention.head_count", kTinyHeads);
    number("attention.head_count_kv", kTinyHeadsKv);
    number("attention.key_length", kTinyHead);
    number("attention.value_length", kTinyHead);
    b.add("qwen3.attention.layer_norm_rms_epsilon", 1e-6F).add("qwen3.rope.freq_base", 1e6F);
}

void add_vision_keys(GgufBuilder& b) {
    const auto number = [&](const char* key, int value) {
        b.add(std::string("minicpmo.") + key, static_cast<uint32_t>(value));
    };
    number("vision.block_count", 1);
    number("vision.embedding_length", kVisionEmbd);
    number("vision.feed_forward_length", kVisionFf);
    number("vision.attention.head_count", 2);
    number("vision.patch_size", kPatchSize);
    number("vision.position_grid", kPositionGrid);
    number("vision.scale_resolution", 4 * kPatchSize);
    number("vision.max_slice_nums", 4);
    number("resampler.query_num", kTinyQueries);
    number("resampler.embedding_length", kTinyEmbd);
    number("resampler.attention.head_count", 2);
    b.add("minicpmo.vision.attention.layer_norm_epsilon", 1e-6F).add("minicpmo.vision.use_image_id", true);
    b.array<float>("minicpmo.vision.image_mean", {0.5F, 0.5F, 0.5F});
    b.array<float>("minicpmo.vision.image_std", {0.5F, 0.5F, 0.5F});
}

void add_audio_keys(GgufBuilder& b) {
    const auto number = [&](const char* key, int value) {
        b.add(std::string("minicpmo.audio.") + key, static_cast<uint32_t>(value));
    };
    number("block_count", 1);
    number("embedding_length", kAudioEmbd);
    number("feed_forward_length", kAudioFf);
    number("attention.head_count", 2);
    number("n_mel", kMelBands);
    number("max_positions", kTinyPositions);
    number("pool_step", 5);
    b.add("minicpmo.audio.layer_norm_epsilon", 1e-5F).add("minicpmo.audio.chunk_length_s", 1.0F);
}

class TensorWriter {
public:
    TensorWriter(GgufBuilder& builder, ggml_type type, uint64_t seed)
        : builder_(builder), type_(type), rng_{seed, 0} {}

    void matrix(const std::string& name, int n_in, int n_out) {
        const auto n = static_cast<size_t>(n_in) * static_cast<size_t>(n_out);
        std::vector<float> values = random(n, 1.7F / std::sqrt(static_cast<float>(n_in)), 0.0F);
        std::string bytes(ggml_row_size(type_, n_in) * static_cast<size_t>(n_out), '\0');
        ggml_quantize_chunk(type_, values.data(), bytes.data(), 0, n_out, n_in, nullptr);
        add(name, {static_cast<uint64_t>(n_in), static_cast<uint64_t>(n_out)}, type_, std::move(bytes));
    }
    // F32 around `middle`: norms, biases, tables.
    void values(const std::string& name, const std::vector<uint64_t>& dims, float middle = 0.0F,
                float range = 0.2F) {
        size_t n = 1;
        for (const uint64_t extent : dims) n *= extent;
        const std::vector<float> numbers = random(n, range, middle);
        std::string bytes(reinterpret_cast<const char*>(numbers.data()), n * sizeof(float));
        add(name, dims, GGML_TYPE_F32, std::move(bytes));
    }
    void linear(const std::string& name, int n_in, int n_out) {
        matrix(name + ".weight", n_in, n_out);
        values(name + ".bias", {static_cast<uint64_t>(n_out)});
    }
    void layer_norm(const std::string& name, int n) {
        values(name + ".weight", {static_cast<uint64_t>(n)}, 1.0F);
        values(name + ".bias", {static_cast<uint64_t>(n)});
    }

private:
    std::vector<float> random(size_t n, float range, float middle) {
        std::vector<float> numbers(n);
        for (float& x : numbers) x = middle + range * (2 * static_cast<float>(rng_.uniform()) - 1);
        return numbers;
    }
    void add(const std::string& name, std::vector<uint64_t> dims, ggml_type type, std::string bytes) {
        builder_.tensor({.name = name, .dims = std::move(dims), .type = type, .data = std::move(bytes)});
    }

    GgufBuilder& builder_;
    ggml_type type_;
    Rng rng_;
};

void add_llm_tensors(TensorWriter& w, int n_row) {
    w.matrix("token_embd.weight", kTinyEmbd, n_row);
    for (int i = 0; i < kTinyLayers; ++i) {
        const std::string blk = "blk." + std::to_string(i) + ".";
        w.values(blk + "attn_norm.weight", {kTinyEmbd}, 1.0F);
        w.matrix(blk + "attn_q.weight", kTinyEmbd, kTinyHeads * kTinyHead);
        w.matrix(blk + "attn_k.weight", kTinyEmbd, kTinyHeadsKv * kTinyHead);
        w.matrix(blk + "attn_v.weight", kTinyEmbd, kTinyHeadsKv * kTinyHead);
        w.values(blk + "attn_q_norm.weight", {kTinyHead}, 1.0F);
        w.values(blk + "attn_k_norm.weight", {kTinyHead}, 1.0F);
        w.matrix(blk + "attn_output.weight", kTinyHeads * kTinyHead, kTinyEmbd);
        w.values(blk + "ffn_norm.weight", {kTinyEmbd}, 1.0F);
        w.matrix(blk + "ffn_gate.weight", kTinyEmbd, kTinyFf);
        w.matrix(blk + "ffn_up.weight", kTinyEmbd, kTinyFf);
        w.matrix(blk + "ffn_down.weight", kTinyFf, kTinyEmbd);
    }
    w.values("output_norm.weight", {kTinyEmbd}, 1.0F);
    w.matrix("output.weight", kTinyEmbd, n_row);
}

void add_vision_tensors(TensorWriter& w) {
    w.values("v.patch_embd.weight", {kPatchSize, kPatchSize, 3, kVisionEmbd}, 0.0F, 0.05F);
    w.values("v.patch_embd.bias", {kVisionEmbd});
    w.values("v.position_embd.weight", {kVisionEmbd, kPositionGrid * kPositionGrid});
    w.layer_norm("v.blk.0.ln1", kVisionEmbd);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
        w.linear(std::string("v.blk.0.") + name, kVisionEmbd, kVisionEmbd);
    }
    w.layer_norm("v.blk.0.ln2", kVisionEmbd);
    w.linear("v.blk.0.ffn_up", kVisionEmbd, kVisionFf);
    // Rows of 48 fit no quantised format, so this one is F32 in every model.
    w.values("v.blk.0.ffn_down.weight", {kVisionFf, kVisionEmbd});
    w.values("v.blk.0.ffn_down.bias", {kVisionEmbd});
    w.layer_norm("v.post_ln", kVisionEmbd);
    w.values("resampler.query", {kTinyEmbd, kTinyQueries}, 0.0F, 1.0F);
    w.matrix("resampler.kv.weight", kVisionEmbd, kTinyEmbd);
    for (const char* name : {"q", "k", "v", "out"}) {
        w.linear(std::string("resampler.attn.") + name, kTinyEmbd, kTinyEmbd);
    }
    w.matrix("resampler.proj.weight", kTinyEmbd, kTinyEmbd);
    for (const char* name : {"ln_q", "ln_kv", "ln_post"})
        w.layer_norm(std::string("resampler.") + name, kTinyEmbd);
}

void add_audio_tensors(TensorWriter& w) {
    // No block is as wide as 3 * 16 taps, so this one is F32 in every model.
    w.values("a.conv1.weight", {3 * kMelBands, kAudioEmbd});
    w.values("a.conv1.bias", {kAudioEmbd});
    w.linear("a.conv2", 3 * kAudioEmbd, kAudioEmbd);
    w.values("a.position_embd.weight", {kAudioEmbd, kTinyPositions});
    w.layer_norm("a.blk.0.ln1", kAudioEmbd);
    for (const char* name : {"attn_q", "attn_v", "attn_out"}) {
        w.linear(std::string("a.blk.0.") + name, kAudioEmbd, kAudioEmbd);
    }
    w.matrix("a.blk.0.attn_k.weight", kAudioEmbd, kAudioEmbd);
    w.layer_norm("a.blk.0.ln2", kAudioEmbd);
    w.linear("a.blk.0.ffn_up", kAudioEmbd, kAudioFf);
    w.linear("a.blk.0.ffn_down", kAudioFf, kAudioEmbd);
    w.layer_norm("a.post_ln", kAudioEmbd);
    w.linear("mm.a.linear1", kAudioEmbd, kTinyEmbd);
    w.linear("mm.a.linear2", kTinyEmbd, kTinyEmbd);
}

std::string key_name(const std::string& key) {
    uint64_t n = 0;
    std::memcpy(&n, key.data(), sizeof n);
    return key.substr(sizeof n, n);
}

// The keys of `part` that b does not have, and all its tensors.
void merge(GgufBuilder& b, const GgufBuilder& part) {
    std::set<std::string> known;
    for (const std::string& key : b.keys) known.insert(key_name(key));
    for (const std::string& key : part.keys) {
        if (!known.contains(key_name(key))) b.keys.push_back(key);
    }
    b.tensors.insert(b.tensors.end(), part.tensors.begin(), part.tensors.end());
}

void add_voices(GgufBuilder& b, TensorWriter& w, int n_code, int n_speaker) {
    const std::vector<std::string> names = {"Ann", "Bob"};
    b.add("minicpmo.voice.count", static_cast<uint32_t>(names.size()));
    for (size_t i = 0; i < names.size(); ++i) {
        b.add("minicpmo.voice." + std::to_string(i) + ".name", names[i]);
        const std::string at = "voice." + std::to_string(i) + ".";
        std::string codes;
        for (int k = 0; k < kTinyVoiceCodes; ++k)
            codes += le(static_cast<int32_t>((k * 7 + static_cast<int>(i)) % n_code));
        b.tensor({at + "prompt_tokens", {kTinyVoiceCodes}, GGML_TYPE_I32, codes});
        w.values(at + "prompt_mel", {kTinyFlowMel, 2 * kTinyVoiceCodes}, -4.0F, 2.0F);
        w.values(at + "spk", {static_cast<uint64_t>(n_speaker)}, 0.0F, 1.0F);
    }
}

void add_speech(GgufBuilder& b, const TinyModelOptions& options) {
    const int n_code = tiny_tokenizer_config().n_vocab();
    const int n_speaker = tiny_speaker_config().n_embd;
    TinyTtsOptions tts;
    tts.n_ctx = options.n_ctx_speech;
    tts.n_embd_llm = kTinyEmbd;
    tts.n_text = tiny_n_token(options.has_duplex) + options.n_spare_rows;
    tts.n_code = n_code + 1;
    add_tiny_tts(b, tts);
    TinyFlowOptions flow;
    flow.n_code = n_code;
    flow.n_speaker = n_speaker;
    add_tiny_flow(b, flow);
    TinyVocoderOptions vocoder;
    vocoder.is_causal = options.has_causal_vocoder;
    vocoder.n_mel = kTinyFlowMel;
    add_tiny_vocoder(b, vocoder);
    merge(b, tiny_voice().file);
    TensorWriter w(b, GGML_TYPE_F32, options.seed);
    add_voices(b, w, n_code, n_speaker);
}

}  // namespace

int tiny_n_token(bool has_duplex, bool has_books) {
    return static_cast<int>(make_vocabulary(has_duplex, has_books).tokens.size());
}

GgufBuilder tiny_model(const TinyModelOptions& options) {
    GgufBuilder b;
    add_llm_keys(b, options.n_ctx);
    if (options.has_vision) add_vision_keys(b);
    if (options.has_audio) add_audio_keys(b);
    add_vocabulary(b, options.has_duplex, options.has_books);
    TensorWriter writer(b, options.type, options.seed);
    add_llm_tensors(writer, tiny_n_token(options.has_duplex, options.has_books) + options.n_spare_rows);
    if (options.has_vision) add_vision_tensors(writer);
    if (options.has_audio) add_audio_tensors(writer);
    if (options.has_speech) add_speech(b, options);
    if (options.has_books) add_tiny_book(b, {.n_embd_llm = kTinyEmbd});
    return b;
}

}  // namespace minicpmo
