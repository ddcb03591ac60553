#pragma once
// VocoderConfig: the facts of a file's vocoders. Reference: docs/gguf.md for the keys.

#include <optional>
#include <string>

#include "core/gguf_file.h"
#include "models/speech/vocoder.h"

namespace minicpmo {

enum class VocoderKind {
    original,  // streams in chunks that overlap
    causal,    // streams without overlap
};

std::string vocoder_prefix(VocoderKind kind);  // of its tensors below "t2w"
// nullopt if the file has no vocoder of that kind. Throws ModelFileError.
std::optional<VocoderConfig> read_vocoder_config(const GgufFile& file, VocoderKind kind);

}  // namespace minicpmo
