#include "audio/fft.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

using minicpmo::ArgumentError;
using minicpmo::RealFft;
using minicpmo::Rng;

namespace {

using Bins = std::vector<std::complex<float>>;

std::vector<float> noise(int n, uint64_t seed) {
    Rng rng{seed};
    std::vector<float> samples(static_cast<size_t>(n));
    for (float& x : samples) x = static_cast<float>(2 * rng.uniform() - 1);
    return samples;
}

std::complex<double> naive_bin(const std::vector<float>& samples, size_t k) {
    std::complex<double> sum = 0;
    for (size_t j = 0; j < samples.size(); ++j) {
        const double turns =
            static_cast<double>(j * k % samples.size()) / static_cast<double>(samples.size());
        sum += static_cast<double>(samples[j]) * std::polar(1.0, -2 * std::numbers::pi * turns);
    }
    return sum;
}

}  // namespace

TEST_CASE("bins are the sums that define them, for even and odd sizes of all factors") {
    for (const int n : {1, 2, 3, 4, 5, 6, 15, 16, 30, 45, 125, 400, 512, 1920}) {
        CAPTURE(n);
        const RealFft fft(n);
        const std::vector<float> samples = noise(n, 7);
        Bins bins(static_cast<size_t>(fft.n_bin()));
        fft.forward(samples, bins);
        double worst = 0;
        for (size_t k = 0; k < bins.size(); ++k) {
            worst = std::max(worst, std::abs(naive_bin(samples, k) - std::complex<double>(bins[k])));
        }
        CHECK(worst < 2e-7 * std::max(4.0, std::sqrt(n) * 2));  // rounding to float is all that is lost
    }
}

TEST_CASE("the inverse gives back the samples") {
    for (const int n : {1, 2, 3, 4, 15, 16, 27, 400, 512, 1920}) {
        CAPTURE(n);
        const RealFft fft(n);
        const std::vector<float> samples = noise(n, 8);
        Bins bins(static_cast<size_t>(fft.n_bin()));
        fft.forward(samples, bins);
        std::vector<float> back(samples.size());
        fft.inverse(bins, back);
        for (size_t j = 0; j < samples.size(); ++j) CHECK(std::abs(back[j] - samples[j]) < 5e-7F);
    }
}

TEST_CASE("the inverse of one bin is its wave") {
    const RealFft fft(20);
    Bins bins(11);
    bins[3] = {0.0F, -10.0F};
    std::vector<float> samples(20);
    fft.inverse(bins, samples);
    for (size_t j = 0; j < 20; ++j) {
        CHECK(samples[j] ==
              doctest::Approx(std::sin(2 * std::numbers::pi * 3 * static_cast<double>(j) / 20)));
    }
}

TEST_CASE("the inverse ignores imaginary parts that no real signal has") {
    const RealFft fft(8);
    Bins bins(5, {1.0F, 0.0F});
    std::vector<float> expected(8);
    fft.inverse(bins, expected);
    bins[0] = {1.0F, 5.0F};
    bins[4] = {1.0F, -5.0F};
    std::vector<float> samples(8);
    fft.inverse(bins, samples);
    CHECK(samples == expected);
}

TEST_CASE("other sizes and rows of another length are refused") {
    for (const int n : {0, -4, 7, 14, 22, 401, 1 << 25}) CHECK_THROWS_AS(RealFft{n}, ArgumentError);
    const RealFft fft(16);
    std::vector<float> samples(16);
    Bins bins(8);
    CHECK_THROWS_AS(fft.forward(samples, bins), ArgumentError);
    CHECK_THROWS_AS(fft.inverse(bins, samples), ArgumentError);
    bins.resize(9);
    samples.resize(15);
    CHECK_THROWS_AS(fft.forward(samples, bins), ArgumentError);
    CHECK_THROWS_AS(fft.inverse(bins, samples), ArgumentError);
}
