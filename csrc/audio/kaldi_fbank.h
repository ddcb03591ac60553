#pragma once
// KaldiFbank: Kaldi's log-mel features of 25 ms frames every 10 ms, without dither.
// Reference: torchaudio.compliance.kaldi.fbank.

#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/mel_bank.h"
#include "base/array.h"

namespace minicpmo {

// Immutable after construction: any number of threads may share one.
class KaldiFbank {
public:
    KaldiFbank(int sample_rate, int n_mel);  // throws ArgumentError

    // At least frame_samples() samples -> [n_mel, 1 + (n_sample - frame) / shift]: only whole frames. Throws
    // ArgumentError.
    Array<float> compute(std::span<const float> samples) const;
    int frame_samples() const { return static_cast<int>(window_.size()); }

private:
    void analyse(std::span<const float> samples, std::span<float> padded) const;

    int n_mel_;
    size_t shift_;
    RealFft fft_;
    MelBank bank_;
    std::vector<float> window_;  // [frame]
};

// Takes the mean over time from every feature of [n_feature, n_frame].
void subtract_mean(Array<float>& features);

}  // namespace minicpmo
