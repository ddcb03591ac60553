#include "kernels/int8_rows.h"

#include <limits>

#include "kernels/avx512.h"
#include "kernels/cpu_features.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// Symmetric rounding to nearest, as ggml quantises activations, but with a scale per 32 values for every
// weight type.
MINICPMO_TARGET_AVX512 void quantize_row(const float* x, char* out, int64_t n_in) {
    auto* values = reinterpret_cast<int8_t*>(out);
    auto* scales = reinterpret_cast<float*>(out + n_in);
    float* sums16 = scales + n_in / 32;
    float* sums32 = sums16 + n_in / 16;
    for (int64_t block = 0; block < n_in / kInt8Block; ++block) {
        const __m512 low = _mm512_loadu_ps(x + block * 32);
        const __m512 high = _mm512_loadu_ps(x + block * 32 + 16);
        const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        // The maximum may pass over what is no number, the scale must not.
        const bool is_number = _mm512_cmp_ps_mask(low, high, _CMP_UNORD_Q) == 0;
        const float scale = is_number ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
        const __m512 inverse = _mm512_set1_ps(largest > 0.0F ? 127.0F / largest : 0.0F);
        // What is no number converts to the least integer; the bound keeps its sums from overflowing.
        const __m512i least = _mm512_set1_epi32(-127);
        const __m512i q_low = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)), least);
        const __m512i q_high = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)), least);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(values + block * 32), _mm512_cvtsepi32_epi8(q_low));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(values + block * 32 + 16), _mm512_cvtsepi32_epi8(q_high));
        scales[block] = scale;
        sums16[2 * block] = scale * static_cast<float>(_mm512_reduce_add_epi32(q_low));
        sums16[2 * block + 1] = scale * static_cast<float>(_mm512_reduce_add_epi32(q_high));
        sums32[block] = scale * static_cast<float>(_mm512_reduce_add_epi32(_mm512_add_epi32(q_low, q_high)));
    }
}

void compute_int8_rows(ggml_tensor* dst, int ith, int nth, void*) {
    const ggml_tensor* x = dst->src[0];
    const int64_t n_in = x->ne[0];
    for (int64_t row = ith; row < x->ne[1]; row += nth) {
        quantize_row(reinterpret_cast<const float*>(static_cast<const char*>(x->data) +
                                                    row * static_cast<int64_t>(x->nb[1])),
                     static_cast<char*>(dst->data) + row * static_cast<int64_t>(dst->nb[1]), n_in);
    }
}

}  // namespace

Tensor int8_rows(Graph& g, Tensor x) {
    return g.shared(x, [&] {
        const int64_t row_bytes = x->ne[0] + 4 * (x->ne[0] / 32 + x->ne[0] / 16 + x->ne[0] / 32);
        Tensor sources[] = {x};
        return ggml_custom_4d(g.ctx(), GGML_TYPE_I8, row_bytes, x->ne[1], 1, 1, sources, 1, compute_int8_rows,
                              GGML_N_TASKS_MAX, nullptr);
    });
}

#else

Tensor int8_rows(Graph&, Tensor x) { return x; }

#endif

}  // namespace minicpmo::kernels
