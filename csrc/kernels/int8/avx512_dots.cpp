#include "kernels/int8/avx512_dots.h"

#include "kernels/avx512.h"

#if MINICPMO_HAS_X86_CODE

namespace minicpmo::kernels {

namespace {

// Asks for the memory of a block some rows ahead: the far distance is what keeps the memory bus busy
// (measured on Zen 5: 20 to 30 % over no request, half of that at 2 KiB). Past the end of the file a request
// is ignored.
template <int kLines>
inline void prefetch(const void* block) {
    constexpr int kDistance = 8192;  // bytes
#pragma GCC unroll 4
    for (int line = 0; line < kLines; ++line)
        __builtin_prefetch(static_cast<const char*>(block) + kDistance + 64 * line);
}

// Two 32-byte halves as one register.
MINICPMO_TARGET_AVX512 inline __m512i join(const int8_t* low, const int8_t* high) {
    const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
    return _mm512_inserti64x4(a, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)), 1);
}

// The eight six-bit scales of a K block as bytes 0..7, its minima as bytes 8..15.
MINICPMO_TARGET_AVX512 inline __m128i scales_and_minima(const uint8_t* packed) {
    uint32_t a[3];
    __builtin_memcpy(a, packed, 12);
    const uint32_t low_mask = 0x3f3f3f3fU;
    const uint32_t scale_high = (a[2] & 0x0f0f0f0fU) | (((a[0] >> 6) & 0x03030303U) << 4);
    const uint32_t min_high = ((a[2] >> 4) & 0x0f0f0f0fU) | (((a[1] >> 6) & 0x03030303U) << 4);
    return _mm_set_epi32(static_cast<int>(min_high), static_cast<int>(a[1] & low_mask),
                         static_cast<int>(scale_high), static_cast<int>(a[0] & low_mask));
}

// Integers times 2^e, e in the place of the exponents of float32.
MINICPMO_TARGET_AVX512 inline __m256 shifted(__m256i values, const int32_t* exponents) {
    const __m256i e = _mm256_srli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(exponents)), 23);
    return _mm256_cvtepi32_ps(_mm256_sllv_epi32(values, e));
}

MINICPMO_TARGET_AVX512 float dot_q4_k(const char* row, const char* activations, int64_t n_in) {
    const SuperblockRow x(activations, n_in);
    const __m512i nibble = _mm512_set1_epi8(15);
    // A 64-byte load of nibbles holds sub-blocks a and a + 2 (low halves) and a + 1, a + 3 (high halves).
    const __m512i pick[4] = {_mm512_set_epi32(2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0),
                             _mm512_set_epi32(3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
                             _mm512_set_epi32(6, 6, 6, 6, 6, 6, 6, 6, 4, 4, 4, 4, 4, 4, 4, 4),
                             _mm512_set_epi32(7, 7, 7, 7, 7, 7, 7, 7, 5, 5, 5, 5, 5, 5, 5, 5)};
    __m512 total = _mm512_setzero_ps();
    __m128 minima = _mm_setzero_ps();
    const auto* b = reinterpret_cast<const BlockQ4K*>(row);
    for (int64_t block = 0; block < n_in / 256; ++block, ++b) {
        prefetch<2>(b);
        const int8_t* v = x.values + block * 256;
        const __m512i a[4] = {join(v, v + 64), join(v + 32, v + 96), join(v + 128, v + 192),
                              join(v + 160, v + 224)};
        const __m128i packed = scales_and_minima(b->scales);
        const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(_cvtsh_ss(b->d) * x.scales[block]),
                                           shifted(_mm256_cvtepu8_epi32(packed), x.exponents + block * 8));
        const __m128i min = _mm_cvtepu8_epi16(_mm_srli_si128(packed, 8));
        const __m128i x_sum = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x.sums + block * 8));
        minima = _mm_fmadd_ps(_mm_cvtepi32_ps(_mm_madd_epi16(min, x_sum)),
                              _mm_set1_ps(_cvtsh_ss(b->d_min) * x.scales[block]), minima);
        const __m512i q0 = _mm512_loadu_si512(b->qs);
        const __m512i q1 = _mm512_loadu_si512(b->qs + 64);
        const __m512i nibbles[4] = {
            _mm512_and_si512(q0, nibble), _mm512_and_si512(_mm512_srli_epi16(q0, 4), nibble),
            _mm512_and_si512(q1, nibble), _mm512_and_si512(_mm512_srli_epi16(q1, 4), nibble)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), nibbles[i], a[i]);
            const __m512 scales = _mm512_permutexvar_ps(pick[i], _mm512_castps256_ps512(scale));
            total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, total);
        }
    }
    return _mm512_reduce_add_ps(total) - _mm512_reduce_add_ps(_mm512_zextps128_ps512(minima));
}

