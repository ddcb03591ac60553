#include "audio/stft.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpmo {

Stft::Stft(int n_fft, int hop) : n_fft_(n_fft), hop_(hop) {
    check<ArgumentError>(n_fft >= 4 && n_fft <= kMaxSize && n_fft % 2 == 0 && hop >= 1 && 4 * hop <= n_fft &&
                             n_fft / 2 % hop == 0,
                         "[stft] expected an even size up to {} and a hop of at most a quarter that divides "
                         "its half, got {} and {}",
                         kMaxSize, n_fft, hop);
    const auto n = static_cast<size_t>(n_fft);
    const size_t n_bin = n / 2 + 1;
    window_.resize(n);
    analysis_.resize(n * 2 * n_bin);
    synthesis_.resize(n * 2 * n_bin);
    const double turn = 2.0 * std::numbers::pi / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
        const double window = 0.5 - 0.5 * std::cos(turn * static_cast<double>(i));
        window_[i] = static_cast<float>(window);
        for (size_t k = 0; k < n_bin; ++k) {
            const double angle = turn * static_cast<double>(i * k % n);
            const bool is_edge = k == 0 || k == n / 2;  // a bin that is its own mirror, and real
            const double scale = window * (is_edge ? 1.0 : 2.0) / static_cast<double>(n);
            float* to_frame = &analysis_[i * 2 * n_bin];
            to_frame[k] = static_cast<float>(window * std::cos(angle));
            to_frame[n_bin + k] = static_cast<float>(-window * std::sin(angle));
            synthesis_[k * n + i] = static_cast<float>(scale * std::cos(angle));
            synthesis_[(n_bin + k) * n + i] = is_edge ? 0.0F : static_cast<float>(-scale * std::sin(angle));
        }
    }
}

Array<float> Stft::forward(std::span<const float> samples) const {
    StftState state;
    std::vector<float> frames;
    push(samples, true, state, frames);
    Array<float> out;
    out.shape = {n_feature(), static_cast<int64_t>(frames.size()) / n_feature()};
    out.data = std::move(frames);
    return out;
}

void Stft::push(std::span<const float> samples, bool is_last, StftState& state,
                std::vector<float>& frames) const {
    std::vector<float>& seen = state.samples;
    seen.insert(seen.end(), samples.begin(), samples.end());
    const auto half = static_cast<size_t>(n_fft_ / 2);
    if (!state.is_started && seen.size() > half) {
        const std::vector<float> mirror(seen.begin() + 1, seen.begin() + 1 + n_fft_ / 2);
        seen.insert(seen.begin(), mirror.rbegin(), mirror.rend());
        state.is_started = true;
    }
    check<ArgumentError>(state.is_started || !is_last, "[stft] expected more than {} samples, got {}", half,
                         seen.size());
    if (!state.is_started) return;
    if (is_last) {
        const std::vector<float> mirror(seen.end() - 1 - n_fft_ / 2, seen.end() - 1);
        seen.insert(seen.end(), mirror.rbegin(), mirror.rend());
    }
    const auto n_fft = static_cast<size_t>(n_fft_);
    const auto hop = static_cast<size_t>(hop_);
    const auto n_out = static_cast<size_t>(n_feature());
    const size_t n_frame = seen.size() < n_fft ? 0 : (seen.size() - n_fft) / hop + 1;
    const size_t begin = frames.size();
    frames.resize(begin + n_frame * n_out);
    for (size_t t = 0; t < n_frame; ++t) {
        float* __restrict out = &frames[begin + t * n_out];
        for (size_t i = 0; i < n_fft; ++i) {
            const float sample = seen[t * hop + i];
            const float* __restrict row = &analysis_[i * n_out];
            for (size_t k = 0; k < n_out; ++k) out[k] += sample * row[k];
        }
    }
    seen.erase(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(n_frame * hop));
}

std::vector<float> Stft::inverse(const Array<float>& frames) const {
    check<ArgumentError>(frames.dim(0) == n_feature() && frames.dim(1) >= 1,
                         "[stft] expected spectra of {} features, got [{}, {}]", n_feature(), frames.dim(0),
                         frames.dim(1));
    IstftState state;
    std::vector<float> samples;
    push_inverse(frames.data, true, state, samples);
    return samples;
}

void Stft::add_frame(std::span<const float> frame, IstftState& state, std::vector<float>& samples) const {
    const auto n_fft = static_cast<size_t>(n_fft_);
    state.sums.resize(n_fft);
    state.weights.resize(n_fft);
    float* __restrict sums = state.sums.data();
    for (size_t k = 0; k < frame.size(); ++k) {
        const float feature = frame[k];
        const float* __restrict row = &synthesis_[k * n_fft];
        for (size_t i = 0; i < n_fft; ++i) sums[i] += feature * row[i];
    }
    for (size_t i = 0; i < n_fft; ++i) state.weights[i] += window_[i] * window_[i];
    // The first samples lie before the signal.
    if (++state.n_frame > n_fft_ / 2 / hop_)
        for (size_t i = 0; i < static_cast<size_t>(hop_); ++i) samples.push_back(sums[i] / state.weights[i]);
    state.sums.erase(state.sums.begin(), state.sums.begin() + hop_);
    state.weights.erase(state.weights.begin(), state.weights.begin() + hop_);
}

void Stft::push_inverse(std::span<const float> frames, bool is_last, IstftState& state,
                        std::vector<float>& samples) const {
    const auto n_in = static_cast<size_t>(n_feature());
    check<ArgumentError>(frames.size() % n_in == 0, "[stft] expected spectra of {} features, got {} values",
                         n_in, frames.size());
    samples.reserve(samples.size() + frames.size() / n_in * static_cast<size_t>(hop_));
    for (size_t begin = 0; begin < frames.size(); begin += n_in)
        add_frame(frames.subspan(begin, n_in), state, samples);
    if (!is_last) return;
    // A signal of n frames has n - 1 hops of samples.
    const int64_t n_before = n_fft_ / 2 / hop_;
    const int64_t begin = std::max<int64_t>(n_before - state.n_frame, 0) * hop_;
    const int64_t end = (n_before - 1) * hop_;
    for (int64_t i = begin; i < end; ++i)
        samples.push_back(state.sums[static_cast<size_t>(i)] / state.weights[static_cast<size_t>(i)]);
}

}  // namespace minicpmo
