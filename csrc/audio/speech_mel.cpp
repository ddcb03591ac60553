#include "audio/speech_mel.h"

#include <algorithm>
#include <cmath>

#include "audio/log_mel.h"
#include "audio/window.h"
#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kLeastPower = 1e-9F;  // added, so that the root has a slope everywhere
constexpr float kLeastBand = 1e-5F;

const SpeechMelConfig& checked(const SpeechMelConfig& config) {
    constexpr int kMaxFft = 1 << 16;
    check<ArgumentError>(config.n_fft >= 2 && config.n_fft % 2 == 0 && config.n_fft <= kMaxFft,
                         "[speech mel] expected an even number of 2 to {}, got {} (n_fft)", kMaxFft,
                         config.n_fft);
    check<ArgumentError>(config.hop > config.n_fft / 16 && config.hop <= config.n_fft && config.hop % 2 == 0,
                         "[speech mel] expected an even number of {} to {}, got {} (hop)",
                         config.n_fft / 16 + 1, config.n_fft, config.hop);
    return config;
}

}  // namespace

SpeechMel::SpeechMel(const SpeechMelConfig& config)
    : config_(checked(config)),
      fft_(config.n_fft),
      bank_(
          {MelScale::slaney, config.n_mel, config.n_fft, config.sample_rate, config.low_hz, config.high_hz}),
      window_(hann_window(config.n_fft)) {}

Array<float> SpeechMel::compute(std::span<const float> samples) const {
    const int64_t pad = (config_.n_fft - config_.hop) / 2;
    const auto n_sample = static_cast<int64_t>(samples.size());
    check<ArgumentError>(n_sample > pad && n_sample >= config_.hop,
                         "[speech mel] expected more than {} samples, got {}",
                         std::max<int64_t>(pad, config_.hop - 1), n_sample);
    check_samples(samples);
    const SampleLine line{samples, 0, 0, n_sample};
    Array<float> mel({config_.n_mel, n_sample / config_.hop});
    std::vector<float> frame(window_.size());
    std::vector<std::complex<float>> bins(static_cast<size_t>(fft_.n_bin()));
    std::vector<float> magnitudes(bins.size());
    for (int64_t t = 0; t < mel.dim(1); ++t) {
        const int64_t start = t * config_.hop - pad;
        for (size_t i = 0; i < frame.size(); ++i)
            frame[i] = line.at(start + static_cast<int64_t>(i)) * window_[i];
        fft_.forward(frame, bins);
        std::transform(bins.begin(), bins.end(), magnitudes.begin(),
                       [](std::complex<float> z) { return std::sqrt(std::norm(z) + kLeastPower); });
        const auto n_mel = static_cast<size_t>(config_.n_mel);
        const auto bands = std::span(mel.data).subspan(static_cast<size_t>(t) * n_mel, n_mel);
        bank_.apply(magnitudes, bands);
        for (float& band : bands) band = std::log(std::max(band, kLeastBand));
    }
    return mel;
}

}  // namespace minicpmo
