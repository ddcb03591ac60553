#include "models/tiny_book.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/rng.h"

namespace minicpmo {

namespace {

constexpr int kLayers = 2;
constexpr int kEmbd = 32;
constexpr int kFf = 48;
constexpr int kHeads = 2;
constexpr int kBooks = 4;
constexpr int kGroups = 2;
constexpr int kCodes = 10;  // of a book, the end of speech not counted
constexpr int kReserved = 40;
constexpr int kWidth = 12;
constexpr int kStem = 8;
constexpr int kMel = 6;
constexpr int kTaps = 7;
constexpr int kBlockEmbd = 16;
constexpr int kBlockFf = 32;
constexpr int kFft = 16;
constexpr int kHop = 4;

std::vector<std::string> word_pieces() {
    std::vector<std::string> tokens = {"[UNK]", "[Stts]", "[spk_emb]", "[Etts]", "[Ptts]", ",", "."};
    for (const char* mark : {"", "##"}) {
        for (char letter = 'a'; letter <= 'z'; ++letter) tokens.push_back(std::string(mark) + letter);
    }
    return tokens;
}

class Keys {
public:
    Keys(GgufBuilder& builder, std::string prefix) : builder_(builder), prefix_(std::move(prefix)) {}
    template <class T>
    Keys& operator()(const char* key, T value) {
        if constexpr (std::is_same_v<T, int>) {
            builder_.add(prefix_ + key, static_cast<uint32_t>(value));
        } else {
            builder_.add(prefix_ + key, value);
        }
        return *this;
    }

private:
    GgufBuilder& builder_;
    std::string prefix_;
};

void add_lm_keys(GgufBuilder& b, const TinyBookOptions& options) {
    const std::vector<std::string> tokens = word_pieces();
    Keys keys(b, "minicpmo.tts.");
    keys("condition_type", "text_and_speaker")("attention_type", "text_window");
    keys("block_count", kLayers)("embedding_length", kEmbd)("feed_forward_length", kFf);
    keys("attention.head_count", kHeads)("attention.head_count_kv", kHeads);
    keys("attention.key_length", kEmbd / kHeads)("attention.layer_norm_rms_epsilon", 1e-6F);
    keys("rope.freq_base", 1e4F)("context_length", options.n_ctx)("llm_embedding_length", options.n_embd_llm);
    keys("num_vq", kBooks)("num_audio_tokens", kCodes + 1)("audio_eos_code", kCodes);
    keys("num_text_tokens", static_cast<int>(tokens.size()))("text_reserved_length", kReserved);
    keys("text_chunk_length", 10)("audio_chunk_length", 50)("min_codes", 10)("max_codes", options.max_codes);
    keys("unk_token_id", 0)("text_bos_token_id", 1)("speaker_token_id", 2)("text_eos_token_id", 3);
    keys("audio_bos_token_id", 4)("tokenizer.lowercase", true)("tokenizer.strip_accents", true);
    b.array("minicpmo.tts.sampling.temperatures", std::vector<float>{0.1F, 0.3F, 0.1F, 0.3F});
    b.array("minicpmo.tts.tokenizer.tokens", tokens);
}

void add_block_keys(Keys& keys, int dilation) {
    keys("block_count", 1)("embedding_length", kBlockEmbd)("feed_forward_length", kBlockFf)("n_mel", kMel);
    keys("conv_kernel", kTaps)("conv_dilation", dilation)("layer_norm_epsilon", 1e-6F);
}

class TensorWriter {
public:
    explicit TensorWriter(GgufBuilder& builder) : builder_(builder) {}

