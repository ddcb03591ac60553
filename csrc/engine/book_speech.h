#pragma once
// BookSpeech: what a model of several code books speaks with. The voice is what its prompt lets the LLM think
// of: there are no voices of its own. Reference: MiniCPM-o 2.6, modeling_minicpmo.py init_tts.

#include "engine/book_config.h"

namespace minicpmo {

class BookSpeech {
public:
    BookSpeech(const GgufFile& file, int n_embd_llm, const WeightScope& root)
        : config_(read_book_config(file, n_embd_llm)),
          encoder_(read_word_pieces(file)),
          tts_(config_.lm, root),
          dvae_(config_.dvae, root / "dvae"),
          vocos_(config_.vocos, root / "vocos") {}

    const BookConfig& config() const { return config_; }
    const WordPieceEncoder& encoder() const { return encoder_; }
    const ConditionalTts& tts() const { return tts_; }
    const Dvae& dvae() const { return dvae_; }
    const Vocos& vocos() const { return vocos_; }

private:
    BookConfig config_;
    WordPieceEncoder encoder_;
    ConditionalTts tts_;
    Dvae dvae_;
    Vocos vocos_;
};

}  // namespace minicpmo
