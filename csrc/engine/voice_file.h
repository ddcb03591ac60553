#pragma once
// Voices in GGUF files: alone in a file of their own, or several inside a model. Reference: docs/gguf.md,
// minicpmo.voice.

#include <filesystem>
#include <vector>

#include "core/gguf_file.h"
#include "models/speech/voice.h"

namespace minicpmo {

// The voices a file holds, none if it says nothing of voices. Throws ModelFileError.
std::vector<Voice> read_voices(const GgufFile& file);

// One voice in a file of its own. load_voice throws ModelFileError for anything else; save_voice throws Error
// where it cannot write. Whether a voice fits a model is check_voice's question.
Voice load_voice(const std::filesystem::path& path);
void save_voice(const Voice& voice, const std::filesystem::path& path);

}  // namespace minicpmo
