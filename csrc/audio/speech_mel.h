#pragma once
// SpeechMel: the mel spectrum that a speech decoder writes and vocoders read, natural logarithm of
// magnitudes. Reference: minicpmo-utils, stepaudio2/flashcosyvoice/utils/audio.py, mel_spectrogram (after
// HiFi-GAN).

#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/mel_bank.h"
#include "base/array.h"

namespace minicpmo {

struct SpeechMelConfig {
    int sample_rate = 24000;
    int n_fft = 1920;  // samples of a frame
    int hop = 480;
    int n_mel = 80;
    double low_hz = 0;
    double high_hz = 8000;
};

// Immutable after construction: any number of threads may share one.
class SpeechMel {
public:
    explicit SpeechMel(const SpeechMelConfig& config);  // throws ArgumentError
    const SpeechMelConfig& config() const { return config_; }

    // More than (n_fft - hop) / 2 samples, mirrored by as many at both ends -> [n_mel, n_sample / hop].
    // Throws ArgumentError.
    Array<float> compute(std::span<const float> samples) const;

private:
    SpeechMelConfig config_;
    RealFft fft_;
    MelBank bank_;
    std::vector<float> window_;  // [n_fft]
};

}  // namespace minicpmo
