#pragma once
// VnniLanes: registers of 8 words with an instruction that adds four products of bytes to each. `Dot` is its
// encoding: AVX-VNNI's, or the one of AVX-512 by which tests reach these kernels on processors with that
// alone.

#include "kernels/int8/avx2_lanes.h"

namespace minicpmo::kernels {

namespace {

template <class Dot>
struct VnniLanes : Avx2Lanes {
    static constexpr int kToken = 6;
    static constexpr bool kSignedBytes = false;

    template <int T, int kSub, int kBits, bool kStarts>
    MINICPMO_TARGET static void dot(const uint8_t* q, const int8_t* x, const int32_t* start, size_t stride,
                                    Ints (&sum)[kGroup][T]) {
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const size_t at = static_cast<size_t>(t) * stride;
            sum[0][t] = sum[1][t] = kStarts ? fill(further(start, at)) : _mm256_setzero_si256();
        }
#pragma GCC unroll 8
        for (int word = 0; word < kSub / 4; ++word) {
            const Ints w0 = load(q + word * 64);
            const Ints w1 = load(q + word * 64 + 32);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const Ints a = fill_four(x + static_cast<size_t>(t) * stride + word * 4);
                sum[0][t] = Dot::add(sum[0][t], w0, a);
                sum[1][t] = Dot::add(sum[1][t], w1, a);
            }
        }
    }
};

}  // namespace

}  // namespace minicpmo::kernels
