#pragma once
// Voice: what speech sounds like, taken from a recording once and given to the decoder from then on.
// Reference: minicpmo-utils, stepaudio2/token2wav.py, Token2wav._prepare_prompt.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/array.h"
#include "models/speech/voice_cache.h"

namespace minicpmo {

struct Voice {
    std::string name;            // for people; may be empty
    std::vector<int32_t> codes;  // speech codes of the recording
    Array<float> mel;            // [n_mel, frames_per_code * codes]: natural log, at the decoder's rate
    Array<float> speaker;        // [n_speaker], of any length: who reads it normalises it
    std::vector<int16_t> pcm;    // the recording at 16 kHz, mono, for the language model; may be empty
    // Of a published voice, which has no codes and no mel: what the flow made of them.
    std::shared_ptr<const VoiceCache> cache;
};

// What a model's speech decoder asks of a voice.
struct VoiceShape {
    int n_code = 6561;  // of the code book
    int n_mel = 80;
    int frames_per_code = 2;
    int n_speaker = 192;
    int max_codes = 422;  // 16.9 s: its mel, 100 frames of memory and a last chunk make 1000 frames
};

// Throws ArgumentError unless the voice fits, and all its numbers are finite.
void check_voice(const Voice& voice, const VoiceShape& shape);

}  // namespace minicpmo
