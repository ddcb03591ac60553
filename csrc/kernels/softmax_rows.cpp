#include "kernels/softmax_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/avx512.h"

#if MINICPMO_HAS_AVX512_CODE

namespace minicpmo::kernels {

namespace {

constexpr int64_t kLane = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline __mmask16 first_lanes(int64_t n) {
    return n >= kLane ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << n) - 1U);
}

// exp(x) for x <= 0 within 2 ulp, 0 for minus infinity: x = n ln 2 + r, a polynomial in r, n in the exponent.
MINICPMO_TARGET_AVX512 inline __m512 exp_negative(__m512 x) {
    // Below -104 the result is 0; an infinite n would make r a NaN. A NaN itself is kept.
    x = _mm512_max_ps(_mm512_set1_ps(-110.0F), x);
    constexpr int kToNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), kToNearest);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1F));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0F)), n);
}

// scores <- scale * scores + mask; returns the largest.
MINICPMO_TARGET_AVX512 float scale_and_mask(float* scores, int64_t n, float scale, const ggml_fp16_t* mask) {
    const __m512 hidden = _mm512_set1_ps(-kInfinity);
    const __m512 factor = _mm512_set1_ps(scale);
    __m512 largest = hidden;
    for (int64_t i = 0; i < n; i += kLane) {
        const __mmask16 lanes = first_lanes(n - i);
        __m512 score = _mm512_maskz_loadu_ps(lanes, scores + i);
        if (mask == nullptr) {
            score = _mm512_mul_ps(score, factor);
        } else {
            score =
                _mm512_fmadd_ps(score, factor, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, mask + i)));
        }
        _mm512_mask_storeu_ps(scores + i, lanes, score);
        largest = _mm512_mask_max_ps(largest, lanes, largest, score);
    }
    return _mm512_reduce_max_ps(largest);
}

// scores <- exp(scores - max); returns their sum.
MINICPMO_TARGET_AVX512 float exponentiate(float* scores, int64_t n, float max) {
    const __m512 shift = _mm512_set1_ps(max);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += kLane) {
        const __mmask16 lanes = first_lanes(n - i);
        const __m512 score = _mm512_maskz_loadu_ps(lanes, scores + i);
        const __m512 weight = _mm512_maskz_mov_ps(lanes, exp_negative(_mm512_sub_ps(score, shift)));
        _mm512_mask_storeu_ps(scores + i, lanes, weight);
        sum = _mm512_add_ps(sum, weight);
    }
    return _mm512_reduce_add_ps(sum);
}

}  // namespace

float RunningSoftmax::advance(float* scores, int64_t n, float scale, const ggml_fp16_t* mask) {
    const float largest = std::max(max, scale_and_mask(scores, n, scale, mask));
    // While everything is hidden the maximum is minus infinity, which cannot be subtracted from itself.
    const float shift = largest == -kInfinity ? 0.0F : largest;
    const float factor = largest == max ? 1.0F : std::exp(max - shift);
    sum = sum * factor + exponentiate(scores, n, shift);
    max = largest;
    return factor;
}

MINICPMO_TARGET_AVX512 void scale_row(float* row, int64_t n, float factor) {
    for (int64_t i = 0; i < n; ++i) row[i] *= factor;
}

MINICPMO_TARGET_AVX512 VisibleRange visible_range(const ggml_fp16_t* mask, int64_t n) {
    constexpr int64_t kHalves = 32;
    const __m512i hidden = _mm512_set1_epi16(static_cast<int16_t>(0xfc00));  // minus infinity
    const auto visible = [&](int64_t i) MINICPMO_TARGET_AVX512 {
        const __mmask32 lanes = n - i >= kHalves ? ~__mmask32{0} : (__mmask32{1} << (n - i)) - 1;
        return _mm512_mask_cmpneq_epi16_mask(lanes, _mm512_maskz_loadu_epi16(lanes, mask + i), hidden);
    };
    int64_t begin = 0;
    while (begin < n && visible(begin) == 0) begin += kHalves;
    if (begin >= n) return {};
    int64_t end = (n - 1) / kHalves * kHalves;
    while (visible(end) == 0) end -= kHalves;
    return {begin + std::countr_zero(visible(begin)), end + 32 - std::countl_zero(visible(end))};
}

}  // namespace minicpmo::kernels

#endif
