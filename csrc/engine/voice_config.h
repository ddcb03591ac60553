#pragma once
// VoiceConfig: the facts of a file's networks that listen to a reference voice, and which voices it holds.
// Reference: docs/gguf.md for the keys.

#include <string>
#include <vector>

#include "audio/log_mel.h"
#include "audio/speech_mel.h"
#include "core/gguf_file.h"
#include "core/gguf_writer.h"
#include "models/speech/speaker_encoder.h"
#include "models/speech/speech_tokenizer.h"
#include "models/speech/voice.h"

namespace minicpmo {

struct VoiceConfig {
    SpeechTokenizerConfig tokenizer;
    MelConfig tokenizer_mel;
    SpeakerEncoderConfig speaker;
    SpeechMelConfig mel;  // of the decoder
    VoiceShape shape;
};

// Of a file with t2w tensors. Throws ModelFileError.
VoiceShape read_voice_shape(const GgufFile& file);
// Of a file with s3, spk and t2w tensors. Throws ModelFileError, UnsupportedModelError.
VoiceConfig read_voice_config(const GgufFile& file);

// The names of the voices in a file, in order: voice i has the tensors voice.<i>.*.
std::vector<std::string> read_voice_names(const GgufFile& file);
// Of the flow, for a voice that is stored as what the flow remembers of it; 0 for one that is not.
int read_cache_steps(const GgufFile& file, size_t index);
void write_voice_names(const std::vector<std::string>& names, GgufWriter& writer);

}  // namespace minicpmo
