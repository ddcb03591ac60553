#pragma once
// ConditionalTts: the language model of speech that reads text as text, in the voice of one state of the LLM,
// and says the codes of several code books at once.
// Reference: MiniCPM-o 2.6, modeling_minicpmo.py ConditionalChatTTS.

#include <span>

#include "models/decoder.h"
#include "models/token_embedding.h"

namespace minicpmo {

struct ConditionalTtsConfig {
    DecoderConfig decoder;
    int n_embd_llm = 0;
    int n_text = 0;  // rows of the text embedding: word pieces
    int n_book = 0;  // code books
    int n_code = 0;  // of each: codes and, last, the end of speech
    int n_ctx = 0;   // positions that the model was trained for
    // Positions: text_bos, speaker, then room for this many word pieces, audio_bos, then audio.
    int n_reserved = 300;
    int text_chunk = 10;   // word pieces that audio sees more of
    int audio_chunk = 50;  // after so many positions
    int32_t text_bos = 0;  // rows of the text embedding
    int32_t speaker = 0;
    int32_t text_eos = 0;
    int32_t audio_bos = 0;
};

class ConditionalTts {
public:
    static constexpr int kTextBegin = 2;  // position of the first word piece

    ConditionalTts(const ConditionalTtsConfig& config, const WeightScope& root);  // reads tts.*

    const ConditionalTtsConfig& config() const { return config_; }
    int32_t end_code() const { return config_.n_code - 1; }
    int audio_begin() const { return kTextBegin + config_.n_reserved; }  // position of audio_bos
    KvShape kv_shape(ggml_type type) const { return decoder_.kv_shape(config_.n_ctx, type); }

    // A new cache becomes one that text and audio can be read into: nothing is at any position of text.
    void open(KvCache& cache) const;
    // Reads `ids` at the positions from `begin` on, which see what is before them. Where an id is `speaker`,
    // `state` [n_embd_llm] takes its place. What is behind them stays. Throws ArgumentError for ids beyond
    // the reserved positions.
    void read_text(std::span<const int32_t> ids, int begin, std::span<const float> state, KvCache& cache,
                   Workspace& workspace) const;
    // audio_bos, at the first position of audio, and then codes of whole steps [n_book, n]; all see each
    // other. Of an utterance that goes on from these codes. Reference: prefill_audio_ids.
    void read_codes(std::span<const int32_t> codes, int n_text, KvCache& cache, Workspace& workspace) const;
    // The next step: the one before it [n_book], or nothing for audio_bos -> logits [n_code, n_book].
    // `n_text` word pieces are known, of which audio sees the more the later it is.
    Array<float> step(std::span<const int32_t> codes, int n_text, KvCache& cache, Workspace& workspace) const;

    // Positions that audio at position `n` does not see while `n_text` word pieces are known, the end of text
    // not counted. Reference: make_streaming_chunk_mask_generation, _build_streaming_mask.
    CellRange unseen(int n, int n_text) const;

private:
    Array<float> rows(std::span<const int32_t> codes, bool with_bos, Workspace& workspace) const;
    Array<float> speaker_row(std::span<const float> state, Workspace& workspace) const;

    ConditionalTtsConfig config_;
    Decoder decoder_;
    TokenEmbedding text_;
    TokenEmbedding codes_;  // those of all code books, one behind the other
    Head head_;             // likewise
    nn::Linear up_, down_;  // projector of the LLM's state, ReLU between the two
};

}  // namespace minicpmo
