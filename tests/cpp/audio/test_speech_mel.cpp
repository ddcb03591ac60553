#include "audio/speech_mel.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"

using namespace minicpmo;

namespace {

std::vector<float> noise(int n) {
    std::vector<float> samples(static_cast<size_t>(n));
    Rng rng{8, 0};
    for (float& x : samples) x = static_cast<float>(2.0 * rng.uniform() - 1.0);
    return samples;
}

// The definition for one frame, sum by sum: [n_bin] magnitudes.
std::vector<float> slow_magnitudes(const SpeechMelConfig& c, const std::vector<float>& samples, int frame) {
    std::vector<float> magnitudes;
    const int n = static_cast<int>(samples.size());
    for (int k = 0; k <= c.n_fft / 2; ++k) {
        std::complex<double> sum = 0;
        for (int j = 0; j < c.n_fft; ++j) {
            int at = frame * c.hop - (c.n_fft - c.hop) / 2 + j;
            if (at < 0) at = -at;
            if (at >= n) at = 2 * (n - 1) - at;
            const double turn = 2 * std::numbers::pi * j / c.n_fft;
            sum +=
                samples[static_cast<size_t>(at)] * (0.5 - 0.5 * std::cos(turn)) * std::polar(1.0, -k * turn);
        }
        magnitudes.push_back(static_cast<float>(std::sqrt(std::norm(sum) + 1e-9)));
    }
    return magnitudes;
}

}  // namespace

TEST_CASE("the decoder's mel is the logarithm of magnitudes in bands, mirrored at both ends") {
    const SpeechMelConfig config{.sample_rate = 2400, .n_fft = 192, .hop = 48, .n_mel = 20, .high_hz = 800};
    const SpeechMel mel(config);
    const MelBank bank({MelScale::slaney, 20, 192, 2400, 0, 800});
    for (const int n : {73, 192, 500}) {
        const std::vector<float> samples = noise(n);
        const Array<float> found = mel.compute(samples);
        REQUIRE(found.dim(1) == n / 48);
        for (int t = 0; t < n / 48; ++t) {
            std::vector<float> bands(20);
            bank.apply(slow_magnitudes(config, samples, t), bands);
            for (size_t i = 0; i < bands.size(); ++i)
                CHECK(found.row(t)[i] ==
                      doctest::Approx(std::log(std::max(double{bands[i]}, 1e-5))).epsilon(1e-4));
        }
    }
}

TEST_CASE("silence has the least mel") {
    for (const float x : SpeechMel({}).compute(std::vector<float>(4800)).data)
        CHECK(x == doctest::Approx(std::log(1e-5)));
}

TEST_CASE("samples that make no mel are refused") {
    const SpeechMel mel({});
    CHECK(mel.compute(std::vector<float>(721)).dim(1) == 1);
    CHECK_THROWS_AS(mel.compute(std::vector<float>(720)), ArgumentError);
    CHECK_THROWS_AS(mel.compute({}), ArgumentError);
    std::vector<float> bad(2000);
    bad[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(mel.compute(bad), ArgumentError);
    CHECK_THROWS_AS(SpeechMel({.n_fft = 1921}), ArgumentError);
    CHECK_THROWS_AS(SpeechMel({.hop = 0}), ArgumentError);
    CHECK_THROWS_AS(SpeechMel({.hop = 1922}), ArgumentError);
    CHECK_THROWS_AS(SpeechMel({.high_hz = 12001}), ArgumentError);
}
