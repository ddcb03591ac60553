#include "kernels/avx512.h"

#if MINICPMO_HAS_X86_CODE

#include "kernels/int8/avx512_dots.h"

#define MINICPMO_TARGET MINICPMO_TARGET_AVX512
#include "kernels/int8/panel_tiles.h"

namespace minicpmo::kernels {

namespace {

struct Avx512 {
    using Ints = __m512i;
    using Floats = __m512;
    static constexpr int kLane = 16;
    static constexpr int kGroup = 2;
    static constexpr int kToken = 6;  // 2 x 6 integer and 2 x 6 float accumulators fill the registers
    static constexpr bool kSignedBytes = false;

    MINICPMO_TARGET static Ints fill(int32_t v) { return _mm512_set1_epi32(v); }
    MINICPMO_TARGET static Floats fill(float v) { return _mm512_set1_ps(v); }
    MINICPMO_TARGET static Ints bit_and(Ints a, Ints b) { return _mm512_and_si512(a, b); }
    MINICPMO_TARGET static Ints bit_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
    MINICPMO_TARGET static Ints bit_xor(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
    MINICPMO_TARGET static Ints shift_left(Ints a, unsigned n) { return _mm512_slli_epi32(a, n); }
    MINICPMO_TARGET static Ints shift_right(Ints a, unsigned n) { return _mm512_srli_epi32(a, n); }
    MINICPMO_TARGET static Ints shift_right_signed(Ints a, unsigned n) { return _mm512_srai_epi32(a, n); }
    MINICPMO_TARGET static Ints max(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
    MINICPMO_TARGET static int32_t reduce_add(Ints a) { return _mm512_reduce_add_epi32(a); }
    MINICPMO_TARGET static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    MINICPMO_TARGET static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    MINICPMO_TARGET static void store(uint8_t* p, Ints v) { _mm512_store_si512(p, v); }
    MINICPMO_TARGET static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    MINICPMO_TARGET static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    MINICPMO_TARGET static Floats abs(Floats a) { return _mm512_abs_ps(a); }
    MINICPMO_TARGET static float reduce_max(Floats a) { return _mm512_reduce_max_ps(a); }
    MINICPMO_TARGET static Floats add_product(Floats sum, Floats a, Floats b) {
        return _mm512_fmadd_ps(a, b, sum);
    }
    MINICPMO_TARGET static Floats subtract_product(Floats sum, Floats a, Floats b) {
        return _mm512_fnmadd_ps(a, b, sum);
    }
    MINICPMO_TARGET static bool are_numbers(const Floats (&v)[2]) {
        return _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q) == 0;
    }
    MINICPMO_TARGET static Floats add_to_exponent(Floats a, Ints exponent) {
        return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponent));
    }
    // Two products of 16 bits for each word.
    MINICPMO_TARGET static Ints pair_products(Ints a, Ints b) { return _mm512_madd_epi16(a, b); }
    MINICPMO_TARGET static Ints add_pair_products(Ints sum, Ints a, Ints b) {
        return _mm512_dpwssd_epi32(sum, a, b);
    }
    MINICPMO_TARGET static Ints load(const int16_t* p) { return _mm512_load_si512(p); }
    // Four bytes, for all rows.
    MINICPMO_TARGET static Ints fill_four(const void* p) {
        int32_t four;
        __builtin_memcpy(&four, p, 4);
        return _mm512_set1_epi32(four);
    }
    MINICPMO_TARGET static Ints round(Floats a) { return _mm512_cvtps_epi32(a); }
    MINICPMO_TARGET static Floats to_float(Ints a) { return _mm512_cvtepi32_ps(a); }
    // The lower 16 bits of each word.
    MINICPMO_TARGET static Floats half_to_float(Ints words) {
        return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
    }
    MINICPMO_TARGET static void store_bytes(int8_t* p, const Ints (&q)[2]) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(q[0]));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), _mm512_cvtsepi32_epi8(q[1]));
    }

    // Lane i: the 32-bit word at rows[i] + offset.
    MINICPMO_TARGET static Ints gather_word(const char* const* rows, size_t offset) {
        alignas(64) int32_t words[kLane];
        for (int i = 0; i < kLane; ++i) __builtin_memcpy(words + i, rows[i] + offset, 4);
        return _mm512_load_si512(words);
    }

    // Lane i of words[j]: the word j of the 16 bytes at rows[i] + offset.
    MINICPMO_TARGET static void load_four(const char* const* rows, size_t offset, Ints* words) {
        for (size_t j = 0; j < 4; ++j) words[j] = gather_word(rows, offset + 4 * j);
    }

    // 16 x 16 transposition of 32-bit words: r[i] lane j becomes r[j] lane i.
    MINICPMO_TARGET static void transpose(Ints* r) {
        Ints t[16];
#pragma GCC unroll 8
        for (int i = 0; i < 16; i += 2) {
            t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 16; i += 4) {
            r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
            r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
            r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
            r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
            t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
            t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
            t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
            r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
            r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
            r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
        }
    }

    // Lane i of words[j]: the word j of the 64 bytes at rows[i] + offset.
    MINICPMO_TARGET static void load_transposed(const char* const* rows, size_t offset, Ints* words) {
#pragma GCC unroll 16
        for (int i = 0; i < kLane; ++i) words[i] = _mm512_loadu_si512(rows[i] + offset);
        transpose(words);
    }

    // The same of the 32 bytes at rows[i] + offset and 32 more `next` bytes later.
    MINICPMO_TARGET static void load_transposed_halves(const char* const* rows, size_t offset, size_t next,
                                                       Ints* words) {
#pragma GCC unroll 16
        for (int i = 0; i < kLane; ++i) {
            const auto* low = reinterpret_cast<const __m256i*>(rows[i] + offset);
            const auto* high = reinterpret_cast<const __m256i*>(rows[i] + offset + next);
            words[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(low)),
                                          _mm256_loadu_si256(high), 1);
        }
        transpose(words);
    }

    template <int T, int kSub, int kBits, bool kStarts>
    MINICPMO_TARGET static void dot(const uint8_t* q, const int8_t* x, const int32_t* start, size_t stride,
                                    Ints (&sum)[kGroup][T]) {
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const size_t at = static_cast<size_t>(t) * stride;
            sum[0][t] = sum[1][t] = kStarts ? fill(further(start, at)) : _mm512_setzero_si512();
        }
#pragma GCC unroll 8
        for (int word = 0; word < kSub / 4; ++word) {
            const Ints w0 = _mm512_load_si512(q + word * 128);
            const Ints w1 = _mm512_load_si512(q + word * 128 + 64);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const Ints a = fill_four(x + static_cast<size_t>(t) * stride + word * 4);
                sum[0][t] = _mm512_dpbusd_epi32(sum[0][t], w0, a);
                sum[1][t] = _mm512_dpbusd_epi32(sum[1][t], w1, a);
            }
        }
    }
};

}  // namespace

const Int8Kernels kAvx512Int8 = kernels_of<Avx512>(2, avx512_dots);

}  // namespace minicpmo::kernels

#endif
