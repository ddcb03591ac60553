#pragma once
// VoiceEncoder: a recording to a Voice. Composes the speech tokenizer, the speaker encoder and the decoder's
// mel. Reference: minicpmo-utils, stepaudio2/token2wav.py, Token2wav._prepare_prompt, behind the WAV file
// that the official server writes.

#include <span>
#include <string>

#include "audio/kaldi_fbank.h"
#include "core/graph_runner.h"
#include "engine/voice_config.h"

namespace minicpmo {

class VoiceEncoder {
public:
    VoiceEncoder(const VoiceConfig& config, const WeightScope& root);

    // Mono samples at kSampleRate of -1 to 1: louder ones are clipped. Throws ArgumentError for a recording
    // shorter than kMinSeconds, longer than max_seconds(), or with samples that are no numbers.
    Voice encode(std::span<const float> samples, const std::string& name, Workspace& workspace) const;

    static constexpr int kSampleRate = 16000;
    static constexpr double kMinSeconds = 0.5;
    double max_seconds() const;

    const VoiceConfig& config() const { return config_; }
    // The parts by themselves.
    const SpeechTokenizer& tokenizer() const { return tokenizer_; }
    const SpeakerEncoder& speaker() const { return speaker_; }
    const LogMel& tokenizer_mel() const { return tokenizer_mel_; }
    const KaldiFbank& fbank() const { return fbank_; }
    const SpeechMel& mel() const { return mel_; }

private:
    int64_t max_samples() const;

    VoiceConfig config_;
    SpeechTokenizer tokenizer_;
    SpeakerEncoder speaker_;
    LogMel tokenizer_mel_;
    KaldiFbank fbank_;
    SpeechMel mel_;
};

}  // namespace minicpmo
