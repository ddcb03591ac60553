#pragma once
// Tiny models for conversations in both directions, and units of random sound: one of random weights, and one
// whose language model says what a script tells it to.

#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/duplex_session.h"
#include "engine/tiny_session.h"

namespace minicpmo {

constexpr int kUnitSamples = 16000;
constexpr int kSpokenSamples = 24000;  // of a second that is said

inline TinyModelOptions tiny_duplex_options() { return {.has_speech = true, .has_duplex = true}; }

inline BuilderTensor& find_tensor(GgufBuilder& builder, const std::string& name) {
    for (BuilderTensor& tensor : builder.tensors) {
        if (tensor.name == name) return tensor;
    }
    fail<ArgumentError>("[test] expected a tensor, got none ({})", name);
}
inline float* values_of(BuilderTensor& tensor) { return reinterpret_cast<float*>(tensor.data.data()); }
inline void set_all(BuilderTensor& tensor, float value) {
    std::fill_n(values_of(tensor), tensor.data.size() / sizeof(float), value);
}

inline std::shared_ptr<const Model> load_built(const GgufBuilder& builder) {
    const TempFolder folder;  // mapped, so it may go
    return Model::load(folder.write("duplex.gguf", builder.build()),
                       {.backend = {.device = "cpu", .n_threads = 1}});
}

// Random weights, but that the tokens which structure a unit are drawn more often than others.
inline const GgufBuilder& lively_model() {
    static const GgufBuilder model = [] {
        GgufBuilder builder = tiny_model(tiny_duplex_options());
        const auto plain = load_built(builder);
        const TokenRoles& t = plain->config().tokens;
        float* head = values_of(find_tensor(builder, "output.weight"));
        for (const int32_t id : {t.listen, t.turn_eos, t.chunk_eos, t.chunk_tts_eos, t.tts_bos}) {
            for (int i = 0; i < kTinyEmbd; ++i) head[id * kTinyEmbd + i] *= 2.5F;
        }
        return builder;
    }();
    return model;
}
inline std::shared_ptr<const Model> tiny_duplex() {
    static const std::shared_ptr<const Model> model = load_built(lively_model());
    return model;
}

// A language model without memory: each row of a script says which token follows which, whatever was before.
// Texts of a unit choose where it begins; the rows of all sounds are one and the same, "sound".
class Script {
public:
    static constexpr const char* kSound = "sound";

    explicit Script(const std::map<std::string, std::string>& next) {
        GgufBuilder builder = tiny_model(tiny_duplex_options());
        for (int i = 0; i < kTinyLayers; ++i) {
            const std::string blk = "blk." + std::to_string(i) + ".";
            set_all(find_tensor(builder, blk + "attn_output.weight"), 0.0F);
            set_all(find_tensor(builder, blk + "ffn_down.weight"), 0.0F);
        }
        set_all(find_tensor(builder, "output_norm.weight"), 1.0F);
        set_all(find_tensor(builder, "mm.a.linear2.weight"), 0.0F);
        const auto plain = load_built(tiny_model(tiny_duplex_options()));
        const int n_token = tiny_n_token(true);
        float* embedding = values_of(find_tensor(builder, "token_embd.weight"));
        float* head = values_of(find_tensor(builder, "output.weight"));
        float* sound = values_of(find_tensor(builder, "mm.a.linear2.bias"));
        Rng rng{77, 0};
        const auto draw = [&](float* row) {  // corners of a cube: all of the same length, far from each other
            for (int i = 0; i < kTinyEmbd; ++i) row[i] = rng.uniform() < 0.5 ? -1.0F : 1.0F;
        };
        for (int id = 0; id < n_token; ++id) draw(embedding + id * kTinyEmbd);
        draw(sound);
        std::fill_n(head, n_token * kTinyEmbd, 0.0F);
        for (const auto& [from, to] : next) {
            const float* row =
                from == kSound ? sound : embedding + plain->tokenizer().require(from) * kTinyEmbd;
            float* wins = head + plain->tokenizer().require(to) * kTinyEmbd;
            for (int i = 0; i < kTinyEmbd; ++i) wins[i] += row[i];
        }
        model_ = load_built(builder);
    }
    const std::shared_ptr<const Model>& model() const { return model_; }

private:
    std::shared_ptr<const Model> model_;
};

// Greedy, and nothing changes what is likeliest.
inline DuplexSampling obedient() {
    DuplexSampling sampling;
    sampling.temperature = 0;
    sampling.repetition_penalty = 1;
    sampling.length_penalty = 1;
    return sampling;
}

inline DuplexOptions obedient_options(bool has_speech = false) {
    DuplexOptions options;
    options.sampling = obedient();
    options.has_speech = has_speech;
    return options;
}

// Draws all kinds of tokens.
inline DuplexOptions lively_options(bool has_speech = true, uint64_t seed = 1) {
    DuplexOptions options;
    options.sampling = {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .seed = seed};
    options.rules.max_characters = 0;
    options.has_speech = has_speech;
    options.speech.n_step = 2;
    options.speech.seed = 3;
    return options;
}

inline std::vector<float> unit_sound(int64_t unit, uint64_t seed = 100) {
    return random_sound(kUnitSamples, seed + static_cast<uint64_t>(unit));
}

inline DuplexPrompt voiced_prompt(const Model& model, const char* name = "Ann") {
    DuplexPrompt prompt;
    prompt.voice = &model.speech().voice(name);
    return prompt;
}

// A conversation that was prepared.
struct TinyDuplex {
    TinyDuplex(std::shared_ptr<const Model> of, const DuplexOptions& options)
        : model(std::move(of)), session(model, options) {
        session.keep_logits(true);
        prepare();
    }
    void prepare() { session.prepare(voiced_prompt(*model)); }
    DuplexChunk hear(int64_t unit, bool forces_listen = false) {
        const std::vector<float> sound = unit_sound(unit);
        return session.step({.audio = sound, .frames = {}, .text = {}}, forces_listen);
    }
    DuplexChunk read(const std::string& text, bool forces_listen = false) {
        return session.step({.audio = {}, .frames = {}, .text = text}, forces_listen);
    }

    std::shared_ptr<const Model> model;
    DuplexSession session;
};

// All of a chunk but how long it took.
inline bool is_same(const DuplexChunk& a, const DuplexChunk& b) {
    return a.unit == b.unit && a.words.ids == b.words.ids && a.words.logits == b.words.logits &&
           a.words.spoken == b.words.spoken && a.words.hidden.data == b.words.hidden.data &&
           a.words.text == b.words.text && a.words.is_listen == b.words.is_listen &&
           a.words.ends_turn == b.words.ends_turn && a.words.is_cut == b.words.is_cut &&
           a.words.n_past == b.words.n_past && a.words.n_forgotten == b.words.n_forgotten &&
           a.words.decision.listen == b.words.decision.listen && a.samples == b.samples &&
           a.is_cut == b.is_cut;
}

inline std::vector<int32_t> ids_of(const Model& model, const std::vector<std::string>& tokens) {
    std::vector<int32_t> ids;
    for (const std::string& token : tokens) ids.push_back(model.tokenizer().require(token));
    return ids;
}

}  // namespace minicpmo
