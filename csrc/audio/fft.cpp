#include "audio/fft.h"

#include <numbers>
#include <utility>

#include "base/error.h"

namespace minicpmo {

namespace {

using Complex = std::complex<double>;

constexpr int kMaxSize = 1 << 24;

// exp(-2 pi i k / n)
Complex turn(size_t k, size_t n) {
    return std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(k % n) / static_cast<double>(n));
}

// The operator of std::complex looks for infinities, and is several times slower for it.
Complex product(Complex a, Complex b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

Complex quarter_back(Complex a) { return {a.imag(), -a.real()}; }  // -i * a

std::complex<float> narrow(Complex a) { return {static_cast<float>(a.real()), static_cast<float>(a.imag())}; }

// Transforms of 2, 3, 4 and 5 numbers, in place.
void butterfly(Complex (&z)[2]) {
    const Complex difference = z[0] - z[1];
    z[0] += z[1];
    z[1] = difference;
}

void butterfly(Complex (&z)[3]) {
    constexpr double kSin = 0.86602540378443864676;  // of 1/3 turn
    const Complex sum = z[1] + z[2];
    const Complex side = kSin * quarter_back(z[1] - z[2]);
    const Complex mid = z[0] - 0.5 * sum;
    z[0] += sum;
    z[1] = mid + side;
    z[2] = mid - side;
}

void butterfly(Complex (&z)[4]) {
    const Complex even = z[0] + z[2];
    const Complex skew = z[0] - z[2];
    const Complex odd = z[1] + z[3];
    const Complex side = quarter_back(z[1] - z[3]);
    z[0] = even + odd;
    z[1] = skew + side;
    z[2] = even - odd;
    z[3] = skew - side;
}

void butterfly(Complex (&z)[5]) {
    constexpr double kCos1 = 0.30901699437494742410;  // of 1/5 turn
    constexpr double kSin1 = 0.95105651629515357212;
    constexpr double kCos2 = -0.80901699437494742410;  // of 2/5 turn
    constexpr double kSin2 = 0.58778525229247312917;
    const Complex sum1 = z[1] + z[4];
    const Complex sum2 = z[2] + z[3];
    const Complex skew1 = quarter_back(z[1] - z[4]);
    const Complex skew2 = quarter_back(z[2] - z[3]);
    const Complex mid1 = z[0] + kCos1 * sum1 + kCos2 * sum2;
    const Complex mid2 = z[0] + kCos2 * sum1 + kCos1 * sum2;
    const Complex side1 = kSin1 * skew1 + kSin2 * skew2;
    const Complex side2 = kSin2 * skew1 - kSin1 * skew2;
    z[0] += sum1 + sum2;
    z[1] = mid1 + side1;
    z[2] = mid2 + side2;
    z[3] = mid2 - side2;
    z[4] = mid1 - side1;
}

}  // namespace

RealFft::RealFft(int n) : n_(n) {
    check<ArgumentError>(n > 0 && n <= kMaxSize, "[fft] expected a size of 1 to {}, got {}", kMaxSize, n);
    n_complex_ = static_cast<size_t>(n % 2 == 0 ? n / 2 : n);
    size_t rest = n_complex_;
    size_t stride = 1;
    for (const size_t radix : {4, 2, 3, 5}) {
        for (; rest % radix == 0; rest /= radix, stride *= radix) {
            stages_.push_back({radix, rest / radix, stride, stage_turns_.size()});
            for (size_t group = 0; group < rest / radix; ++group) {
                for (size_t k = 1; k < radix; ++k) stage_turns_.push_back(turn(group * k, rest));
            }
        }
    }
    check<ArgumentError>(rest == 1, "[fft] expected a size made of the factors 2, 3 and 5, got {}", n);
    for (size_t k = 0; k <= n_complex_; ++k) turns_.push_back(turn(k, static_cast<size_t>(n)));
}

void RealFft::check_sizes(size_t n_sample, size_t n_bins) const {
    check<ArgumentError>(n_sample == static_cast<size_t>(n_) && n_bins == static_cast<size_t>(n_bin()),
                         "[fft] expected {} samples and {} bins, got {} and {}", n_, n_bin(), n_sample,
                         n_bins);
}

// Stockham's order: the numbers leave the last stage sorted, at the price of a second buffer.
template <size_t kRadix>
void RealFft::run_stage(const Stage& stage, const Rows& in, Rows& out) const {
    const size_t step = stage.stride * stage.n_group;
    const double* __restrict in_re = in.re.data();
    const double* __restrict in_im = in.im.data();
    double* __restrict out_re = out.re.data();
    double* __restrict out_im = out.im.data();
    const Complex* turns = stage_turns_.data() + stage.turns;
    for (size_t group = 0; group < stage.n_group; ++group) {
        for (size_t i = 0; i < stage.stride; ++i) {
            Complex z[kRadix];
            for (size_t k = 0; k < kRadix; ++k) z[k] = {in_re[k * step + i], in_im[k * step + i]};
            butterfly(z);
            for (size_t k = 0; k < kRadix; ++k) {
                const Complex turned = k == 0 ? z[0] : product(z[k], turns[k - 1]);
                out_re[k * stage.stride + i] = turned.real();
                out_im[k * stage.stride + i] = turned.imag();
            }
        }
        in_re += stage.stride;
        in_im += stage.stride;
        out_re += kRadix * stage.stride;
        out_im += kRadix * stage.stride;
        turns += kRadix - 1;
    }
}

void RealFft::transform(Rows& numbers) const {
    Rows other(n_complex_);
    for (const Stage& stage : stages_) {
        if (stage.radix == 2) run_stage<2>(stage, numbers, other);
        if (stage.radix == 3) run_stage<3>(stage, numbers, other);
        if (stage.radix == 4) run_stage<4>(stage, numbers, other);
        if (stage.radix == 5) run_stage<5>(stage, numbers, other);
        std::swap(numbers, other);
    }
}

void RealFft::forward(std::span<const float> samples, std::span<std::complex<float>> bins) const {
    check_sizes(samples.size(), bins.size());
    const size_t n = n_complex_;
    Rows z(n);
    if (n_ % 2 != 0) {
        for (size_t j = 0; j < n; ++j) z.set(j, samples[j]);
        transform(z);
        for (size_t k = 0; k < bins.size(); ++k) bins[k] = narrow(z[k]);
        return;
    }
    for (size_t j = 0; j < n; ++j) z.set(j, {samples[2 * j], samples[2 * j + 1]});
    transform(z);
    // Bin k of the even samples is (z[k] + conj z[n - k]) / 2, of the odd ones (z[k] - conj z[n - k]) / 2i.
    for (size_t k = 0; k <= n; ++k) {
        const Complex here = z[k == n ? 0 : k];
        const Complex there = std::conj(z[k == 0 ? 0 : n - k]);
        bins[k] = narrow(0.5 * (here + there) + product(0.5 * quarter_back(here - there), turns_[k]));
    }
}

void RealFft::inverse(std::span<const std::complex<float>> bins, std::span<float> samples) const {
    check_sizes(samples.size(), bins.size());
    const size_t n = n_complex_;
    const bool is_even = n_ % 2 == 0;
    const double scale = 1.0 / static_cast<double>(n);
    const auto bin = [&](size_t k) -> Complex {
        const bool is_real = k == 0 || (is_even && k == n);
        return {scale * bins[k].real(), is_real ? 0.0 : scale * bins[k].imag()};
    };
    // The transform of conjugates is the conjugate of the transform that turns the other way.
    Rows z(n);
    if (!is_even) {
        for (size_t k = 0; k < n; ++k) z.set(k, k < bins.size() ? std::conj(bin(k)) : bin(n - k));
        transform(z);
        for (size_t j = 0; j < n; ++j) samples[j] = static_cast<float>(z.re[j]);
        return;
    }
    for (size_t k = 0; k < n; ++k) {
        const Complex here = std::conj(bin(k));
        const Complex there = bin(n - k);
        z.set(k, 0.5 * (here + there) + product(0.5 * quarter_back(here - there), turns_[k]));
    }
    transform(z);
    for (size_t j = 0; j < n; ++j) {
        samples[2 * j] = static_cast<float>(z.re[j]);
        samples[2 * j + 1] = static_cast<float>(-z.im[j]);
    }
}

}  // namespace minicpmo
