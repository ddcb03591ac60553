#include "audio/log_mel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

using minicpmo::ArgumentError;
using minicpmo::Array;
using minicpmo::LogFloor;
using minicpmo::LogMel;
using minicpmo::mel_frames;
using minicpmo::MelConfig;
using minicpmo::Rng;
using minicpmo::SampleLine;

namespace {

// A tenth of everything, so that whole recordings can be computed naively.
constexpr MelConfig kSmall{.sample_rate = 1600, .n_fft = 40, .hop = 16, .n_mel = 8, .max_samples = 4800};

std::vector<float> noise(size_t n, double level, uint64_t seed) {
    Rng rng{seed};
    std::vector<float> samples(n);
    for (float& x : samples) x = static_cast<float>(level * (2 * rng.uniform() - 1));
    return samples;
}

double mel_of(double hz) { return hz < 1000 ? 0.015 * hz : 15 + 27 * std::log(hz / 1000) / std::log(6.4); }

// Weight of a frequency in band i: found by walking the scale upwards until the edges of the band are
// reached.
double weight(const MelConfig& config, int i, double hz) {
    const double step = mel_of(config.sample_rate / 2.0) / (config.n_mel + 1);
    const auto hz_at = [&](double mel) {  // by bisection
        double low = 0;
        double high = config.sample_rate;
        for (int n = 0; n < 100; ++n) (mel_of((low + high) / 2) < mel ? low : high) = (low + high) / 2;
        return low;
    };
    const double left = hz_at(i * step);
    const double mid = hz_at((i + 1) * step);
    const double right = hz_at((i + 2) * step);
    if (hz <= left || hz >= right) return 0;
    return (hz <= mid ? (hz - left) / (mid - left) : (right - hz) / (right - mid)) * 2 / (right - left);
}

// As it is defined: everything filled up and mirrored, whole sums, double precision. [n_frame][n_mel]
std::vector<std::vector<double>> naive_log_powers(const MelConfig& config, std::vector<float> samples) {
    samples.resize(static_cast<size_t>(config.max_samples));
    const int half = config.n_fft / 2;
    std::vector<double> padded(samples.rend() - half - 1, samples.rend() - 1);
    padded.insert(padded.end(), samples.begin(), samples.end());
    padded.insert(padded.end(), samples.rbegin() + 1, samples.rbegin() + 1 + half);
    std::vector<std::vector<double>> weights(static_cast<size_t>(config.n_mel));
    for (int i = 0; i < config.n_mel; ++i) {
        for (int k = 0; k <= half; ++k) {
            weights[static_cast<size_t>(i)].push_back(
                weight(config, i, static_cast<double>(k) * config.sample_rate / config.n_fft));
        }
    }
    std::vector<std::vector<double>> frames;
    for (int t = 0; t < config.max_samples / config.hop; ++t) {
        std::vector<double> powers;
        for (int k = 0; k <= half; ++k) {
            std::complex<double> sum = 0;
            for (int j = 0; j < config.n_fft; ++j) {
                const double turn = 2 * std::numbers::pi / config.n_fft;
                const double hann = 0.5 - 0.5 * std::cos(turn * j);
                sum +=
                    hann * padded[static_cast<size_t>(t * config.hop + j)] * std::polar(1.0, -turn * k * j);
            }
            powers.push_back(std::norm(sum));
        }
        std::vector<double> frame;
        for (const auto& band : weights) {
            double power = 0;
            for (size_t k = 0; k < powers.size(); ++k) power += band[k] * powers[k];
            frame.push_back(std::log10(std::max(power, 1e-10)));
        }
        frames.push_back(frame);
    }
    return frames;
}

void check_offline(const MelConfig& config, const std::vector<float>& samples) {
    const auto expected = naive_log_powers(config, samples);
    double loudest = -10;
    for (const auto& frame : expected) {
        for (const double x : frame) loudest = std::max(loudest, x);
    }
    for (const LogFloor floor : {LogFloor::dynamic, LogFloor::fixed}) {
        const Array<float> mel = LogMel(config).offline(samples, floor);
        const int n_frame = mel_frames(static_cast<int64_t>(samples.size()), config.hop);
        REQUIRE(mel.shape == std::vector<int64_t>{config.n_mel, n_frame});
        const double least = floor == LogFloor::dynamic ? loudest - 8 : -10;
        double worst = 0;
        for (int t = 0; t < n_frame; ++t) {
            for (size_t i = 0; i < mel.row(t).size(); ++i) {
                const double feature = (std::max(expected[static_cast<size_t>(t)][i], least) + 4) / 4;
                worst = std::max(worst, std::abs(feature - static_cast<double>(mel.row(t)[i])));
            }
        }
        // float32 samples times a float32 window leave noise about 14 digits below the loudest power.
        CHECK(worst < (floor == LogFloor::dynamic ? 2e-5 : 1e-3));
    }
}

}  // namespace

TEST_CASE("features are those of the recording filled up with silence, whatever its length") {
    for (const size_t n :
         {1, 15, 16, 17, 19, 20, 21, 40, 399, 1600, 4779, 4780, 4781, 4784, 4785, 4799, 4800}) {
        CAPTURE(n);
        check_offline(kSmall, noise(n, 0.3, n));
    }
}

TEST_CASE("the model's own frames are those of the definition") {
    MelConfig config;
    config.max_samples = 4800;
    check_offline(config, noise(3000, 0.5, 3));
    check_offline(config, noise(4800, 0.01, 4));
}

