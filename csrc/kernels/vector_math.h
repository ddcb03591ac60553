#pragma once
// What loops over floats share that the compiler turns into vectors, for each processor its own version.
// Reference: Cephes, expf.

#include <bit>
#include <cstdint>

namespace minicpmo::kernels {

// Macros, because an attribute has no other name.
// The resolvers run before the thread sanitizer does.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define MINICPMO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MINICPMO_CLONES
#endif

inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2High = 0.693359375F;  // exact in 9 bits, so that n * kLn2High rounds nothing
inline constexpr float kLn2Low = -2.12194440e-4F;

// exp(x + low) for |x| <= 87 and |low| < 0.1, within 2 ulp: x + low = n ln 2 + r, a degree-7 polynomial in r,
// n put into the exponent bits.
inline float exp_bounded(float x, float low = 0.0F) {
    const float n = (x * kLog2E + 12582912.0F) - 12582912.0F;  // adding 1.5 * 2^23 rounds to an integer
    const float r = ((x - n * kLn2High) - n * kLn2Low) + low;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

}  // namespace minicpmo::kernels
