#include "audio/log_mel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

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
    check<ArgumentError>(config.n_mel > 0 && config.n_mel <= config.n_fft / 2 + 1,
                         "[mel] expected 1 to {} bands, got {} (n_mel)", config.n_fft / 2 + 1, config.n_mel);
    return config;
}

// Slaney's scale: linear up to 1000 Hz, logarithmic above.
constexpr double kBreakHz = 1000.0;
constexpr double kBreakMel = 15.0;
constexpr double kHzPerMel = kBreakHz / kBreakMel;
constexpr double kOctaves = 6.4;  // 27 mels are this factor
constexpr double kMelPerOctaves = 27.0;

double mel_of(double hz) {
    if (hz < kBreakHz) return hz / kHzPerMel;
    return kBreakMel + std::log(hz / kBreakHz) * (kMelPerOctaves / std::log(kOctaves));
}

double hz_of(double mel) {
    if (mel < kBreakMel) return mel * kHzPerMel;
    return kBreakHz * std::exp((mel - kBreakMel) * (std::log(kOctaves) / kMelPerOctaves));
}

}  // namespace

int mel_frames(int64_t n_sample, int hop) {
    check<ArgumentError>(n_sample >= 0 && n_sample <= std::numeric_limits<int>::max(),
                         "[mel] expected 0 to {} samples, got {}", std::numeric_limits<int>::max(), n_sample);
    check<ArgumentError>(hop > 0, "[mel] expected at least 1, got {} (hop)", hop);
    return static_cast<int>((n_sample + hop - 1) / hop);
}

int audio_tokens(int64_t n_sample, const MelConfig& config, int pool_step) {
    check<ArgumentError>(pool_step > 0, "[mel] expected at least 1, got {} (pool_step)", pool_step);
    const int n_frame = mel_frames(n_sample, config.hop);
    return (n_frame / 2 + n_frame % 2) / pool_step;
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

LogMel::LogMel(const MelConfig& config) : config_(checked(config)), fft_(config.n_fft) {
    // Hann's window as torch.hann_window rounds it, whose angles are float32. Beside loud bands the
    // difference shows: 2e-5 in the features of quiet ones.
    const auto step = static_cast<float>(2.0 * std::numbers::pi / config_.n_fft);
    for (int i = 0; i < config_.n_fft; ++i) {
        const float angle = static_cast<float>(i) * step;
        const auto cosine = static_cast<float>(std::cos(static_cast<double>(angle)));
        window_.push_back(0.5F - 0.5F * cosine);
    }
    make_bands();
}

void LogMel::make_bands() {
    const double top_hz = config_.sample_rate / 2.0;
    const double mel_step = mel_of(top_hz) / (config_.n_mel + 1);
    const double hz_step = top_hz / n_half();  // from bin to bin
    for (int i = 0; i < config_.n_mel; ++i) {
        const double left = hz_of(i * mel_step);
        const double mid = hz_of((i + 1) * mel_step);
        const double right = hz_of((i + 2) * mel_step);
        Band band{0, 0, weights_.size()};
        for (int bin = 0; bin < fft_.n_bin(); ++bin) {
            const double hz = bin * hz_step;
            const double height = std::min((hz - left) / (mid - left), (right - hz) / (right - mid));
            if (height <= 0) continue;
            if (band.count == 0) band.first = static_cast<size_t>(bin);
            ++band.count;
            weights_.push_back(static_cast<float>(height * (2.0 / (right - left))));
        }
        bands_.push_back(band);
    }
}

std::vector<float> LogMel::log_powers(const SampleLine& line, int64_t first, int64_t end) const {
    const auto n_fft = static_cast<size_t>(config_.n_fft);
    const auto n_sample = static_cast<int64_t>(line.samples.size());
    std::vector<float> frame(n_fft);
    std::vector<std::complex<float>> bins(static_cast<size_t>(fft_.n_bin()));
    std::vector<float> powers(bins.size());
    std::vector<float> out;
    out.reserve(static_cast<size_t>(std::max<int64_t>(end - first, 0)) * bands_.size());
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
        for (const Band& band : bands_) {
            float power = 0;
            for (size_t i = 0; i < band.count; ++i)
                power += weights_[band.offset + i] * powers[band.first + i];
            out.push_back(std::log10(std::max(power, kLeastPower)));
        }
    }
    return out;
}

void LogMel::scale(std::span<float> log_powers, LogFloor floor, float loudest) {
    const float least = floor == LogFloor::dynamic ? loudest - kDynamicRange : kFixedFloor;
    for (float& x : log_powers) x = (std::max(x, least) + 4.0F) / 4.0F;
}

Array<float> LogMel::offline(std::span<const float> samples, LogFloor floor) const {
    check_samples(samples);
    check<ArgumentError>(samples.size() <= static_cast<size_t>(config_.max_samples),
                         "[mel] expected at most {} samples, got {} (cut longer sound into pieces)",
                         config_.max_samples, samples.size());
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
