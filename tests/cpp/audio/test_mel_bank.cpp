#include "audio/mel_bank.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"

using namespace minicpmo;

namespace {

// The weight of every band for every bin, by asking with one bin at a time.
std::vector<std::vector<float>> weights(const MelBankConfig& config) {
    const MelBank bank(config);
    std::vector<std::vector<float>> rows;
    std::vector<float> bins(static_cast<size_t>(config.n_fft / 2 + 1));
    for (float& bin : bins) {
        bin = 1;
        bank.apply(bins, rows.emplace_back(static_cast<size_t>(config.n_mel)));
        bin = 0;
    }
    return rows;  // [n_bin][n_mel]
}

}  // namespace

TEST_CASE("Slaney's triangles are as high as librosa's") {
    // librosa.filters.mel(sr=24000, n_fft=1920, n_mels=80, fmin=0, fmax=8000)
    const auto w = weights({MelScale::slaney, 80, 1920, 24000, 0, 8000});
    float highest = 0;
    for (const auto& row : w)
        for (const float x : row) highest = std::max(highest, x);
    CHECK(highest == doctest::Approx(0.02667).epsilon(2e-4));
    CHECK(w[0][0] == 0.0F);
    CHECK(w[1][0] > 0.0F);
    for (size_t bin = 640; bin < w.size(); ++bin)  // 8000 Hz and above
        for (const float x : w[bin]) CHECK(x < 1e-9F);
    // Every triangle has the area of 1 over Hz; at high frequencies bins are dense enough to see it.
    double area = 0;
    for (const auto& row : w) area += 12.5 * double{row[79]};
    CHECK(area == doctest::Approx(1.0).epsilon(1e-2));
}

TEST_CASE("Kaldi's triangles are linear in mels and share what is between their peaks") {
    const auto w = weights({MelScale::kaldi, 80, 512, 16000, 20, 8000});
    const auto mel = [](double hz) { return 1127.0 * std::log(1.0 + hz / 700.0); };
    const double step = (mel(8000) - mel(20)) / 81;
    for (size_t bin = 0; bin < w.size(); ++bin) {
        const double place =
            (mel(31.25 * static_cast<double>(bin)) - mel(20)) / step;  // band b peaks at b + 1
        double sum = 0;
        for (size_t band = 0; band < 80; ++band) {
            sum += double{w[bin][band]};
            CHECK(w[bin][band] ==
                  doctest::Approx(std::max(0.0, 1 - std::abs(place - double(band) - 1))).epsilon(1e-5));
        }
        if (place >= 1 && place <= 80) CHECK(sum == doctest::Approx(1.0).epsilon(1e-5));
    }
}

TEST_CASE("bands that a spectrum does not have are refused") {
    CHECK_THROWS_AS(MelBank({.n_mel = 0}), ArgumentError);
    CHECK_THROWS_AS(MelBank({.n_mel = 202}), ArgumentError);
    CHECK_THROWS_AS(MelBank({.low_hz = -1}), ArgumentError);
    CHECK_THROWS_AS(MelBank({.low_hz = 8000}), ArgumentError);
    CHECK_THROWS_AS(MelBank({.high_hz = 8001}), ArgumentError);
}
