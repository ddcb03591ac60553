#pragma once
// ModuleChoice: which parts of a model a run needs. What it does without is as if the file had none of it: no
// tensor of it gets memory. Reference: docs/gguf.md for the names of tensors.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/gguf_file.h"

namespace minicpmo {

struct ModuleChoice {  // beside the language model
    bool vision = true;
    bool audio = true;
    bool speech = true;

    bool has_all() const { return vision && audio && speech; }
};

// Of names among llm, vision, audio and speech. Throws ArgumentError.
ModuleChoice parse_modules(std::span<const std::string> names);

// Of a tensor in our schema: llm, vision, audio, or of speech tts, t2w, s3, spk, voices, dvae or vocos.
std::string_view module_of(std::string_view tensor);
bool wants(const ModuleChoice& choice, std::string_view module);

// The file without the tensors of unwanted modules.
std::shared_ptr<const GgufFile> restricted(std::shared_ptr<const GgufFile> file, const ModuleChoice& choice);

}  // namespace minicpmo
