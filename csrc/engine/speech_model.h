#pragma once
// SpeechModel: what a model speaks with: the language model of speech codes, the flow that makes spectra of
// them, the vocoder, and, if the file has it, what turns a recording into a voice. Reference:
// modeling_minicpmo.py MiniCPMTTS; stepaudio2/token2wav.py Token2wav.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/flow_config.h"
#include "engine/tts_config.h"
#include "engine/vocoder_config.h"
#include "engine/voice_encoder.h"

namespace minicpmo {

class SpeechModel {
public:
    static bool is_in(const GgufFile& file);  // a file without speech has no tts.* tensors
    static bool can_clone(const GgufFile& file);
    SpeechModel(const GgufFile& file, int n_embd_llm, const WeightScope& root);

    const TtsConfig& tts_config() const { return tts_config_; }
    const SpeechFlowConfig& flow_config() const { return flow_config_; }
    const TtsLm& tts() const { return tts_; }
    const Flow& flow() const { return flow_; }
    // The causal network where there is one: it continues a stream exactly, and the original one fades.
    const Vocoder& vocoder() const { return causal_ ? *causal_ : *original_; }
    const Vocoder& vocoder(VocoderKind kind) const;  // throws UnsupportedModelError
    const VoiceEncoder& voice_encoder() const;       // throws UnsupportedModelError
    bool can_clone() const { return voice_encoder_.has_value(); }
    const VoiceShape& voice_shape() const { return voice_shape_; }
    const std::vector<Voice>& voices() const { return voices_; }  // that the file brings along
    // The file's voice of that name, or its first one for "". Throws ArgumentError naming those there are.
    const Voice& voice(const std::string& name) const;
    int sample_rate() const;

private:
    TtsConfig tts_config_;
    SpeechFlowConfig flow_config_;
    TtsLm tts_;
    Flow flow_;
    std::optional<Vocoder> original_;
    std::optional<Vocoder> causal_;
    std::optional<VoiceEncoder> voice_encoder_;
    VoiceShape voice_shape_;
    std::vector<Voice> voices_;
};

}  // namespace minicpmo
