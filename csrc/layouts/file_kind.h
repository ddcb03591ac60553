#pragma once
// FileKind: what a GGUF file is, told from its tensors and keys. Names of files say nothing, and
// general.architecture little: a model of speech codes calls itself a llama. Reference: docs/gguf.md.

#include <string>

#include "core/gguf_file.h"

namespace minicpmo {

enum class FileKind {
    model,       // the single file of our converter
    supplement,  // in its terms, what published files leave out
    llm,
    vision,
    audio,
    tts,
    projector,  // of the language model's states, for speech
    flow_encoder,
    flow_matching,
    flow_extra,
    vocoder,
    prompt_cache,  // a voice as the flow remembers it
    other
};

FileKind classify(const GgufFile& file);
std::string title(FileKind kind);  // "a language model"

}  // namespace minicpmo
