#pragma once
// Sixteen floats of any stored width as one register.

#include <ggml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/avx512.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

constexpr int64_t kLane = 16;  // floats of a register

inline __mmask16 first_lanes(int64_t n) {
    return static_cast<__mmask16>((1U << std::clamp<int64_t>(n, 0, kLane)) - 1U);
}

template <ggml_type kType>
constexpr int64_t kBytes = kType == GGML_TYPE_F32 ? 4 : 2;

// The lanes of `mask` from p, the rest zero and not read.
template <ggml_type kType>
MINICPMO_TARGET_AVX512 inline __m512 load(const std::byte* p, __mmask16 mask) {
    if constexpr (kType == GGML_TYPE_F32) return _mm512_maskz_loadu_ps(mask, p);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, p);
    if constexpr (kType == GGML_TYPE_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));  // bfloat16 is the upper half
}

#endif

}  // namespace minicpmo::kernels
