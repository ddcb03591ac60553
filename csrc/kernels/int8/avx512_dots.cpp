#include "kernels/int8/avx512_dots.h"

#include <algorithm>
#include <cstddef>

#include "kernels/avx512.h"

#if MINICPMO_HAS_X86_CODE

namespace minicpmo::kernels {

namespace {

// Asks for kBytes of memory and what is left of their last line, in the second-level cache: more requests can
// be on their way to it than to the first (Zen 4, mapped files: a half more for long rows). Past the end of
// the file a request is ignored.
template <size_t kBytes>
inline void prefetch(const void* memory) {
    constexpr int kSecondLevel = 2;
#pragma GCC unroll 16
    for (size_t i = 0; i < kBytes; i += 64)
        __builtin_prefetch(static_cast<const char*>(memory) + i, 0, kSecondLevel);
}

// How far ahead at least: it keeps the memory bus busy.
constexpr size_t kAhead = 16384;  // bytes

// Two 32-byte halves as one register.
MINICPMO_TARGET_AVX512 inline __m512i join(const int8_t* low, const int8_t* high) {
    const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
    return _mm512_inserti64x4(a, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)), 1);
}

// Exponents as they lie in a SuperblockRow as plain integers of 16 bits.
MINICPMO_TARGET_AVX512 inline __m128i plain_exponents(const int32_t* exponents) {
    return _mm256_cvtepi32_epi16(
        _mm256_srli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(exponents)), 23));
}

// Four sums, of all lanes of each register.
MINICPMO_TARGET_AVX512 inline __m128 lane_sums(const __m512 (&t)[4]) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(t[0], t[1]), _mm512_unpackhi_ps(t[0], t[1]));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(t[2], t[3]), _mm512_unpackhi_ps(t[2], t[3]));
    const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Four rows from `row` on; what is past the last is that one again, and not stored.
template <class Block>
inline void four_rows(const char* rows, size_t stride, int64_t row, int64_t n_row, const Block* (&first)[4]) {
    for (int64_t r = 0; r < 4; ++r)
        first[r] =
            reinterpret_cast<const Block*>(rows + static_cast<size_t>(std::min(row + r, n_row - 1)) * stride);
}

inline __mmask8 valid_rows(int64_t n) { return static_cast<__mmask8>((1U << std::min<int64_t>(4, n)) - 1); }

// The same block of four rows of Q4_K: scales and minima of the eight sub-blocks of row r in lane r.
struct Q4KScales {
    __m512i scales;  // 16 bits each
    __m512i minima;
    __m512 d;  // 2 r: d of row r, 2 r + 1: its d_min

    MINICPMO_TARGET_AVX512 explicit Q4KScales(const BlockQ4K* const (&rows)[4]) {
        // A block begins with d, d_min and 12 bytes. Of these bytes 0 to 3 and 4 to 7 are the scales and the
        // minima 0 to 3, with the high two bits of scales and minima 4 to 7, whose low four bits share bytes
        // 8 to 11.
        static_assert(offsetof(BlockQ4K, scales) == 4);
        __m512i heads = _mm512_castsi128_si512(head(rows[0]));
        heads = _mm512_inserti32x4(heads, head(rows[1]), 1);
        heads = _mm512_inserti32x4(heads, head(rows[2]), 2);
        heads = _mm512_inserti32x4(heads, head(rows[3]), 3);
        const __m512i low = _mm512_and_si512(
            _mm512_srlv_epi32(_mm512_shuffle_epi32(heads, _MM_PERM_DCDB), each_lane(0, 0, 0, 4)),
            each_lane(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
        const __m512i high = _mm512_and_si512(
            _mm512_srlv_epi32(_mm512_shuffle_epi32(heads, _MM_PERM_CCBB), each_lane(0, 2, 0, 2)),
            each_lane(0, 0x30303030, 0, 0x30303030));
        const __m512i packed = _mm512_or_si512(low, high);
        scales = _mm512_unpacklo_epi8(packed, _mm512_setzero_si512());
        minima = _mm512_unpackhi_epi8(packed, _mm512_setzero_si512());
        const __m512i first = _mm512_permutexvar_epi32(each_lane(0, 4, 8, 12), heads);
        d = _mm512_castps256_ps512(_mm256_cvtph_ps(_mm512_castsi512_si128(first)));
    }

    MINICPMO_TARGET_AVX512 static __m128i head(const BlockQ4K* block) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
    }

    MINICPMO_TARGET_AVX512 static __m512i each_lane(int a, int b, int c, int e) {
        return _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, e));
    }
};

