#pragma once
// TtsLm: the language model of speech: text and what the LLM thought while writing it become speech codes.
// Reference: MiniCPMO45/modeling_minicpmo.py MiniCPMTTS (4.5: one code book, hidden_text_merge).

#include <span>

#include "models/decoder.h"
#include "models/token_embedding.h"

namespace minicpmo {

struct TtsLmConfig {
    DecoderConfig decoder;
    int n_embd_llm = 0;
    int n_text = 0;         // rows of the text embedding: ids of the LLM's vocabulary
    int n_code = 0;         // codes and, last, the end of speech
    int n_ctx = 0;          // positions that the model was trained for
    bool normalize = true;  // the projected states have length 1
    int32_t text_eos = 0;   // rows of the text embedding
    int32_t audio_bos = 0;
};

class TtsLm {
public:
    TtsLm(const TtsLmConfig& config, const WeightScope& root);  // reads tts.*

    const TtsLmConfig& config() const { return config_; }
    int32_t end_code() const { return config_.n_code - 1; }
    KvShape kv_shape(ggml_type type) const { return decoder_.kv_shape(config_.n_ctx, type); }

    // Input rows [n_embd, n + n_tail]: of spoken token i with its state, column i of `hidden` [n_embd_llm,
    // n], then of the ids in `tail` as text alone. Throws ArgumentError.
    Array<float> condition(std::span<const int32_t> ids, const Array<float>& hidden,
                           std::span<const int32_t> tail, Workspace& workspace) const;
    // Input rows [n_embd, n] of codes, for a batch that mixes them with conditions.
    Array<float> code_rows(std::span<const int32_t> codes, Workspace& workspace) const;
    // Appends codes (`ids`) or rows to the cache; with `wants_logits` the logits [n_code, 1] of the last.
    Array<float> forward(const DecoderInput& input, bool wants_logits, KvCache& cache,
                         Workspace& workspace) const;

private:
    TtsLmConfig config_;
    Decoder decoder_;
    TokenEmbedding text_;
    TokenEmbedding codes_;
    Head head_;
    nn::Linear up_, down_;  // projector of the LLM's states, ReLU between the two
};

}  // namespace minicpmo