TEST_CASE("a burst that only a frame behind the last one hears well raises the floor") {
    std::vector<float> samples = noise(1600, 1e-4, 5);  // the frame behind the last is centred on sample 1600
    check_offline(kSmall, samples);
    const float before = LogMel(kSmall).offline(samples).data[0];
    samples.back() = 100.0F;
    check_offline(kSmall, samples);
    CHECK(LogMel(kSmall).offline(samples).data[0] > before + 0.1F);
}

TEST_CASE("silence lies at the fixed floor, and no sound makes no frames") {
    const LogMel log_mel{MelConfig{}};
    const Array<float> silence = log_mel.offline(std::vector<float>(1600));
    CHECK(silence.shape == std::vector<int64_t>{80, 10});
    CHECK(silence.data == std::vector<float>(800, -1.5F));
    CHECK(log_mel.offline({}).shape == std::vector<int64_t>{80, 0});
    CHECK(log_mel.offline(std::vector<float>(1, 0.5F)).shape == std::vector<int64_t>{80, 1});
}

TEST_CASE("a line of samples is mirrored at its ends and silent where nothing is known") {
    const std::vector<float> samples = {1, 2, 3, 4, 5};
    const SampleLine line{samples, 10, 10, 15};
    for (const auto& [i, x] : {std::pair{10, 1}, {9, 2}, {6, 5}, {14, 5}, {15, 4}, {18, 1}})
        CHECK(line.at(i) == x);
    const SampleLine cut{samples, 10, 8, 20};
    for (const auto& [i, x] : {std::pair{9, 0}, {6, 1}, {10, 1}, {14, 5}, {15, 0}, {24, 5}})
        CHECK(cut.at(i) == x);
}

TEST_CASE("frames of a recording are counted up to its last sample") {
    for (const auto& [n_sample, n_frame] : {std::pair{0, 0},
                                            {1, 1},
                                            {160, 1},
                                            {161, 2},
                                            {16000, 100},
                                            {16480, 103},
                                            {16560, 104},
                                            {480000, 3000}}) {
        CHECK(mel_frames(n_sample, 160) == n_frame);
    }
    CHECK_THROWS_AS(mel_frames(-1, 160), ArgumentError);
    CHECK_THROWS_AS(mel_frames(int64_t{1} << 40, 160), ArgumentError);
    CHECK_THROWS_AS(mel_frames(1, 0), ArgumentError);
}

TEST_CASE("samples that are no sound and recordings that are too long are refused") {
    const LogMel log_mel{kSmall};
    CHECK_NOTHROW(log_mel.offline(std::vector<float>(4800)));
    CHECK_THROWS_AS(log_mel.offline(std::vector<float>(4801)), ArgumentError);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), 3e38F}) {
        std::vector<float> samples(100);
        samples[99] = bad;
        CHECK_THROWS_AS(log_mel.offline(samples), ArgumentError);
    }
    const Array<float> loud = log_mel.offline(noise(1000, 1e6, 1));  // 16-bit numbers by mistake, and more
    CHECK(std::all_of(loud.data.begin(), loud.data.end(), [](float x) { return std::isfinite(x); }));
}

TEST_CASE("settings that make no spectrogram are refused") {
    const auto with = [](auto change) {
        MelConfig config;
        change(config);
        return config;
    };
    for (const MelConfig& config :
         {with([](MelConfig& c) { c.sample_rate = 0; }), with([](MelConfig& c) { c.n_fft = 0; }),
          with([](MelConfig& c) { c.n_fft = 401; }), with([](MelConfig& c) { c.n_fft = 14 * 29; }),
          with([](MelConfig& c) { c.n_fft = 480002; }), with([](MelConfig& c) { c.hop = 0; }),
          with([](MelConfig& c) { c.hop = 401; }), with([](MelConfig& c) { c.hop = 1; }),
          with([](MelConfig& c) { c.n_mel = 0; }), with([](MelConfig& c) { c.n_mel = 202; }),
          with([](MelConfig& c) { c.max_samples = -1; }),
          with([](MelConfig& c) { c.max_samples = 480001; })}) {
        CHECK_THROWS_AS(LogMel{config}, ArgumentError);
    }
}

TEST_CASE("a clip by itself has only whole frames, mirrored at its end, of loudness measured in it alone") {
    const LogMel mel({.n_mel = 128});
    std::vector<float> samples(2000);
    Rng rng{12, 0};
    for (float& x : samples) x = static_cast<float>(2.0 * rng.uniform() - 1.0);
    const Array<float> clip = mel.mirrored(samples);
    REQUIRE(clip.dim(0) == 128);
    REQUIRE(clip.dim(1) == 12);
    // A clip whose mirror image follows looks the same to every frame.
    std::vector<float> unfolded = samples;
    unfolded.insert(unfolded.end(), samples.rbegin() + 1, samples.rend());
    std::vector<float> logs = mel.log_powers({unfolded, 0, 0, 1 << 20}, 0, 12);
    LogMel::scale(logs, LogFloor::dynamic, *std::max_element(logs.begin(), logs.end()));
    CHECK(logs == clip.data);
    CHECK(mel.mirrored(std::vector<float>(samples.begin(), samples.begin() + 201)).dim(1) == 1);
    CHECK_THROWS_AS(mel.mirrored(std::vector<float>(200)), ArgumentError);
    CHECK_THROWS_AS(mel.mirrored(std::vector<float>(480001)), ArgumentError);
}