MINICPMO_TARGET_AVX512 float dot_q6_k(const char* row, const char* activations, int64_t n_in) {
    const SuperblockRow x(activations, n_in);
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i high_bits = _mm512_set1_epi8(0x30);
    const __m512i two_lanes = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    // Four lanes of a dot product belong to one sub-block of 16.
    const __m512i four_lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    // Bits 0-1 and 2-3 of qh move to bits 4-5 for the low nibbles; bits 4-5 and 6-7 for the high ones.
    const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    __m512 total = _mm512_setzero_ps();
    const auto* b = reinterpret_cast<const BlockQ6K*>(row);
    for (int64_t block = 0; block < n_in / 256; ++block, ++b) {
        prefetch<4>(b);
        const int8_t* v = x.values + block * 256;
        const __m512i exponents = _mm512_permutexvar_epi32(
            two_lanes, _mm512_castsi256_si512(
                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.exponents + block * 8))));
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b->scales));
        const __m512i shifted =
            _mm512_sllv_epi32(_mm512_cvtepi8_epi32(bytes), _mm512_srli_epi32(exponents, 23));
        const __m512 scale =
            _mm512_mul_ps(_mm512_cvtepi32_ps(shifted), _mm512_set1_ps(_cvtsh_ss(b->d) * x.scales[block]));
        total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(x.less32 + block * 16)), scale, total);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const __m512i ql = _mm512_loadu_si512(b->ql + 64 * half);
            const __m512i qh = _mm512_broadcast_i64x4(
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b->qh + 32 * half)));
            const __m512i low = _mm512_or_si512(_mm512_and_si512(ql, nibble),
                                                _mm512_and_si512(_mm512_sllv_epi16(qh, left), high_bits));
            const __m512i high = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(ql, 4), nibble),
                                                 _mm512_and_si512(_mm512_srlv_epi16(qh, right), high_bits));
            const __m512i parts[2] = {low, high};
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                const __m512i a = _mm512_loadu_si512(v + 128 * half + 64 * i);
                const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), parts[i], a);
                const __m512i lanes = _mm512_add_epi32(four_lanes, _mm512_set1_epi32(8 * half + 4 * i));
                total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(lanes, scale), total);
            }
        }
    }
    return _mm512_reduce_add_ps(total);
}

// Two blocks, the products of each times its scale. The instruction wants one side unsigned, so 128 is added
// to the weights and what that adds to the sums is taken away, in integers.
MINICPMO_TARGET_AVX512 inline __m512 add_signed(__m512 total, __m512i w, __m512i x, float low, float high) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(128));
    const __m512i raised = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(w, offset), x);
    const __m512i dot = _mm512_sub_epi32(raised, _mm512_dpbusd_epi32(_mm512_setzero_si512(), offset, x));
    const __m512 scale = _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(low), _mm512_set1_ps(high));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, total);
}

MINICPMO_TARGET_AVX512 inline __m512i half_register(const int8_t* low) {
    return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
}

MINICPMO_TARGET_AVX512 float dot_q8_0(const char* row, const char* activations, int64_t n_in) {
    const BlockRow x(activations, n_in);
    __m512 total = _mm512_setzero_ps();
    const auto* b = reinterpret_cast<const BlockQ8_0*>(row);
    const int64_t n_block = n_in / 32;
    int64_t i = 0;
    for (; i + 1 < n_block; i += 2, b += 2) {
        prefetch<2>(b);
        total = add_signed(total, join(b[0].qs, b[1].qs), _mm512_loadu_si512(x.values + i * 32),
                           _cvtsh_ss(b[0].d) * x.scales[i], _cvtsh_ss(b[1].d) * x.scales[i + 1]);
    }
    if (i < n_block) {
        total = add_signed(total, half_register(b->qs), half_register(x.values + i * 32),
                           _cvtsh_ss(b->d) * x.scales[i], 0.0F);
    }
    return _mm512_reduce_add_ps(total);
}

}  // namespace

DotFunction avx512_dot(BlockType type) {
    if (type == BlockType::q4_k) return dot_q4_k;
    if (type == BlockType::q6_k) return dot_q6_k;
    if (type == BlockType::q8_0) return dot_q8_0;
    return nullptr;
}

}  // namespace minicpmo::kernels

#endif
