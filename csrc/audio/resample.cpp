#include "audio/resample.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr double kZeroCrossings = 6.0;  // of the sinc on either side
constexpr double kRolloff = 0.99;       // of half the lower rate

// The filter of one phase: how input samples from `first`, counted from the one its period begins at, add up.
struct Phase {
    int64_t first = 0;
    std::vector<float> taps;
};

// Outputs repeat their phases after n_out of them, when n_in inputs have passed.
Phase make_phase(int64_t index, int64_t n_in, int64_t n_out) {
    const double a = static_cast<double>(n_in);
    const double cutoff = static_cast<double>(std::min(n_in, n_out)) * kRolloff;
    const double centre = a * static_cast<double>(index) / static_cast<double>(n_out);
    const double reach = kZeroCrossings * a / cutoff;
    Phase phase;
    phase.first = static_cast<int64_t>(std::ceil(centre - reach));
    const auto last = static_cast<int64_t>(std::floor(centre + reach));
    for (int64_t k = phase.first; k <= last; ++k) {
        const double t =
            (static_cast<double>(k) / a - static_cast<double>(index) / static_cast<double>(n_out)) * cutoff;
        const double angle = std::numbers::pi * t;
        const double sinc = angle == 0.0 ? 1.0 : std::sin(angle) / angle;
        const double hann = std::cos(angle / (2.0 * kZeroCrossings));
        phase.taps.push_back(static_cast<float>(cutoff / a * sinc * hann * hann));
    }
    return phase;
}

}  // namespace

std::vector<float> resample(std::span<const float> samples, int from, int to) {
    constexpr int kMaxRate = 384000;
    for (const int rate : {from, to}) {
        check<ArgumentError>(rate >= 1 && rate <= kMaxRate, "[resample] expected rates of 1 to {} Hz, got {}",
                             kMaxRate, rate);
    }
    if (from == to) return {samples.begin(), samples.end()};
    const int64_t common = std::gcd(from, to);
    const int64_t n_in = from / common;
    const int64_t n_out = to / common;
    const auto n_sample = static_cast<int64_t>(samples.size());
    std::vector<float> out(static_cast<size_t>((n_sample * n_out + n_in - 1) / n_in));
    for (int64_t p = 0; p < std::min(n_out, static_cast<int64_t>(out.size())); ++p) {
        const Phase phase = make_phase(p, n_in, n_out);
        int64_t start = phase.first;
        for (size_t i = static_cast<size_t>(p); i < out.size();
             i += static_cast<size_t>(n_out), start += n_in) {
            const int64_t begin = std::max<int64_t>(-start, 0);
            const int64_t end = std::min<int64_t>(static_cast<int64_t>(phase.taps.size()), n_sample - start);
            float sum = 0;
            for (int64_t k = begin; k < end; ++k)
                sum += phase.taps[static_cast<size_t>(k)] * samples[static_cast<size_t>(start + k)];
            out[i] = sum;
        }
    }
    return out;
}

}  // namespace minicpmo
