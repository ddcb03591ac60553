#include "engine/voice_encoder.h"

#include <algorithm>
#include <cmath>

#include "audio/resample.h"
#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kPcmScale = 32768.0F;

// As the WAV file between the official server and its networks rounds and clips.
std::vector<int16_t> to_pcm(std::span<const float> samples) {
    std::vector<int16_t> pcm;
    pcm.reserve(samples.size());
    for (const float x : samples)
        pcm.push_back(static_cast<int16_t>(std::clamp(std::floor(x * kPcmScale), -kPcmScale, kPcmScale - 1)));
    return pcm;
}

// A part whose numbers are a file's, so that wrong ones are the file's fault.
template <class T, class... Args>
T of_file(const Args&... args) {
    try {
        return T(args...);
    } catch (const ArgumentError& error) {
        fail<ModelFileError>("{}", error.what());
    }
}

// As many frames as asked for: the last one repeated, or the rest left out.
Array<float> with_frames(Array<float> mel, int64_t n_frame) {
    const auto n_mel = static_cast<size_t>(mel.dim(0));
    const std::span<const float> last = mel.row(mel.dim(1) - 1);
    const std::vector<float> repeated(last.begin(), last.end());
    mel.data.resize(std::min(mel.data.size(), static_cast<size_t>(n_frame) * n_mel));
    while (mel.data.size() < static_cast<size_t>(n_frame) * n_mel)
        mel.data.insert(mel.data.end(), repeated.begin(), repeated.end());
    mel.shape[1] = n_frame;
    return mel;
}

}  // namespace

VoiceEncoder::VoiceEncoder(const VoiceConfig& config, const WeightScope& root)
    : config_(config),
      tokenizer_(config.tokenizer, root / "s3"),
      speaker_(config.speaker, root / "spk"),
      tokenizer_mel_(of_file<LogMel>(config.tokenizer_mel)),
      fbank_(of_file<KaldiFbank>(kSampleRate, config.speaker.n_mel)),
      mel_(of_file<SpeechMel>(config.mel)) {}

int64_t VoiceEncoder::max_samples() const {
    const SpeechTokenizerConfig& tokenizer = config_.tokenizer;
    const int64_t n_code = std::min(config_.shape.max_codes, tokenizer.n_position);
    const int64_t n_frame = n_code * tokenizer.conv_stride * tokenizer.conv_stride;
    return std::min<int64_t>((n_frame + 1) * config_.tokenizer_mel.hop - 1,
                             config_.tokenizer_mel.max_samples);
}

double VoiceEncoder::max_seconds() const { return static_cast<double>(max_samples()) / kSampleRate; }

Voice VoiceEncoder::encode(std::span<const float> samples, const std::string& name,
                           Workspace& workspace) const {
    const double seconds = static_cast<double>(samples.size()) / kSampleRate;
    check<ArgumentError>(seconds >= kMinSeconds && static_cast<int64_t>(samples.size()) <= max_samples(),
                         "[voice] expected a recording of {} to {} s, got {} s", kMinSeconds,
                         std::floor(max_seconds() * 100) / 100, seconds);
    const auto bad = std::find_if(samples.begin(), samples.end(), [](float x) { return !std::isfinite(x); });
    check<ArgumentError>(bad == samples.end(), "[voice] expected finite samples, got {} (sample {})",
                         bad == samples.end() ? 0.0F : *bad, bad - samples.begin());
    Voice voice;
    voice.name = name;
    voice.pcm = to_pcm(samples);
    std::vector<float> heard;
    heard.reserve(voice.pcm.size());
    for (const int16_t x : voice.pcm) heard.push_back(static_cast<float>(x) / kPcmScale);

    voice.codes = tokenizer_.encode(tokenizer_mel_.mirrored(heard), workspace).codes;
    Array<float> features = fbank_.compute(heard);
    subtract_mean(features);
    voice.speaker = speaker_.encode(features, workspace);
    const auto n_frame = static_cast<int64_t>(voice.codes.size()) * config_.shape.frames_per_code;
    voice.mel = with_frames(mel_.compute(resample(heard, kSampleRate, config_.mel.sample_rate)), n_frame);
    check_voice(voice, config_.shape);
    // A voice is encoded once; its graphs would hold a hundred megabytes for as long as the session lives.
    workspace.release(SpeechTokenizer::kRunner);
    workspace.release(SpeakerEncoder::kRunner);
    return voice;
}

}  // namespace minicpmo
