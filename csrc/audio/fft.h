#pragma once
// RealFft: the discrete Fourier transform of real numbers and its inverse, for sizes made of the factors 2, 3
// and 5. Reference: numpy.fft.rfft and irfft; torch.stft and torch.istft are built on the same sums.

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

namespace minicpmo {

// Immutable after construction: any number of threads may share one. Computes in double: that costs no time
// here, and in a mel spectrogram only the reference's own errors remain.
class RealFft {
public:
    explicit RealFft(int n);  // throws ArgumentError on a size with other factors
    int size() const { return n_; }
    int n_bin() const { return n_ / 2 + 1; }

    // samples [n] -> bins [n_bin]: bin k is the sum of samples[j] * exp(-2 pi i j k / n).
    void forward(std::span<const float> samples, std::span<std::complex<float>> bins) const;
    // bins [n_bin] -> samples [n], so that inverse(forward(x)) is x. The imaginary parts of bin 0 and, where
    // n is even, of the last bin are ignored: a real signal has none.
    void inverse(std::span<const std::complex<float>> bins, std::span<float> samples) const;

private:
    using Complex = std::complex<double>;

    // One pass over all numbers: n_group * stride transforms of `radix` numbers each.
    struct Stage {
        size_t radix = 0;
        size_t n_group = 0;
        size_t stride = 0;
        size_t turns = 0;  // of group 0, in stage_turns_
    };

    // Complex numbers as two rows, so that one instruction works on several.
    struct Rows {
        std::vector<double> re;
        std::vector<double> im;

        explicit Rows(size_t n) : re(n), im(n) {}
        Complex operator[](size_t i) const { return {re[i], im[i]}; }
        void set(size_t i, Complex z) {
            re[i] = z.real();
            im[i] = z.imag();
        }
    };

    void check_sizes(size_t n_sample, size_t n_bins) const;
    template <size_t kRadix>
    void run_stage(const Stage& stage, const Rows& in, Rows& out) const;
    void transform(Rows& numbers) const;  // [n_complex], in place

    int n_ = 0;
    size_t n_complex_ = 0;  // n / 2 where n is even: two neighbouring samples make one complex number
    std::vector<Stage> stages_;
    std::vector<Complex> stage_turns_;
    std::vector<Complex> turns_;  // [n_complex + 1]: exp(-2 pi i k / n)
};

}  // namespace minicpmo
