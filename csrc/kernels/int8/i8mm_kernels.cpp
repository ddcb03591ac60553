#include "kernels/int8/int8_kernels.h"

#if MINICPMO_HAS_ARM_CODE

#define MINICPMO_TARGET  // CMakeLists.txt sets it for the whole file
#include "kernels/int8/neon_lanes.h"
#include "kernels/int8/panel_tiles.h"

namespace minicpmo::kernels {

namespace {

// The instruction multiplies 2 rows of 8 weights with 8 activations of 2 tokens.
struct I8mm : NeonLanes {
    template <int T, int kSub, int kBits, bool kStarts>
    static void dot(const uint8_t* q, const int8_t* x, const int32_t* start, size_t stride,
                    Ints (&sum)[kGroup][T]) {
        constexpr int kPairs = (T + 1) / 2;  // of tokens; an odd one is taken twice
        Ints both[2 * kGroup][kPairs];       // [2 rows][2 tokens]
#pragma GCC unroll 8
        for (int r = 0; r < 2 * kGroup; ++r) {
#pragma GCC unroll 2
            for (int p = 0; p < kPairs; ++p) both[r][p] = vdupq_n_s32(0);
        }
#pragma GCC unroll 4
        for (int k = 0; k < kSub; k += 8, q += 128) {
            int8x16_t a[kPairs];
#pragma GCC unroll 2
            for (int p = 0; p < kPairs; ++p) {
                const int second = 2 * p + 1 < T ? 2 * p + 1 : 2 * p;
                a[p] = vcombine_s8(vld1_s8(x + static_cast<size_t>(2 * p) * stride + k),
                                   vld1_s8(x + static_cast<size_t>(second) * stride + k));
            }
#pragma GCC unroll 4
            for (int g = 0; g < kGroup; ++g) {
                const int32x4_t first_word = vreinterpretq_s32_s8(load(q + g * 16));
                const int32x4_t second_word = vreinterpretq_s32_s8(load(q + 64 + g * 16));
                const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(first_word, second_word));
                const int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(first_word, second_word));
#pragma GCC unroll 2
                for (int p = 0; p < kPairs; ++p) {
                    both[2 * g][p] = vmmlaq_s32(both[2 * g][p], low, a[p]);
                    both[2 * g + 1][p] = vmmlaq_s32(both[2 * g + 1][p], high, a[p]);
                }
            }
        }
#pragma GCC unroll 4
        for (int g = 0; g < kGroup; ++g) {
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                const Ints low = both[2 * g][t / 2];
                const Ints high = both[2 * g + 1][t / 2];
                sum[g][t] = t % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
                if (kStarts) {
                    const Ints first = fill(further(start, static_cast<size_t>(t) * stride));
                    sum[g][t] = vaddq_s32(sum[g][t], first);
                }
            }
        }
    }
};

}  // namespace

const Int8Kernels kI8mmInt8 = kernels_of<I8mm>(4, nullptr);

}  // namespace minicpmo::kernels

#endif
