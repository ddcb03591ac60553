#include "audio/log_mel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "audio/window.h"
#include "base/error.h"

namespace minicpmo {

namespace {

constexpr float kLeastPower = 1e-10F;
constexpr float kFixedFloor = -10.0F;
constexpr float kDynamicRange = 8.0F;  // in log10
constexpr float kLoudestSample = 1e6F;

const MelConfig& checked(const MelConfig& config) {
    check<ArgumentError>(config.sample_rate > 0, "[mel] expected a positive rate, got {} (sample_rate)",
                         config.sample_rate);
    check<ArgumentError>(config.max_samples > 0, "[mel] expected at least 1, got {} (max_samples)",
                         config.max_samples);
    check<ArgumentError>(config.n_fft >= 2 && config.n_fft % 2 == 0 && config.n_fft <= config.max_samples,
                         "[mel] expected an even number of 2 to {}, got {} (n_fft)", config.max_samples,
                         config.n_fft);
    check<ArgumentError>(config.hop > config.n_fft / 16 && config.hop <= config.n_fft,
                         "[mel] expected {} to {}, got {} (hop)", config.n_fft / 16 + 1, config.n_fft,
                         config.hop);
    check<ArgumentError>(config.max_samples % config.hop == 0,
                         "[mel] expected a multiple of {}, got {} (max_samples)", config.hop,
                         config.max_samples);
    return config;
}

}  // namespace

int mel_frames(int64_t n_sample, int hop) {
    check<ArgumentError>(n_sample >= 0 && n_sample <= std::numeric_limits<int>::max(),
                         "[mel] expected 0 to {} samples, got {}", std::numeric_limits<int>::max(), n_sample);
    check<ArgumentError>(hop > 0, "[mel] expected at least 1, got {} (hop)", hop);
    return static_cast<int>((n_sample + hop - 1) / hop);
}

void check_samples(std::span<const float> samples) {
    // Not a number fails the comparison too.
    const auto bad = std::find_if(samples.begin(), samples.end(),
                                  [](float x) { return !(std::abs(x) <= kLoudestSample); });
    check<ArgumentError>(bad == samples.end(),
                         "[audio] expected samples of -1 to 1 (at most {} in size), got {} (sample {})",
                         kLoudestSample, bad == samples.end() ? 0.0F : *bad, bad - samples.begin());
}

float SampleLine::at(int64_t i) const {
    if (i < begin) i = 2 * begin - i;
    if (i >= end) i = 2 * (end - 1) - i;
    const int64_t local = i - first;
    return local >= 0 && local < static_cast<int64_t>(samples.size()) ? samples[static_cast<size_t>(local)]
                                                                      : 0.0F;
}

LogMel::LogMel(const MelConfig& config)
    : config_(checked(config)),
      fft_(config.n_fft),
      bank_({MelScale::slaney, config.n_mel, config.n_fft, config.sample_rate, 0, config.sample_rate / 2.0}),
      window_(hann_window(config.n_fft)) {}

std::vector<float> LogMel::log_powers(const SampleLine& line, int64_t first, int64_t end) const {
    const auto n_fft = static_cast<size_t>(config_.n_fft);
    const auto n_sample = static_cast<int64_t>(line.samples.size());
    std::vector<float> frame(n_fft);
    std::vector<std::complex<float>> bins(static_cast<size_t>(fft_.n_bin()));
    std::vector<float> powers(bins.size());
    std::vector<float> out;
    std::vector<float> bands(static_cast<size_t>(config_.n_mel));
    out.reserve(static_cast<size_t>(std::max<int64_t>(end - first, 0)) * bands.size());
    for (int64_t t = first; t < end; ++t) {
        const int64_t start = t * config_.hop - n_half();
        const int64_t local = start - line.first;
        const bool is_inside = start >= line.begin && start + config_.n_fft <= line.end && local >= 0 &&
                               local + config_.n_fft <= n_sample;
        for (size_t i = 0; i < n_fft; ++i) {
            const float sample = is_inside ? line.samples[static_cast<size_t>(local) + i]
                                           : line.at(start + static_cast<int64_t>(i));
            frame[i] = sample * window_[i];
        }
        fft_.forward(frame, bins);
        std::transform(bins.begin(), bins.end(), powers.begin(),
                       [](std::complex<float> z) { return std::norm(z); });
        bank_.apply(powers, bands);
        for (const float power : bands) out.push_back(std::log10(std::max(power, kLeastPower)));
    }
    return out;
}

void LogMel::scale(std::span<float> log_powers, LogFloor floor, float loudest) {
    const float least = floor == LogFloor::dynamic ? loudest - kDynamicRange : kFixedFloor;
    for (float& x : log_powers) x = (std::max(x, least) + 4.0F) / 4.0F;
}

void LogMel::check_recording(std::span<const float> samples) const {
    check_samples(samples);
    check<ArgumentError>(samples.size() <= static_cast<size_t>(config_.max_samples),
                         "[mel] expected at most {} samples, got {} (cut longer sound into pieces)",
                         config_.max_samples, samples.size());
}

Array<float> LogMel::mirrored(std::span<const float> samples) const {
    check_recording(samples);
    const auto n_sample = static_cast<int64_t>(samples.size());
    check<ArgumentError>(n_sample > n_half() && n_sample >= config_.hop,
                         "[mel] expected more than {} samples, got {}", std::max(n_half(), config_.hop - 1),
                         n_sample);
    Array<float> mel({config_.n_mel, n_sample / config_.hop});
    mel.data = log_powers({samples, 0, 0, n_sample}, 0, mel.dim(1));
    scale(mel.data, LogFloor::dynamic, *std::max_element(mel.data.begin(), mel.data.end()));
    return mel;
}

Array<float> LogMel::offline(std::span<const float> samples, LogFloor floor) const {
    check_recording(samples);
    const auto n_sample = static_cast<int64_t>(samples.size());
    const int n_frame = mel_frames(n_sample, config_.hop);
    Array<float> mel({config_.n_mel, n_frame});
    if (n_frame == 0) return mel;
    // Behind the last frame, others of the silence that follows still see the end of the sound. The loudest
    // value may be theirs.
    const int64_t n_heard =
        std::min<int64_t>((n_sample - 1 + n_half()) / config_.hop + 1, config_.max_samples / config_.hop);
    std::vector<float> logs = log_powers({samples, 0, 0, config_.max_samples}, 0, n_heard);
    const float loudest = *std::max_element(logs.begin(), logs.end());
    logs.resize(mel.data.size());
    scale(logs, floor, loudest);
    mel.data = std::move(logs);
    return mel;
}

}  // namespace minicpmo
