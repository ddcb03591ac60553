#pragma once
// A whole model of random weights, small enough to run in milliseconds: a qwen3 of two layers, a vision tower
// and an audio encoder of one, a byte-level tokenizer, and, if asked for, all that speech needs. Reference:
// csrc/engine/model_config.cpp for the keys, csrc/models for the tensors.

#include <ggml.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/gguf_builder.h"
#include "core/temp_folder.h"

namespace minicpmo {

struct TinyModelOptions {
    ggml_type type = GGML_TYPE_F32;  // of the matrices: F32, F16 or Q8_0
    bool has_vision = true;
    bool has_audio = true;
    bool has_speech = false;          // in F32, with two voices
    bool has_causal_vocoder = false;  // instead of the original one
    bool has_books = false;           // speaks in several code books, and in F32, as its prompt sounds
    bool has_duplex = false;          // the tokens of full duplex are in the vocabulary
    int n_ctx_speech = 4096;
    int n_ctx = 4096;
    int n_spare_rows = 0;  // of the embedding, beyond the last token
    uint64_t seed = 1;
};

// Sizes that tests build on.
constexpr int kTinyLayers = 2;
constexpr int kTinyEmbd = 32;
constexpr int kTinyHeads = 2;
constexpr int kTinyHeadsKv = 1;
constexpr int kTinyHead = 32;
constexpr int kTinyFf = 64;
constexpr int kTinyQueries = 4;
constexpr int kTinyPositions = 1500;  // of the audio encoder: 30 s
constexpr int kTinyVoiceCodes = 20;   // of its two voices, "Ann" and "Bob"

GgufBuilder tiny_model(const TinyModelOptions& options = {});
int tiny_n_token(bool has_duplex = false, bool has_books = false);  // tokens of its vocabulary

// The file of one, for as long as the object lives.
class TinyModelFile {
public:
    explicit TinyModelFile(const TinyModelOptions& options = {})
        : path_(folder_.write("tiny.gguf", tiny_model(options).build())) {}
    const std::filesystem::path& path() const { return path_; }

private:
    TempFolder folder_;
    std::filesystem::path path_;
};

}  // namespace minicpmo
