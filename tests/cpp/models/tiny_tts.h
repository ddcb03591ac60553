#pragma once
// The speech language model of a tiny file: two layers of random weights and 30 codes.
// Reference: csrc/engine/tts_config.cpp for the keys, csrc/models/tts_lm.cpp for the tensors.

#include <string>

#include "core/gguf_builder.h"
#include "models/tts_lm.h"

namespace minicpmo {

constexpr int kTinyCodes = 30;  // the last one is the end of speech
constexpr int kTinyTexts = 40;
constexpr int32_t kTinyTextEos = 38;
constexpr int32_t kTinyAudioBos = 39;

struct TinyTtsOptions {
    int n_ctx = 4096;
    int n_embd_llm = 32;
    int n_text = kTinyTexts;
    int n_code = kTinyCodes;
    std::string attention = "full_attention";
    std::string condition = "hidden_text_merge";
    int num_vq = 1;
};

void add_tiny_tts(GgufBuilder& builder, const TinyTtsOptions& options = {});
TtsLmConfig tiny_tts_config(const TinyTtsOptions& options = {});  // what its keys say

}  // namespace minicpmo
