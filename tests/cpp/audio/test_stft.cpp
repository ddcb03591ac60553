#include "audio/stft.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "audio/fft.h"
#include "base/error.h"
#include "base/rng.h"

using namespace minicpmo;

namespace {

constexpr int kSize = 16;
constexpr int kHop = 4;
constexpr size_t kFeatures = kSize + 2;

std::vector<float> noise(size_t n, uint64_t seed = 1) {
    Rng rng{seed, 0};
    std::vector<float> values(n);
    for (float& x : values) x = static_cast<float>(2 * rng.uniform() - 1);
    return values;
}

double window(int i) { return 0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / kSize); }

float largest_difference(std::span<const float> a, std::span<const float> b) {
    REQUIRE(a.size() == b.size());
    float largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

}  // namespace

TEST_CASE("a frame is the transform of the windowed samples around it, mirrored at the ends") {
    const auto samples = noise(480);
    const Array<float> frames = Stft(kSize, kHop).forward(samples);
    REQUIRE(frames.dim(0) == kSize + 2);
    REQUIRE(frames.dim(1) == 480 / kHop + 1);
    const RealFft fft(kSize);
    for (int t = 0; t < 121; ++t) {
        std::vector<float> around;
        for (int i = 0; i < kSize; ++i) {
            int at = std::abs(t * kHop - kSize / 2 + i);
            if (at > 479) at = 2 * 479 - at;
            around.push_back(static_cast<float>(window(i) * samples[static_cast<size_t>(at)]));
        }
        std::vector<std::complex<float>> bins(kSize / 2 + 1);
        fft.forward(around, bins);
        for (size_t k = 0; k < bins.size(); ++k) {
            REQUIRE(std::abs(frames.row(t)[k] - bins[k].real()) < 1e-6F);
            REQUIRE(std::abs(frames.row(t)[bins.size() + k] - bins[k].imag()) < 1e-6F);
        }
    }
}

TEST_CASE("the inverse gives the samples back") {
    const Stft stft(kSize, kHop);
    for (const size_t n : {12, 480, 4800}) {
        CAPTURE(n);
        const auto samples = noise(n);
        CHECK(largest_difference(stft.inverse(stft.forward(samples)), samples) < 1e-6F);
    }
}

TEST_CASE("spectra of no signal are added up under their windows and divided by them") {
    Array<float> frames({kFeatures, 7});
    frames.data = noise(frames.data.size());
    const auto samples = Stft(kSize, kHop).inverse(frames);
    REQUIRE(samples.size() == 6 * kHop);
    const RealFft fft(kSize);
    std::vector<double> sums(6 * kHop + kSize);
    std::vector<double> weights(sums.size());
    for (size_t t = 0; t < 7; ++t) {
        std::vector<std::complex<float>> bins;
        for (size_t k = 0; k <= kSize / 2; ++k)
            bins.emplace_back(frames.data[t * kFeatures + k], frames.data[t * kFeatures + kSize / 2 + 1 + k]);
        std::vector<float> part(kSize);
        fft.inverse(bins, part);
        for (size_t i = 0; i < kSize; ++i) {
            const double w = window(static_cast<int>(i));
            sums[t * kHop + i] += w * part[i];
            weights[t * kHop + i] += w * w;
        }
    }
    for (size_t i = 0; i < samples.size(); ++i)
        REQUIRE(samples[i] == doctest::Approx(sums[i + kSize / 2] / weights[i + kSize / 2]).epsilon(1e-4));
}

TEST_CASE("a signal that arrives piece by piece gives the same frames and samples") {
    const Stft stft(kSize, kHop);
    const auto samples = noise(480);
    const Array<float> whole = stft.forward(samples);
    const auto wave = stft.inverse(whole);
    for (const size_t piece : {1, 3, 8, 9, 100, 480}) {
        CAPTURE(piece);
        StftState state;
        std::vector<float> frames;
        for (size_t begin = 0; begin < samples.size(); begin += piece)
            stft.push(std::span(samples).subspan(begin, std::min(piece, samples.size() - begin)), false,
                      state, frames);
        stft.push({}, true, state, frames);
        CHECK(largest_difference(frames, whole.data) == 0.0F);

        IstftState back;
        std::vector<float> parts;
        for (size_t begin = 0; begin < frames.size(); begin += piece * kFeatures) {
            const size_t n = std::min(piece * kFeatures, frames.size() - begin);
            stft.push_inverse(std::span(frames).subspan(begin, n), begin + n == frames.size(), back, parts);
        }
        CHECK(largest_difference(parts, wave) == 0.0F);
    }
}

TEST_CASE("sizes that do not fit and signals that are too short are refused") {
    CHECK_THROWS_AS(Stft(15, 3), ArgumentError);
    CHECK_THROWS_AS(Stft(16, 8), ArgumentError);
    CHECK_THROWS_AS(Stft(16, 3), ArgumentError);
    CHECK_THROWS_AS(Stft(16, 0), ArgumentError);
    CHECK_THROWS_AS(Stft(2 * Stft::kMaxSize, 4), ArgumentError);
    CHECK_THROWS_AS(Stft(kSize, kHop).forward(noise(8)), ArgumentError);
    CHECK_THROWS_AS(Stft(kSize, kHop).inverse(Array<float>({kSize, 4})), ArgumentError);
}