// Four rows at a time share the activations and what it takes to unpack their scales. The memory of the next
// four is asked for in the order in which it lies: the hardware reads one stream fastest. Products of bytes
// are added in pairs to 16 bits (15 * 127 * 2 fits), then times their scale (63 * 8 at most) to 32: a block
// of 256 weights is converted to float once.
MINICPMO_TARGET_AVX512 void dots_q4_k(const char* rows, size_t stride, int64_t n_row, const char* activations,
                                      int64_t n_in, float* y) {
    const SuperblockRow x(activations, n_in);
    const __m512i nibble = _mm512_set1_epi8(15);
    // A 64-byte load of nibbles holds sub-blocks a and a + 2 (low halves) and a + 1, a + 3 (high halves).
    const __m512i upper = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    constexpr short kSubBlock[4] = {0, 1, 4, 5};
    const __m512i odd = _mm512_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7);
    for (int64_t row = 0; row < n_row; row += 4) {
        const BlockQ4K* b[4];
        four_rows(rows, stride, row, n_row, b);
        const char* next = rows + static_cast<size_t>(row) * stride + std::max(4 * stride, kAhead);
        __m512 total[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                           _mm512_setzero_ps()};
        __m512 minima = _mm512_setzero_ps();
        for (int64_t block = 0; block < n_in / 256; ++block) {
            prefetch<4 * sizeof(BlockQ4K)>(next);
            next += 4 * sizeof(BlockQ4K);
            const int8_t* v = x.values + block * 256;
            const __m512i a[4] = {join(v, v + 64), join(v + 32, v + 96), join(v + 128, v + 192),
                                  join(v + 160, v + 224)};
            const Q4KScales block_scales(b);
            const __m512i exponents = _mm512_broadcast_i32x4(plain_exponents(x.exponents + block * 8));
            const __m512i scales = _mm512_sllv_epi16(block_scales.scales, exponents);
            const __m512i sums =
                _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x.sums + block * 8)));
            const __m512 d = _mm512_mul_ps(block_scales.d, _mm512_set1_ps(x.scales[block]));
            minima = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_madd_epi16(block_scales.minima, sums)),
                                     _mm512_permutexvar_ps(odd, d), minima);
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) {
                const __m512i q0 = _mm512_loadu_si512(b[r]->qs);
                const __m512i q1 = _mm512_loadu_si512(b[r]->qs + 64);
                const __m512i nibbles[4] = {
                    _mm512_and_si512(q0, nibble), _mm512_and_si512(_mm512_srli_epi16(q0, 4), nibble),
                    _mm512_and_si512(q1, nibble), _mm512_and_si512(_mm512_srli_epi16(q1, 4), nibble)};
                __m512i dot = _mm512_setzero_si512();
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) {
                    const __m512i pick =
                        _mm512_add_epi16(upper, _mm512_set1_epi16(static_cast<short>(8 * r + kSubBlock[i])));
                    dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(nibbles[i], a[i]),
                                              _mm512_permutexvar_epi16(pick, scales));
                }
                total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                                           _mm512_permutexvar_ps(_mm512_set1_epi32(2 * r), d), total[r]);
                ++b[r];
            }
        }
        // Lane r of the minima belongs to row r.
        const __m512 pairs = _mm512_add_ps(minima, _mm512_shuffle_ps(minima, minima, 0x4e));
        const __m512 lanes = _mm512_add_ps(pairs, _mm512_shuffle_ps(pairs, pairs, 0xb1));
        const __m512 less = _mm512_permutexvar_ps(Q4KScales::each_lane(0, 4, 8, 12), lanes);
        _mm_mask_storeu_ps(y + row, valid_rows(n_row - row),
                           _mm_sub_ps(lane_sums(total), _mm512_castps512_ps128(less)));
    }
}

