#include "audio/kaldi_fbank.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"

using namespace minicpmo;

namespace {

std::vector<float> noise(size_t n, float offset = 0) {
    std::vector<float> samples(n);
    Rng rng{6, 0};
    for (float& x : samples) x = offset + static_cast<float>(rng.uniform() - 0.5);
    return samples;
}

// The definition for one frame of 400 samples, sum by sum: [257] powers.
std::vector<float> slow_powers(const float* samples) {
    double mean = 0;
    for (int i = 0; i < 400; ++i) mean += samples[i] / 400.0;
    std::vector<double> frame;
    for (int i = 0; i < 400; ++i) {
        const double before = samples[std::max(i - 1, 0)] - mean;
        const double hann = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / 399);
        frame.push_back((samples[i] - mean - 0.97 * before) * std::pow(hann, 0.85));
    }
    std::vector<float> powers;
    for (int k = 0; k <= 256; ++k) {
        std::complex<double> sum = 0;
        for (int i = 0; i < 400; ++i)
            sum += frame[static_cast<size_t>(i)] * std::polar(1.0, -2 * std::numbers::pi * i * k / 512);
        powers.push_back(static_cast<float>(std::norm(sum)));
    }
    return powers;
}

}  // namespace

TEST_CASE("features of a frame are what Kaldi's steps give, one after the other") {
    const KaldiFbank fbank(16000, 80);
    const MelBank bank({MelScale::kaldi, 80, 512, 16000, 20, 8000});
    const std::vector<float> samples = noise(1040, 0.2F);
    const Array<float> found = fbank.compute(samples);
    REQUIRE(found.dim(1) == 5);
    for (int64_t t = 0; t < 5; ++t) {
        std::vector<float> bands(80);
        bank.apply(slow_powers(samples.data() + 160 * t), bands);
        for (size_t i = 0; i < 80; ++i)
            CHECK(found.row(t)[i] == doctest::Approx(std::log(double{bands[i]})).epsilon(1e-4));
    }
}

TEST_CASE("only whole frames count") {
    const KaldiFbank fbank(16000, 80);
    CHECK(fbank.compute(noise(400)).dim(1) == 1);
    CHECK(fbank.compute(noise(559)).dim(1) == 1);
    CHECK(fbank.compute(noise(560)).dim(1) == 2);
    CHECK_THROWS_AS(fbank.compute(noise(399)), ArgumentError);
    CHECK_THROWS_AS(fbank.compute({}), ArgumentError);
    std::vector<float> bad(800);
    bad[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(fbank.compute(bad), ArgumentError);
    CHECK_THROWS_AS(KaldiFbank(0, 80), ArgumentError);
    CHECK_THROWS_AS(KaldiFbank(16000, 0), ArgumentError);
}

TEST_CASE("silence has the least features, and none without their mean") {
    Array<float> features = KaldiFbank(16000, 80).compute(std::vector<float>(1600));
    for (const float x : features.data) CHECK(x == doctest::Approx(std::log(1.1920929e-07)));
    subtract_mean(features);
    for (const float x : features.data) CHECK(std::abs(x) < 1e-5F);
}

TEST_CASE("the mean over time is taken from each feature by itself") {
    Array<float> features({2, 3});
    features.data = {1, 10, 2, 20, 6, 60};
    subtract_mean(features);
    CHECK(features.data == std::vector<float>{-2, -20, -1, -10, 3, 30});
    Array<float> none;
    subtract_mean(none);
    CHECK(none.empty());
}
