#pragma once
// The vocoders of a tiny file: random weights, a few features, the rates and delays of the real ones.
// Reference: csrc/engine/vocoder_config.cpp for the keys, csrc/models/speech/vocoder.h for the tensors.

#include <string>

#include "core/gguf_builder.h"
#include "models/speech/vocoder.h"

namespace minicpmo {

struct TinyVocoderOptions {
    bool is_causal = false;
    int n_mel = 6;
    std::string odd_key = {};  // the first number of this key is one more than it should be
};

void add_tiny_vocoder(GgufBuilder& builder, const TinyVocoderOptions& options = {});
VocoderConfig tiny_vocoder_config(const TinyVocoderOptions& options = {});  // what its keys say

}  // namespace minicpmo
