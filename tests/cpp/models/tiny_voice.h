#pragma once
// Tiny networks of random weights that listen to a voice: a speech tokenizer of two layers, and a speaker
// encoder of three. Reference: csrc/engine/voice_config.cpp for the keys, csrc/models/speech for the tensors.

#include <map>
#include <string>
#include <vector>

#include "core/gguf_builder.h"
#include "models/speech/speaker_encoder.h"
#include "models/speech/speech_tokenizer.h"

namespace minicpmo {

// What the keys of tiny_voice() say.
SpeechTokenizerConfig tiny_tokenizer_config();
SpeakerEncoderConfig tiny_speaker_config();

struct TinyVoice {
    GgufBuilder file;
    std::map<std::string, std::vector<float>> tensors;  // by name, as they lie
};

// Keys and tensors of s3, spk and of the decoder's mel.
TinyVoice tiny_voice();

}  // namespace minicpmo
