#include "audio/kaldi_fbank.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "audio/log_mel.h"
#include "base/error.h"

namespace minicpmo {

namespace {

constexpr double kLowHz = 20.0;
constexpr double kPoveyPower = 0.85;
constexpr float kPreEmphasis = 0.97F;
constexpr float kLeastPower = 1.1920929e-07F;

int frame_length(int sample_rate) {
    constexpr int kMinRate = 1000;
    constexpr int kMaxRate = 192000;
    check<ArgumentError>(sample_rate >= kMinRate && sample_rate <= kMaxRate,
                         "[fbank] expected {} to {} Hz, got {} (sample_rate)", kMinRate, kMaxRate,
                         sample_rate);
    return sample_rate / 40;
}

int padded_length(int sample_rate) {
    return static_cast<int>(std::bit_ceil(static_cast<unsigned>(frame_length(sample_rate))));
}

}  // namespace

KaldiFbank::KaldiFbank(int sample_rate, int n_mel)
    : n_mel_(n_mel),
      shift_(static_cast<size_t>(sample_rate / 100)),
      fft_(padded_length(sample_rate)),
      bank_({MelScale::kaldi, n_mel, fft_.size(), sample_rate, kLowHz, sample_rate / 2.0}) {
    const int n = frame_length(sample_rate);
    for (int i = 0; i < n; ++i) {
        const double hann = 0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * i / (n - 1));
        window_.push_back(static_cast<float>(std::pow(hann, kPoveyPower)));
    }
}

// One frame without its mean, high frequencies raised, weighted; what is behind it stays zero.
void KaldiFbank::analyse(std::span<const float> samples, std::span<float> padded) const {
    double sum = 0;
    for (const float x : samples) sum += x;
    const auto mean = static_cast<float>(sum / static_cast<double>(samples.size()));
    float before = samples[0] - mean;  // the first sample is its own predecessor
    for (size_t i = 0; i < samples.size(); ++i) {
        const float x = samples[i] - mean;
        padded[i] = (x - kPreEmphasis * before) * window_[i];
        before = x;
    }
}

Array<float> KaldiFbank::compute(std::span<const float> samples) const {
    check<ArgumentError>(samples.size() >= window_.size(), "[fbank] expected at least {} samples, got {}",
                         window_.size(), samples.size());
    check_samples(samples);
    const size_t n_frame = 1 + (samples.size() - window_.size()) / shift_;
    const auto n_mel = static_cast<size_t>(n_mel_);
    Array<float> features({n_mel_, static_cast<int64_t>(n_frame)});
    std::vector<float> padded(static_cast<size_t>(fft_.size()));
    std::vector<std::complex<float>> bins(static_cast<size_t>(fft_.n_bin()));
    std::vector<float> powers(bins.size());
    for (size_t t = 0; t < n_frame; ++t) {
        analyse(samples.subspan(t * shift_, window_.size()), padded);
        fft_.forward(padded, bins);
        std::transform(bins.begin(), bins.end(), powers.begin(),
                       [](std::complex<float> z) { return std::norm(z); });
        const auto bands = std::span(features.data).subspan(t * n_mel, n_mel);
        bank_.apply(powers, bands);
        for (float& band : bands) band = std::log(std::max(band, kLeastPower));
    }
    return features;
}

void subtract_mean(Array<float>& features) {
    if (features.empty()) return;
    const auto n = static_cast<size_t>(features.dim(0));
    std::vector<double> means(n);
    for (size_t i = 0; i < features.data.size(); ++i) means[i % n] += features.data[i];
    for (double& mean : means) mean /= static_cast<double>(features.dim(1));
    for (size_t i = 0; i < features.data.size(); ++i) features.data[i] -= static_cast<float>(means[i % n]);
}

}  // namespace minicpmo
