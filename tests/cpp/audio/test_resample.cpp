#include "audio/resample.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

using namespace minicpmo;

namespace {

// The definition with taps of a whole period on either side, most of which weigh nothing.
std::vector<double> slow(const std::vector<float>& samples, int from, int to) {
    const int common = std::gcd(from, to);
    const int a = from / common, b = to / common;
    const double f = std::min(a, b) * 0.99;
    const int width = static_cast<int>(std::ceil(6 * a / f));
    const int n = static_cast<int>(samples.size());
    std::vector<double> out;
    for (int i = 0; i * a < n * b; ++i) {
        double sum = 0;
        for (int k = -width; k < width + a; ++k) {
            const double t = std::clamp((double(k) / a - double(i % b) / b) * f, -6.0, 6.0);
            const double sinc = t == 0 ? 1 : std::sin(std::numbers::pi * t) / (std::numbers::pi * t);
            const int at = i / b * a + k;
            if (at >= 0 && at < n)
                sum += f / a * sinc * std::pow(std::cos(std::numbers::pi * t / 12), 2) *
                       samples[static_cast<size_t>(at)];
        }
        out.push_back(sum);
    }
    return out;
}

}  // namespace

TEST_CASE("samples at another rate are what the definition says, ends included") {
    Rng rng{4, 0};
    for (const auto& [from, to] :
         {std::pair{16000, 24000}, {24000, 16000}, {44100, 16000}, {8000, 24000}, {7, 5}}) {
        for (const int n : {1, 2, 17, 400}) {
            CAPTURE(from);
            CAPTURE(n);
            std::vector<float> samples;
            for (int i = 0; i < n; ++i) samples.push_back(static_cast<float>(2.0 * rng.uniform() - 1.0));
            const std::vector<float> found = resample(samples, from, to);
            const std::vector<double> expected = slow(samples, from, to);
            REQUIRE(found.size() == expected.size());
            for (size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 1e-6);
        }
    }
}

TEST_CASE("a tone keeps its pitch and its size") {
    std::vector<float> samples;
    for (int i = 0; i < 1600; ++i)
        samples.push_back(static_cast<float>(std::sin(2 * std::numbers::pi * 440 * i / 16000)));
    const std::vector<float> found = resample(samples, 16000, 24000);
    REQUIRE(found.size() == 2400);
    for (int i = 100; i < 2300; ++i)
        CHECK(std::abs(double{found[static_cast<size_t>(i)]} -
                       std::sin(2 * std::numbers::pi * 440 * i / 24000)) < 5e-3);
}

TEST_CASE("the same rate changes nothing, nothing stays nothing, and impossible rates are refused") {
    CHECK(resample(std::vector<float>{1, 2, 3}, 16000, 16000) == std::vector<float>{1, 2, 3});
    CHECK(resample({}, 16000, 24000).empty());
    CHECK(resample(std::vector<float>{1}, 384000, 1).size() == 1);
    CHECK_THROWS_AS(resample({}, 0, 24000), ArgumentError);
    CHECK_THROWS_AS(resample({}, 16000, -1), ArgumentError);
    CHECK_THROWS_AS(resample({}, 16000, 384001), ArgumentError);
}