    void values(const std::string& name, const std::vector<int>& dims, float middle = 0.0F,
                float range = 0.2F) {
        BuilderTensor tensor{.name = name, .dims = {}, .type = GGML_TYPE_F32, .data = {}};
        int n = 1;
        for (const int extent : dims) n *= extent;
        for (int i = 0; i < n; ++i)
            tensor.data += le(middle + range * static_cast<float>(2 * rng_.uniform() - 1));
        for (const int extent : dims) tensor.dims.push_back(static_cast<uint64_t>(extent));
        builder_.tensor(std::move(tensor));
    }
    void matrix(const std::string& name, int n_in, int n_out, float range = 1.7F) {
        values(name + ".weight", {n_in, n_out}, 0.0F, range / std::sqrt(static_cast<float>(n_in)));
    }
    void linear(const std::string& name, int n_in, int n_out) {
        matrix(name, n_in, n_out);
        values(name + ".bias", {n_out});
    }
    void norm(const std::string& name, int n) {
        values(name + ".weight", {n}, 1.0F);
        values(name + ".bias", {n});
    }
    void block(const std::string& name) {
        values(name + ".conv.weight", {kBlockEmbd, kTaps});
        values(name + ".conv.bias", {kBlockEmbd});
        norm(name + ".ln", kBlockEmbd);
        linear(name + ".ffn_up", kBlockEmbd, kBlockFf);
        linear(name + ".ffn_down", kBlockFf, kBlockEmbd);
    }

private:
    GgufBuilder& builder_;
    Rng rng_{17, 0};
};

void add_lm(TensorWriter& w, int n_embd_llm) {
    w.matrix("tts.emb_text", kEmbd, static_cast<int>(word_pieces().size()), 6.0F);
    w.matrix("tts.emb_code", kEmbd, kBooks * (kCodes + 1), 6.0F);
    w.matrix("tts.head_code", kEmbd, kBooks * (kCodes + 1));
    w.linear("tts.projector.linear1", n_embd_llm, kEmbd);
    w.linear("tts.projector.linear2", kEmbd, kEmbd);
    for (int i = 0; i < kLayers; ++i) {
        const std::string blk = "tts.blk." + std::to_string(i) + ".";
        w.values(blk + "attn_norm.weight", {kEmbd}, 1.0F);
        for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
            w.matrix(blk + name, kEmbd, kEmbd);
        w.values(blk + "ffn_norm.weight", {kEmbd}, 1.0F);
        w.matrix(blk + "ffn_gate", kEmbd, kFf);
        w.matrix(blk + "ffn_up", kEmbd, kFf);
        w.matrix(blk + "ffn_down", kFf, kEmbd);
    }
    w.values("tts.output_norm.weight", {kEmbd}, 1.0F);
}

}  // namespace

void add_tiny_book(GgufBuilder& builder, const TinyBookOptions& options) {
    add_lm_keys(builder, options);
    Keys dvae(builder, "minicpmo.dvae.");
    dvae("group_count", kGroups)("level_count", kBooks / kGroups)("code_count", kCodes);
    dvae("code_length", kWidth)("stem_length", kStem);
    add_block_keys(dvae, 2);
    Keys vocos(builder, "minicpmo.vocos.");
    vocos("n_fft", kFft)("hop_length", kHop)("sample_rate", 24000);
    add_block_keys(vocos, 1);

    TensorWriter w(builder);
    add_lm(w, options.n_embd_llm);
    for (int i = 0; i < kBooks; ++i) w.matrix("dvae.codes." + std::to_string(i), kWidth, kCodes, 6.0F);
    w.linear("dvae.conv1", 3 * kWidth, kStem);
    w.linear("dvae.conv2", 3 * kStem, kBlockEmbd);
    w.block("dvae.blk.0");
    w.matrix("dvae.out", kBlockEmbd, kWidth);
    w.matrix("dvae.mel", 3 * kWidth, kMel);
    w.linear("vocos.conv", kTaps * kMel, kBlockEmbd);
    w.norm("vocos.ln", kBlockEmbd);
    w.block("vocos.blk.0");
    w.norm("vocos.output_norm", kBlockEmbd);
    w.linear("vocos.out", kBlockEmbd, kFft + 2);
}

}  // namespace minicpmo
