#include "engine/speech_model.h"

#include <algorithm>

#include "base/error.h"
#include "engine/voice_file.h"

namespace minicpmo {

namespace {

std::optional<Vocoder> bind_vocoder(const GgufFile& file, VocoderKind kind, const WeightScope& root) {
    const std::optional<VocoderConfig> config = read_vocoder_config(file, kind);
    if (!config) return std::nullopt;
    return Vocoder(*config, root / "t2w" / vocoder_prefix(kind));
}

}  // namespace

bool SpeechModel::is_in(const GgufFile& file) { return file.find_tensor("tts.emb_code.weight") != nullptr; }

bool SpeechModel::can_clone(const GgufFile& file) {
    return file.find_tensor("s3.conv1.weight") != nullptr && file.find_tensor("spk.dense.weight") != nullptr;
}

SpeechModel::SpeechModel(const GgufFile& file, int n_embd_llm, const WeightScope& root)
    : tts_config_(read_tts_config(file, n_embd_llm)),
      flow_config_(read_flow_config(file)),
      tts_(tts_config_.lm, root),
      flow_(flow_config_.network, root / "t2w"),
      original_(bind_vocoder(file, VocoderKind::original, root)),
      causal_(bind_vocoder(file, VocoderKind::causal, root)),
      voice_shape_(read_voice_shape(file)),
      voices_(read_voices(file)) {
    check<ModelFileError>(original_.has_value() || causal_.has_value(),
                          "[speech] expected a vocoder beside the speech model, got none ({})",
                          file.path().string());
    check<ModelFileError>(tts_.end_code() <= flow_config_.network.n_code,
                          "[speech] expected at most {} speech codes, got {} ({})",
                          flow_config_.network.n_code, tts_.end_code(), file.path().string());
    if (can_clone(file)) voice_encoder_.emplace(read_voice_config(file), root);
    for (const Voice& voice : voices_) check_voice(voice, voice_shape_);
}

const Vocoder& SpeechModel::vocoder(VocoderKind kind) const {
    const std::optional<Vocoder>& found = kind == VocoderKind::causal ? causal_ : original_;
    check<UnsupportedModelError>(found.has_value(),
                                 "[speech] expected a model with the {} vocoder, got the other",
                                 kind == VocoderKind::causal ? "causal" : "original");
    return *found;
}

const VoiceEncoder& SpeechModel::voice_encoder() const {
    check<UnsupportedModelError>(voice_encoder_.has_value(),
                                 "[speech] expected a model that makes voices of recordings, got one without "
                                 "speech tokenizer and speaker encoder");
    return *voice_encoder_;
}

const Voice& SpeechModel::voice(const std::string& name) const {
    const auto found = std::find_if(voices_.begin(), voices_.end(),
                                    [&](const Voice& voice) { return name.empty() || voice.name == name; });
    if (found != voices_.end()) return *found;
    std::string names;
    for (const Voice& voice : voices_) names += (names.empty() ? "" : ", ") + voice.name;
    fail<ArgumentError>("[speech] expected a voice among {}, got \"{}\"", names.empty() ? "none" : names,
                        name);
}

int SpeechModel::sample_rate() const { return vocoder().config().source.sample_rate_hz; }

}  // namespace minicpmo
