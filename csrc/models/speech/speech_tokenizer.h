#pragma once
// SpeechTokenizer: log-mel frames to speech codes, 25 a second: a transformer whose attention remembers its
// surroundings (FSMN), and a quantiser that rounds each of a few features to one of a few levels.
// Reference: s3tokenizer, model_v2.py, S3TokenizerV2; Du et al., CosyVoice 2, 2024.

#include <cstdint>
#include <span>
#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/conv1d.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace minicpmo {

struct SpeechTokenizerConfig {
    int n_layer = 0;
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    int n_mel = 128;
    int conv_taps = 3;  // of both convolutions at the front, odd
    int conv_stride = 2;
    int fsmn_taps = 31;     // odd
    int n_position = 2048;  // codes of one recording
    int n_digit = 8;
    int n_level = 3;  // of one digit
    float attention_norm_eps = 1e-6F;
    float ffn_norm_eps = 1e-5F;
    float rope_base = 10000.0F;

    int n_code(int n_mel_frame) const;  // that so many frames become
    int n_vocab() const;                // n_level ^ n_digit
};

struct SpeechTokens {
    std::vector<int32_t> codes;
    Array<float> states;  // [n_embd, n_code]: what the codes were read off
};

class SpeechTokenizer {
public:
    SpeechTokenizer(const SpeechTokenizerConfig& config, const WeightScope& scope);

    // mel [n_mel, n], n enough for 2 codes and not for more than n_position. Throws ArgumentError.
    SpeechTokens encode(const Array<float>& mel, Workspace& workspace) const;
    const SpeechTokenizerConfig& config() const { return config_; }
    static constexpr const char* kRunner = "speech_tokenizer";  // in a Workspace

    // The code of some digits before rounding, the first one counting least.
    static int32_t quantize(std::span<const float> digits, int n_level);

private:
    struct Layer {
        nn::LayerNorm norm1;
        nn::Linear q, k, v, out;
        Tensor fsmn = nullptr;  // [n_embd, fsmn_taps]
        nn::LayerNorm norm2;
        nn::Mlp mlp;
    };
    Tensor attend(Graph& g, const Layer& w, Tensor x, Tensor positions) const;
    Tensor remember(Graph& g, Tensor taps, Tensor v) const;

    SpeechTokenizerConfig config_;
    nn::RopeConfig rope_;
    nn::Conv1d conv1_;
    nn::Conv1d conv2_;
    std::vector<Layer> layers_;
    nn::Linear digits_;  // [n_embd, n_digit]
};

}  // namespace minicpmo
