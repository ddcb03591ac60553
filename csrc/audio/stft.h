#pragma once
// Stft: short spectra of a signal and back by overlap-add, whole or as it arrives. For transforms of a few
// samples, which are products with a small matrix.
// Reference: torch.stft and torch.istft with a periodic Hann window, center and reflect padding.

#include <cstdint>
#include <span>
#include <vector>

#include "base/array.h"

namespace minicpmo {

// What a signal that is still arriving leaves behind.
struct StftState {
    std::vector<float> samples;  // that frames to come will see
    bool is_started = false;     // the mirror before the first sample is in place
};
struct IstftState {
    std::vector<float> sums;     // [n_fft - hop] of the samples that frames to come will add to
    std::vector<float> weights;  // of the windows in them
    int64_t n_frame = 0;
};

// Immutable after construction.
class Stft {
public:
    Stft(int n_fft, int hop);  // throws ArgumentError unless hop is a divisor of an even n_fft <= kMaxSize
    static constexpr int kMaxSize = 256;

    int n_feature() const { return n_fft_ + 2; }  // n_fft / 2 + 1 real parts, then as many imaginary parts

    // Samples, more than n_fft / 2 of them -> [n_feature, n / hop + 1], frame i around sample i * hop.
    Array<float> forward(std::span<const float> samples) const;
    // Appends the frames that are known with these samples to `frames`. The last samples end the signal; the
    // state is then of no use.
    void push(std::span<const float> samples, bool is_last, StftState& state,
              std::vector<float>& frames) const;

    // Spectra [n_feature, n + 1] -> n * hop samples. Imaginary parts of the first and last bin are ignored.
    std::vector<float> inverse(const Array<float>& frames) const;
    // Appends the samples that are complete with these frames to `samples`.
    void push_inverse(std::span<const float> frames, bool is_last, IstftState& state,
                      std::vector<float>& samples) const;

private:
    void add_frame(std::span<const float> frame, IstftState& state, std::vector<float>& samples) const;

    int n_fft_;
    int hop_;
    std::vector<float> window_;
    std::vector<float> analysis_;   // [n_feature, n_fft]: what a sample adds to a frame, windowed
    std::vector<float> synthesis_;  // [n_fft, n_feature]: what a feature adds to the samples, windowed
};

}  // namespace minicpmo
