#pragma once
// TtsConfig: the facts of a file's speech language model. Reference: docs/gguf.md for the keys.

#include <string>

#include "core/gguf_file.h"
#include "core/metadata_keys.h"
#include "engine/code_sampler.h"
#include "models/tts_lm.h"

namespace minicpmo {

struct TtsConfig {
    TtsLmConfig lm;
    CodeSampling sampling;
    bool recomputes = false;  // a streamed chunk sees the one before it alone (sliding_recompute)
    std::string file_type;    // of the largest matrices, as ggml names it
};

// Of a file with tts tensors. Throws ModelFileError, UnsupportedModelError (another condition or attention).
TtsConfig read_tts_config(const GgufFile& file, int n_embd_llm);

// The parts that every model of speech codes has; of the namespace minicpmo.tts.
DecoderConfig read_tts_decoder(const Keys& keys);
int read_llm_width(const Keys& keys, int n_embd_llm);  // of the states it is told; checked
CodeSampling read_code_sampling(const Keys& keys);

}  // namespace minicpmo
