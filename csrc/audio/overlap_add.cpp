#include "audio/overlap_add.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpmo {

namespace {

int checked_size(int n_fft, int hop) {
    check<ArgumentError>(n_fft >= 2 && n_fft <= OverlapAdd::kMaxSize && n_fft % 2 == 0 && hop >= 1 &&
                             n_fft / hop >= 2 && n_fft % hop == 0 && (n_fft - hop) % 2 == 0,
                         "[overlap add] expected an even size up to {} and a hop that divides it, at most "
                         "its half, got {} and {}",
                         OverlapAdd::kMaxSize, n_fft, hop);
    return n_fft;
}

}  // namespace

OverlapAdd::OverlapAdd(int n_fft, int hop)
    : fft_(checked_size(n_fft, hop)), hop_(hop), window_(static_cast<size_t>(n_fft)) {
    const double turn = 2.0 * std::numbers::pi / n_fft;
    for (size_t i = 0; i < window_.size(); ++i)
        window_[i] = 0.5 - 0.5 * std::cos(turn * static_cast<double>(i));
}

std::vector<float> OverlapAdd::inverse(std::span<const std::complex<float>> bins) const {
    const auto n_bin = static_cast<size_t>(fft_.n_bin());
    check<ArgumentError>(!bins.empty() && bins.size() % n_bin == 0,
                         "[overlap add] expected spectra of {} bins, got {} values", n_bin, bins.size());
    const size_t n_fft = window_.size();
    const auto hop = static_cast<size_t>(hop_);
    const size_t n_frame = bins.size() / n_bin;
    std::vector<double> sums((n_frame - 1) * hop + n_fft);
    std::vector<double> weights(sums.size());
    std::vector<float> frame(n_fft);
    for (size_t t = 0; t < n_frame; ++t) {
        fft_.inverse(bins.subspan(t * n_bin, n_bin), frame);
        for (size_t i = 0; i < n_fft; ++i) {
            sums[t * hop + i] += window_[i] * static_cast<double>(frame[i]);
            weights[t * hop + i] += window_[i] * window_[i];
        }
    }
    const size_t n_cut = (n_fft - hop) / 2;
    std::vector<float> samples(n_frame * hop);
    for (size_t i = 0; i < samples.size(); ++i)
        samples[i] = static_cast<float>(sums[n_cut + i] / weights[n_cut + i]);
    return samples;
}

}  // namespace minicpmo
