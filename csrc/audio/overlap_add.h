#pragma once
// OverlapAdd: spectra of overlapping frames to samples, hop samples a frame. For long frames, which an FFT
// transforms; see Stft for short ones.
// Reference: vocos/spectral_ops.py ISTFT with padding "same": half of what a frame has beyond its hop is cut
// off at each end.

#include <complex>
#include <span>
#include <vector>

#include "audio/fft.h"

namespace minicpmo {

// Immutable after construction.
class OverlapAdd {
public:
    // Throws ArgumentError unless n_fft is even, made of the factors 2, 3 and 5, and at least two hops, which
    // divide it.
    OverlapAdd(int n_fft, int hop);
    static constexpr int kMaxSize = 1 << 16;

    int n_bin() const { return fft_.n_bin(); }
    int hop() const { return hop_; }
    // bins [n_bin, n], n >= 1 -> n * hop samples, under a periodic Hann window.
    std::vector<float> inverse(std::span<const std::complex<float>> bins) const;

private:
    RealFft fft_;
    int hop_;
    std::vector<double> window_;
};

}  // namespace minicpmo
