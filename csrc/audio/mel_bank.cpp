#include "audio/mel_bank.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpmo {

namespace {

// Slaney's scale: linear up to 1000 Hz, logarithmic above.
constexpr double kBreakHz = 1000.0;
constexpr double kBreakMel = 15.0;
constexpr double kHzPerMel = kBreakHz / kBreakMel;
constexpr double kOctaves = 6.4;  // 27 mels are this factor
constexpr double kMelPerOctaves = 27.0;

double slaney_mel(double hz) {
    if (hz < kBreakHz) return hz / kHzPerMel;
    return kBreakMel + std::log(hz / kBreakHz) * (kMelPerOctaves / std::log(kOctaves));
}

double slaney_hz(double mel) {
    if (mel < kBreakMel) return mel * kHzPerMel;
    return kBreakHz * std::exp((mel - kBreakMel) * (std::log(kOctaves) / kMelPerOctaves));
}

double kaldi_mel(double hz) { return 1127.0 * std::log(1.0 + hz / 700.0); }

}  // namespace

MelBank::MelBank(const MelBankConfig& config) {
    const int n_bin = config.n_fft / 2 + 1;
    const double top_hz = config.sample_rate / 2.0;
    check<ArgumentError>(config.n_mel > 0 && config.n_mel <= n_bin,
                         "[mel] expected 1 to {} bands, got {} (n_mel)", n_bin, config.n_mel);
    check<ArgumentError>(config.low_hz >= 0 && config.low_hz < config.high_hz && config.high_hz <= top_hz,
                         "[mel] expected bands between 0 and {} Hz, got {} to {}", top_hz, config.low_hz,
                         config.high_hz);
    const bool is_slaney = config.scale == MelScale::slaney;
    const double low = is_slaney ? slaney_mel(config.low_hz) : kaldi_mel(config.low_hz);
    const double high = is_slaney ? slaney_mel(config.high_hz) : kaldi_mel(config.high_hz);
    const double step = (high - low) / (config.n_mel + 1);
    const auto corner = [&](int i) { return is_slaney ? slaney_hz(low + i * step) : low + i * step; };
    for (int i = 0; i < config.n_mel; ++i) {
        const double left = corner(i);
        const double mid = corner(i + 1);
        const double right = corner(i + 2);
        const double peak = is_slaney ? 2.0 / (right - left) : 1.0;
        Band band{0, 0, weights_.size()};
        for (int bin = 0; bin < n_bin; ++bin) {
            const double hz = bin * (top_hz / (config.n_fft / 2));
            const double place = is_slaney ? hz : kaldi_mel(hz);
            const double height = std::min((place - left) / (mid - left), (right - place) / (right - mid));
            if (height <= 0) continue;
            if (band.count == 0) band.first = static_cast<size_t>(bin);
            ++band.count;
            weights_.push_back(static_cast<float>(height * peak));
        }
        bands_.push_back(band);
    }
}

void MelBank::apply(std::span<const float> bins, std::span<float> bands) const {
    for (size_t b = 0; b < bands_.size(); ++b) {
        const Band& band = bands_[b];
        float sum = 0;
        for (size_t i = 0; i < band.count; ++i) sum += weights_[band.offset + i] * bins[band.first + i];
        bands[b] = sum;
    }
}

}  // namespace minicpmo
