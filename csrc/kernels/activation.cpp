#include "kernels/activation.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace minicpmo::kernels {

namespace {

#if defined(__x86_64__) && defined(__linux__)
#define MINICPMO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MINICPMO_CLONES
#endif

constexpr float kLog2E = 1.44269504F;
constexpr float kLn2High = 0.693359375F;  // exact in 9 bits, so that n * kLn2High rounds nothing
constexpr float kLn2Low = -2.12194440e-4F;

// exp(x) for |x| <= 87, within 2 ulp: x = n ln 2 + r, a degree-7 polynomial in r, n put into the exponent
// bits.
inline float exp_bounded(float x) {
    const float n = (x * kLog2E + 12582912.0F) - 12582912.0F;  // adding 1.5 * 2^23 rounds to an integer
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

// gelu_tanh(x) = x * sigmoid(2 u), since (1 + tanh u) / 2 = sigmoid(2 u).
MINICPMO_CLONES void gelu_tanh_row(const float* x, float* y, int64_t n) {
    constexpr float kSlope = 2.0F * 0.7978845608028654F;
    for (int64_t i = 0; i < n; ++i) {
        const float v = x[i];
        const float u = kSlope * v * (1.0F + 0.044715F * v * v);
        const float bounded = u < -87.0F ? -87.0F : (u > 87.0F ? 87.0F : u);
        y[i] = v / (1.0F + exp_bounded(-bounded));
    }
}

void compute_gelu_tanh(ggml_tensor* dst, const ggml_tensor* x, int ith, int nth, void*) {
    const int64_t n = ggml_nelements(x);
    const int64_t per_thread = GGML_PAD((n + nth - 1) / nth, 64);
    const int64_t begin = std::min(n, per_thread * ith);
    const int64_t end = std::min(n, begin + per_thread);
    gelu_tanh_row(static_cast<const float*>(x->data) + begin, static_cast<float*>(dst->data) + begin,
                  end - begin);
}

}  // namespace

Tensor gelu_tanh(Graph& g, Tensor x) {
    if (!g.on_cpu()) return ggml_gelu(g.ctx(), x);
    return ggml_map_custom1_inplace(g.ctx(), x, compute_gelu_tanh, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace minicpmo::kernels