// As for Q4_K, a row at a time: 63 * 127 * 2 fits into 16 bits, and so does a scale times 8.
MINICPMO_TARGET_AVX512 float dot_q6_k(const char* row, const char* activations, int64_t n_in) {
    const SuperblockRow x(activations, n_in);
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i high_bits = _mm512_set1_epi8(0x30);
    const __m512i two_lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    // Eight pairs of products belong to one sub-block of 16.
    const __m512i eight_lanes = _mm512_cvtepi8_epi16(
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
    // Bits 0-1 and 2-3 of qh move to bits 4-5 for the low nibbles; bits 4-5 and 6-7 for the high ones.
    const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    __m512 total = _mm512_setzero_ps();
    const auto* b = reinterpret_cast<const BlockQ6K*>(row);
    for (int64_t block = 0; block < n_in / 256; ++block, ++b) {
        prefetch<sizeof(BlockQ6K)>(reinterpret_cast<const char*>(b) + kAhead);
        const int8_t* v = x.values + block * 256;
        const __m512i exponents = _mm512_permutexvar_epi32(
            two_lanes, _mm512_castsi256_si512(
                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.exponents + block * 8))));
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b->scales));
        const __m512i shifted =
            _mm512_sllv_epi32(_mm512_cvtepi8_epi32(bytes), _mm512_srli_epi32(exponents, 23));
        const __m512i scales = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(shifted));
        __m512i dot = _mm512_mullo_epi32(shifted, _mm512_loadu_si512(x.less32 + block * 16));
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
                const __m512i pick =
                    _mm512_add_epi16(eight_lanes, _mm512_set1_epi16(static_cast<short>(8 * half + 4 * i)));
                dot = _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(parts[i], a),
                                          _mm512_permutexvar_epi16(pick, scales));
            }
        }
        total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(_cvtsh_ss(b->d) * x.scales[block]),
                                total);
    }
    return _mm512_reduce_add_ps(total);
}

MINICPMO_TARGET_AVX512 inline __m512i half_register(const int8_t* low) {
    return _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
}

// Scales of two blocks of four rows, 2 r and 2 r + 1 of row r.
MINICPMO_TARGET_AVX512 inline __m512 pair_scales(const BlockQ8_0* const (&b)[4], int second,
                                                 const float (&x)[2]) {
    const auto d = [&](int r, int i) { return static_cast<int16_t>(b[r][i * second].d); };
    const __m128i halves =
        _mm_setr_epi16(d(0, 0), d(0, 1), d(1, 0), d(1, 1), d(2, 0), d(2, 1), d(3, 0), d(3, 1));
    const __m256 scales = _mm256_setr_ps(x[0], x[1], x[0], x[1], x[0], x[1], x[0], x[1]);
    return _mm512_castps256_ps512(_mm256_mul_ps(_mm256_cvtph_ps(halves), scales));
}

// Four rows at a time, two blocks at a time. The instruction wants one side unsigned, so 128 is added to
// the weights; sums start at what that adds to them.
MINICPMO_TARGET_AVX512 void dots_q8_0(const char* rows, size_t stride, int64_t n_row, const char* activations,
                                      int64_t n_in, float* y) {
    const BlockRow x(activations, n_in);
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(128));
    const __m512i halves = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(1), 1);
    const int64_t n_block = n_in / 32;
    for (int64_t row = 0; row < n_row; row += 4) {
        const BlockQ8_0* b[4];
        four_rows(rows, stride, row, n_row, b);
        const char* next = rows + static_cast<size_t>(row) * stride + std::max(4 * stride, kAhead);
        __m512 total[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                           _mm512_setzero_ps()};
        for (int64_t i = 0; i < n_block; i += 2) {
            const bool is_pair = i + 1 < n_block;
            prefetch<8 * sizeof(BlockQ8_0)>(next);
            next += 8 * sizeof(BlockQ8_0);
            const __m512i values =
                is_pair ? _mm512_loadu_si512(x.values + i * 32) : half_register(x.values + i * 32);
            const __m512i start = _mm512_sub_epi32(
                _mm512_setzero_si512(), _mm512_dpbusd_epi32(_mm512_setzero_si512(), offset, values));
            const __m512 scales =
                pair_scales(b, is_pair ? 1 : 0, {x.scales[i], is_pair ? x.scales[i + 1] : 0.0F});
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) {
                const __m512i weights = is_pair ? join(b[r][0].qs, b[r][1].qs) : half_register(b[r]->qs);
                const __m512i dot = _mm512_dpbusd_epi32(start, _mm512_xor_si512(weights, offset), values);
                const __m512i pick = _mm512_add_epi32(halves, _mm512_set1_epi32(2 * r));
                total[r] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(pick, scales), total[r]);
                b[r] += 2;
            }
        }
        _mm_mask_storeu_ps(y + row, valid_rows(n_row - row), lane_sums(total));
    }
}

using DotFunction = float (*)(const char* row, const char* x, int64_t n_in);

template <DotFunction kDot>
void each_row(const char* rows, size_t stride, int64_t n_row, const char* x, int64_t n_in, float* y) {
    for (int64_t row = 0; row < n_row; ++row)
        y[row] = kDot(rows + static_cast<size_t>(row) * stride, x, n_in);
}

}  // namespace

DotsFunction avx512_dots(BlockType type) {
    if (type == BlockType::q4_k) return dots_q4_k;
    if (type == BlockType::q6_k) return each_row<dot_q6_k>;
    if (type == BlockType::q8_0) return dots_q8_0;
    return nullptr;
}

}  // namespace minicpmo::kernels

#endif
