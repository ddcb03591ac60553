#include "kernels/int8/int8_kernels.h"

#if MINICPMO_HAS_X86_CODE

#define MINICPMO_TARGET __attribute__((target("avx2,fma,f16c")))
#include "kernels/int8/avx2_lanes.h"
#include "kernels/int8/panel_tiles.h"

namespace minicpmo::kernels {

namespace {

// The instruction that multiplies bytes adds two products in 16 bits and saturates: with values of at most
// 127, sums of two reach 3810 for weights of 4 bits, 7874 for 5 and 16002 for 6, so that 8, 4 and 2 of them
// fit into 16 bits before they are widened. Signed weights of 8 bits lend their sign to the activations: two
// products reach 2 * 128 * 127 = 32512, and each sum is widened.
struct Avx2 : Avx2Lanes {
    static constexpr int kToken = 5;
    static constexpr bool kSignedBytes = true;

    // Sums are not to be put off: the compiler would keep all products for later, and has no registers for
    // them.
    MINICPMO_TARGET static Ints now(Ints sum) {
        asm("" : "+x"(sum));
        return sum;
    }

    template <int T>
    MINICPMO_TARGET static void dot_signed(const uint8_t* q, const int8_t* x, size_t stride,
                                           Ints (&sum)[kGroup][T]) {
        const Ints one = _mm256_set1_epi16(1);
#pragma GCC unroll 8
        for (int word = 0; word < 8; ++word) {
#pragma GCC unroll 2
            for (int g = 0; g < kGroup; ++g) {
                const Ints w = load(q + word * 64 + g * 32);
                const Ints size = _mm256_abs_epi8(w);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) {
                    const Ints a = fill_four(x + static_cast<size_t>(t) * stride + word * 4);
                    const Ints pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(a, w));
                    const Ints four = _mm256_madd_epi16(pairs, one);
                    sum[g][t] = now(word == 0 ? four : _mm256_add_epi32(sum[g][t], four));
                }
            }
        }
    }

    template <int T, int kSub, int kBits, bool kStarts>
    MINICPMO_TARGET static void dot(const uint8_t* q, const int8_t* x, const int32_t* start, size_t stride,
                                    Ints (&sum)[kGroup][T]) {
        if constexpr (kBits == 8) return dot_signed(q, x, stride, sum);
        constexpr int kWords = kSub / 4;
        constexpr int kFit = kBits == 4 ? 8 : kBits == 5 ? 4 : 2;
        const Ints one = _mm256_set1_epi16(1);
#pragma GCC unroll 8
        for (int first = 0; first < kWords; first += kFit) {
            Ints pairs[kGroup][T];
#pragma GCC unroll 8
            for (int word = first; word < first + kFit; ++word) {
                const Ints w0 = load(q + word * 64);
                const Ints w1 = load(q + word * 64 + 32);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) {
                    const Ints a = fill_four(x + static_cast<size_t>(t) * stride + word * 4);
                    const Ints p0 = _mm256_maddubs_epi16(w0, a);
                    const Ints p1 = _mm256_maddubs_epi16(w1, a);
                    pairs[0][t] = now(word == first ? p0 : _mm256_add_epi16(pairs[0][t], p0));
                    pairs[1][t] = now(word == first ? p1 : _mm256_add_epi16(pairs[1][t], p1));
                }
            }
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
                for (int g = 0; g < kGroup; ++g) {
                    const Ints four = _mm256_madd_epi16(pairs[g][t], one);
                    if (first != 0)
                        sum[g][t] = _mm256_add_epi32(sum[g][t], four);
                    else if (kStarts)
                        sum[g][t] =
                            _mm256_add_epi32(fill(further(start, static_cast<size_t>(t) * stride)), four);
                    else
                        sum[g][t] = four;
                }
            }
        }
    }
};

}  // namespace

const Int8Kernels kAvx2Int8 = kernels_of<Avx2>(4, nullptr);

}  // namespace minicpmo::kernels

#endif
