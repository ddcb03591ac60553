#pragma once
// Avx2: registers of 8 words for panel_formats.h and panel_tiles.h, with everything but the integer dot
// products, in which AVX2 by itself and AVX-VNNI differ.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace minicpmo::kernels {

namespace {

struct Avx2Lanes {
    using Ints = __m256i;
    using Floats = __m256;
    static constexpr int kLane = 8;
    static constexpr int kGroup = 2;

    MINICPMO_TARGET static Ints fill(int32_t v) { return _mm256_set1_epi32(v); }
    MINICPMO_TARGET static Floats fill(float v) { return _mm256_set1_ps(v); }
    MINICPMO_TARGET static Ints bit_and(Ints a, Ints b) { return _mm256_and_si256(a, b); }
    MINICPMO_TARGET static Ints bit_or(Ints a, Ints b) { return _mm256_or_si256(a, b); }
    MINICPMO_TARGET static Ints bit_xor(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
    MINICPMO_TARGET static Ints shift_left(Ints a, unsigned n) {
        return _mm256_slli_epi32(a, static_cast<int>(n));
    }
    MINICPMO_TARGET static Ints shift_right(Ints a, unsigned n) {
        return _mm256_srli_epi32(a, static_cast<int>(n));
    }
    MINICPMO_TARGET static Ints shift_right_signed(Ints a, unsigned n) {
        return _mm256_srai_epi32(a, static_cast<int>(n));
    }
    MINICPMO_TARGET static Ints max(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
    MINICPMO_TARGET static int32_t reduce_add(Ints a) {
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
    }
    MINICPMO_TARGET static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    MINICPMO_TARGET static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    MINICPMO_TARGET static void store(uint8_t* p, Ints v) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
    }
    MINICPMO_TARGET static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    MINICPMO_TARGET static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    MINICPMO_TARGET static Floats abs(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
    MINICPMO_TARGET static float reduce_max(Floats a) {
        __m128 most = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        most = _mm_max_ps(most, _mm_movehl_ps(most, most));
        return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
    }
    MINICPMO_TARGET static Floats add_product(Floats sum, Floats a, Floats b) {
        return _mm256_fmadd_ps(a, b, sum);
    }
    MINICPMO_TARGET static Floats subtract_product(Floats sum, Floats a, Floats b) {
        return _mm256_fnmadd_ps(a, b, sum);
    }
    MINICPMO_TARGET static bool are_numbers(const Floats (&v)[4]) {
        const __m256 first = _mm256_cmp_ps(v[0], v[1], _CMP_UNORD_Q);
        const __m256 second = _mm256_cmp_ps(v[2], v[3], _CMP_UNORD_Q);
        return _mm256_movemask_ps(_mm256_or_ps(first, second)) == 0;
    }
    MINICPMO_TARGET static Floats add_to_exponent(Floats a, Ints exponent) {
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
    }
    // Two products of 16 bits for each word.
    MINICPMO_TARGET static Ints pair_products(Ints a, Ints b) { return _mm256_madd_epi16(a, b); }
    MINICPMO_TARGET static Ints add_pair_products(Ints sum, Ints a, Ints b) {
        return _mm256_add_epi32(sum, pair_products(a, b));
    }
    MINICPMO_TARGET static Ints round(Floats a) { return _mm256_cvtps_epi32(a); }
    MINICPMO_TARGET static Floats to_float(Ints a) { return _mm256_cvtepi32_ps(a); }
    // The lower 16 bits of each word.
    MINICPMO_TARGET static Floats half_to_float(Ints words) {
        const Ints low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
        const Ints packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
        return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
    }
    MINICPMO_TARGET static void store_bytes(int8_t* p, const Ints (&q)[4]) {
        const Ints bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        const Ints order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(bytes, order));
    }

    // Lane i: the 32-bit word at rows[i] + offset.
    MINICPMO_TARGET static Ints gather_word(const char* const* rows, size_t offset) {
        int32_t w[kLane];
        for (int i = 0; i < kLane; ++i) __builtin_memcpy(w + i, rows[i] + offset, 4);
        return _mm256_setr_epi32(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
    }

    // Each half of the registers by itself: r[i] word j becomes r[j] word i.
    MINICPMO_TARGET static void transpose_halves(Ints* r) {
        const Ints a = _mm256_unpacklo_epi32(r[0], r[1]);
        const Ints b = _mm256_unpackhi_epi32(r[0], r[1]);
        const Ints c = _mm256_unpacklo_epi32(r[2], r[3]);
        const Ints d = _mm256_unpackhi_epi32(r[2], r[3]);
        r[0] = _mm256_unpacklo_epi64(a, c);
        r[1] = _mm256_unpackhi_epi64(a, c);
        r[2] = _mm256_unpacklo_epi64(b, d);
        r[3] = _mm256_unpackhi_epi64(b, d);
    }

    // Lane i of words[j]: the word j of the 16 bytes at rows[i] + offset.
    MINICPMO_TARGET static void load_four(const char* const* rows, size_t offset, Ints* words) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const auto* low = reinterpret_cast<const __m128i*>(rows[i] + offset);
            const auto* high = reinterpret_cast<const __m128i*>(rows[i + 4] + offset);
            words[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)),
                                               _mm_loadu_si128(high), 1);
        }
        transpose_halves(words);
    }

    // Lane i of words[j]: the word j of the 32 bytes at rows[i] + offset.
    MINICPMO_TARGET static void load_transposed(const char* const* rows, size_t offset, Ints* words) {
        load_four(rows, offset, words);
        load_four(rows, offset + 16, words + 4);
    }

    // Four bytes, for all rows.
    MINICPMO_TARGET static Ints fill_four(const void* p) {
        int32_t four;
        __builtin_memcpy(&four, p, 4);
        return _mm256_set1_epi32(four);
    }
    MINICPMO_TARGET static Ints load(const uint8_t* p) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    }
    MINICPMO_TARGET static Ints load(const int16_t* p) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    }
};

}  // namespace

}  // namespace minicpmo::kernels
