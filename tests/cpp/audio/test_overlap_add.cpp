#include "audio/overlap_add.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

using namespace minicpmo;

TEST_CASE("frames of a signal, windowed once more, give the signal back") {
    constexpr int kSize = 32;
    constexpr int kHop = 8;
    constexpr int kFrames = 9;
    const OverlapAdd frames(kSize, kHop);
    const RealFft fft(kSize);
    // Frame t holds the samples from t * hop - 12 on: half of what a frame has beyond its hop.
    const auto signal = [](int i) {
        return std::sin(0.3F * static_cast<float>(i)) + 0.01F * static_cast<float>(i);
    };
    std::vector<std::complex<float>> bins;
    for (int t = 0; t < kFrames; ++t) {
        std::vector<float> frame(kSize);
        for (int i = 0; i < kSize; ++i) {
            const double turn = 2.0 * std::numbers::pi * i / kSize;
            frame[static_cast<size_t>(i)] =
                static_cast<float>(0.5 - 0.5 * std::cos(turn)) * signal(t * kHop + i - (kSize - kHop) / 2);
        }
        std::vector<std::complex<float>> spectrum(static_cast<size_t>(fft.n_bin()));
        fft.forward(frame, spectrum);
        bins.insert(bins.end(), spectrum.begin(), spectrum.end());
    }
    const std::vector<float> samples = frames.inverse(bins);
    REQUIRE(samples.size() == kFrames * kHop);
    for (size_t i = 0; i < samples.size(); ++i)  // float32 in, float32 out: a few units of the last place
        CHECK(samples[i] == doctest::Approx(signal(static_cast<int>(i))).epsilon(1e-5).scale(1.0));
}

TEST_CASE("impossible frames are refused") {
    CHECK_THROWS_AS(OverlapAdd(31, 8), ArgumentError);
    CHECK_THROWS_AS(OverlapAdd(32, 0), ArgumentError);
    CHECK_THROWS_AS(OverlapAdd(32, 24), ArgumentError);
    CHECK_THROWS_AS(OverlapAdd(32, 32), ArgumentError);
    CHECK_THROWS_AS(OverlapAdd(1 << 20, 8), ArgumentError);
    CHECK_THROWS_AS(OverlapAdd(14, 7), ArgumentError);  // a factor of 7
    const OverlapAdd frames(32, 8);
    CHECK_THROWS_AS(frames.inverse({}), ArgumentError);
    CHECK_THROWS_AS(frames.inverse(std::vector<std::complex<float>>(16)), ArgumentError);
}
