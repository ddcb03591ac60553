#include "kernels/activation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/vector_math.h"

namespace minicpmo::kernels {

namespace {

// x, its size at most `limit`; no number becomes `limit`. By the bits, which order like the sizes: a
// comparison of floats becomes a branch, and the loop around it would not be vectorised.
inline float limited(float x, float limit) {
    constexpr uint32_t kSign = 0x80000000U;
    const auto bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>(std::min(bits & ~kSign, std::bit_cast<uint32_t>(limit)) | (bits & kSign));
}

// gelu_tanh(x) = x * sigmoid(2 u), since (1 + tanh u) / 2 = sigmoid(2 u).
MINICPMO_CLONES void gelu_tanh_row(const float* x, float* y, int64_t n) {
    constexpr float kSlope = 2.0F * 0.7978845608028654F;
    for (int64_t i = 0; i < n; ++i) {
        const float v = x[i];
        const float u = kSlope * v * (1.0F + 0.044715F * v * v);
        y[i] = v / (1.0F + exp_bounded(-limited(u, 87.0F)));
    }
}

constexpr float kFarthest = 12.8F;  // beyond, the tail is below 1e-37 and would leave the normal floats

// The normal distribution above a, 0 <= a <= kFarthest: exp(-a^2 / 2) times a rational function, fitted to
// erfcx(a / sqrt 2) / 2 for the least relative error, 3e-8 with these coefficients.
inline float upper_tail(float a) {
    // The exponential turns the rounding of a^2 into a relative error of the tail, so a^2 comes in two parts;
    // the square of 12 bits is exact.
    const float head = std::bit_cast<float>(std::bit_cast<uint32_t>(a) & 0xfffff000U);
    const float rest = (a - head) * (a + head);
    float p = 3.976650536e-3F;
    p = p * a + 3.968838230e-2F;
    p = p * a + 1.804247350e-1F;
    p = p * a + 4.344874322e-1F;
    p = p * a + 0.5F;
    float q = 9.967829101e-3F;
    q = q * a + 9.949186444e-2F;
    q = q * a + 4.620527625e-1F;
    q = q * a + 1.190807343F;
    q = q * a + 1.666859746F;
    q = q * a + 1.0F;
    return exp_bounded(-0.5F * head * head, -0.5F * rest) * (p / q);
}

// gelu_erf(x) = max(x, 0) - |x| * upper_tail(|x|), which never subtracts nearly equal numbers; the maximum is
// (x + |x|) / 2.
MINICPMO_CLONES void gelu_erf_row(const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const float v = x[i];
        const float size = std::fabs(v);
        const float near = limited(size, kFarthest);
        y[i] = (0.5F * v + 0.5F * size) - near * upper_tail(near);
    }
}

using RowFunction = void (*)(const float* x, float* y, int64_t n);

template <RowFunction kFunction>
void compute(ggml_tensor* dst, const ggml_tensor* x, int ith, int nth, void*) {
    const int64_t n = ggml_nelements(x);
    const int64_t per_thread = GGML_PAD((n + nth - 1) / nth, 64);
    const int64_t begin = std::min(n, per_thread * ith);
    const int64_t end = std::min(n, begin + per_thread);
    kFunction(static_cast<const float*>(x->data) + begin, static_cast<float*>(dst->data) + begin,
              end - begin);
}

}  // namespace

Tensor gelu_tanh(Graph& g, Tensor x) {
    if (!g.on_cpu()) return ggml_gelu(g.ctx(), x);
    return ggml_map_custom1_inplace(g.ctx(), x, compute<gelu_tanh_row>, GGML_N_TASKS_MAX, nullptr);
}

Tensor gelu_erf(Graph& g, Tensor x) {
    if (!g.on_cpu()) return ggml_gelu_erf(g.ctx(), x);
    return ggml_map_custom1_inplace(g.ctx(), x, compute<gelu_erf_row>, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace minicpmo::kernels
