#include "kernels/int8/int8_kernels.h"

#if MINICPMO_HAS_ARM_CODE

#define MINICPMO_TARGET  // CMakeLists.txt sets it for the whole file
#include "kernels/int8/neon_lanes.h"
#include "kernels/int8/panel_tiles.h"

namespace minicpmo::kernels {

namespace {

struct Dotprod : NeonLanes {
    template <int kLaneOfX, int T>
    static void dot_word(const uint8_t* q, const int8x16_t (&x)[T], Ints (&sum)[kGroup][T]) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroup; ++g) {
            const int8x16_t w = load(q + g * 16);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) sum[g][t] = vdotq_laneq_s32(sum[g][t], w, x[t], kLaneOfX);
        }
    }

    template <int T, int kSub, int kBits, bool kStarts>
    static void dot(const uint8_t* q, const int8_t* x, const int32_t* start, size_t stride,
                    Ints (&sum)[kGroup][T]) {
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
            const Ints first = fill(kStarts ? further(start, static_cast<size_t>(t) * stride) : 0);
#pragma GCC unroll 4
            for (int g = 0; g < kGroup; ++g) sum[g][t] = first;
        }
#pragma GCC unroll 2
        for (int k = 0; k < kSub; k += 16, q += 256) {
            int8x16_t a[T];
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) a[t] = vld1q_s8(x + static_cast<size_t>(t) * stride + k);
            dot_word<0>(q, a, sum);
            dot_word<1>(q + 64, a, sum);
            dot_word<2>(q + 128, a, sum);
            dot_word<3>(q + 192, a, sum);
        }
    }
};

}  // namespace

const Int8Kernels kDotprodInt8 = kernels_of<Dotprod>(4, nullptr);

}  // namespace minicpmo::kernels

#endif
