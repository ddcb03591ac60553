#include "kernels/weight_panel.h"

#include "kernels/avx512.h"
#include "kernels/weight_blocks.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// 16 x 16 transposition of 32-bit words: r[i] lane j becomes r[j] lane i.
MINICPMO_TARGET_AVX512 inline void transpose(__m512i* r) {
    __m512i t[16];
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

// Lane i of word[j]: the 32-bit word j of the 64 bytes at rows[i] + offset.
MINICPMO_TARGET_AVX512 inline void load_words(const char* const* rows, size_t offset, __m512i* words) {
#pragma GCC unroll 16
    for (int i = 0; i < kPanelRows; ++i) words[i] = _mm512_loadu_si512(rows[i] + offset);
    transpose(words);
}

// Lane i: the 32-bit word at rows[i] + offset.
MINICPMO_TARGET_AVX512 inline __m512i gather_word(const char* const* rows, size_t offset) {
    alignas(64) int32_t words[kPanelRows];
    for (int i = 0; i < kPanelRows; ++i) __builtin_memcpy(words + i, rows[i] + offset, 4);
    return _mm512_load_si512(words);
}

MINICPMO_TARGET_AVX512 inline __m512 low_half(__m512i words) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
}
MINICPMO_TARGET_AVX512 inline __m512 high_half(__m512i words) {
    return low_half(_mm512_srli_epi32(words, 16));
}

// Byte b of each word, as a float.
MINICPMO_TARGET_AVX512 inline __m512 unsigned_byte(__m512i words, unsigned b) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(words, 8 * b), _mm512_set1_epi32(255)));
}
MINICPMO_TARGET_AVX512 inline __m512 signed_byte(__m512i words, unsigned b) {
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * b), 24));
}

// The eight scales and minima of Q4_K and Q5_K: d and d_min, then 12 bytes of six-bit numbers.
MINICPMO_TARGET_AVX512 inline void unpack_k_scales(const char* const* rows, size_t offset, float* scale,
                                                   float* min) {
    const __m512i d = gather_word(rows, offset);
    const __m512i a = gather_word(rows, offset + 4);
    const __m512i b = gather_word(rows, offset + 8);
    const __m512i c = gather_word(rows, offset + 12);
    const __m512i six = _mm512_set1_epi32(0x3f3f3f3f);
    const __m512i four = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i two = _mm512_set1_epi32(0x30303030);
    const auto with_top_bits = [&](__m512i low, __m512i high) MINICPMO_TARGET_AVX512 {
        return _mm512_or_si512(_mm512_and_si512(low, four),
                               _mm512_and_si512(_mm512_srli_epi32(high, 2), two));
    };
    const __m512i scales[2] = {_mm512_and_si512(a, six), with_top_bits(c, a)};
    const __m512i minima[2] = {_mm512_and_si512(b, six), with_top_bits(_mm512_srli_epi32(c, 4), b)};
    for (unsigned sub = 0; sub < 8; ++sub) {
        _mm512_store_ps(scale + sub * kPanelRows,
                        _mm512_mul_ps(low_half(d), unsigned_byte(scales[sub / 4], sub % 4)));
        _mm512_store_ps(min + sub * kPanelRows,
                        _mm512_mul_ps(high_half(d), unsigned_byte(minima[sub / 4], sub % 4)));
    }
}

MINICPMO_TARGET_AVX512 void unpack_q4_k(const char* const* rows, int64_t begin, int64_t n,
                                        WeightPanel& panel) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ4K);
        unpack_k_scales(rows, offset, panel.scale + block * 8 * kPanelRows,
                        panel.min + block * 8 * kPanelRows);
        for (size_t half = 0; half < 2; ++half) {
            __m512i words[16];
            load_words(rows, offset + 16 + 64 * half, words);
            uint8_t* q = panel.q + (static_cast<size_t>(block) * 64 + half * 32) *
                                       64;  // 64 words a block, 64 bytes each
#pragma GCC unroll 16
            for (int i = 0; i < 16; ++i) {
                uint8_t* low = q + ((i / 8) * 16 + i % 8) * 64;
                _mm512_store_si512(low, _mm512_and_si512(words[i], nibble));
                _mm512_store_si512(low + 8 * 64, _mm512_and_si512(_mm512_srli_epi16(words[i], 4), nibble));
            }
        }
    }
}

MINICPMO_TARGET_AVX512 void unpack_q5_k(const char* const* rows, int64_t begin, int64_t n,
                                        WeightPanel& panel) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i one = _mm512_set1_epi8(1);
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ5K);
        unpack_k_scales(rows, offset, panel.scale + block * 8 * kPanelRows,
                        panel.min + block * 8 * kPanelRows);
        __m512i high[16];  // words 0..7 are the fifth bits
        load_words(rows, offset + 16, high);
        for (int half = 0; half < 2; ++half) {
            __m512i words[16];
            load_words(rows, offset + 48 + 64 * static_cast<size_t>(half), words);
            for (int i = 0; i < 16; ++i) {
                const int sub = 4 * half + 2 * (i / 8);
                const auto fifth = [&](int s) MINICPMO_TARGET_AVX512 {
                    const __m512i bit = _mm512_srli_epi32(high[i % 8], static_cast<unsigned>(s));
                    return _mm512_slli_epi32(_mm512_and_si512(bit, one), 4);
                };
                uint8_t* low = panel.q + (block * 64 + sub * 8 + i % 8) * 64;
                _mm512_store_si512(low, _mm512_or_si512(_mm512_and_si512(words[i], nibble), fifth(sub)));
                const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(words[i], 4), nibble);
                _mm512_store_si512(low + 8 * 64, _mm512_or_si512(upper, fifth(sub + 1)));
            }
        }
    }
}

MINICPMO_TARGET_AVX512 void unpack_q6_k(const char* const* rows, int64_t begin, int64_t n,
                                        WeightPanel& panel) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i two_bits = _mm512_set1_epi8(0x30);
    for (int64_t block = 0; block < n; ++block) {
        const size_t offset = static_cast<size_t>(begin + block) * sizeof(BlockQ6K);
        float* scale = panel.scale + block * 16 * kPanelRows;
        float* min = panel.min + block * 16 * kPanelRows;
        const __m512 d = high_half(gather_word(rows, offset + 206));  // the last two of these four bytes
        for (unsigned word = 0; word < 4; ++word) {
            const __m512i scales = gather_word(rows, offset + 192 + 4 * word);
            for (unsigned b = 0; b < 4; ++b) {
                const __m512 s = _mm512_mul_ps(d, signed_byte(scales, b));
                _mm512_store_ps(scale + (4 * word + b) * kPanelRows, s);
                _mm512_store_ps(min + (4 * word + b) * kPanelRows, _mm512_mul_ps(s, _mm512_set1_ps(32.0F)));
            }
        }
        __m512i high[16];
        load_words(rows, offset + 128, high);
        for (int half = 0; half < 2; ++half) {
            __m512i low[16];
            load_words(rows, offset + 64 * static_cast<size_t>(half), low);
            uint8_t* q = panel.q + (block * 64 + half * 32) * 64;
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const __m512i h = high[8 * half + i];
                const __m512i parts[4] = {
                    _mm512_or_si512(_mm512_and_si512(low[i], nibble),
                                    _mm512_and_si512(_mm512_slli_epi32(h, 4), two_bits)),
                    _mm512_or_si512(_mm512_and_si512(low[i + 8], nibble),
                                    _mm512_and_si512(_mm512_slli_epi32(h, 2), two_bits)),
                    _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(low[i], 4), nibble),
                                    _mm512_and_si512(h, two_bits)),
                    _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(low[i + 8], 4), nibble),
                                    _mm512_and_si512(_mm512_srli_epi32(h, 2), two_bits))};
                for (int part = 0; part < 4; ++part) _mm512_store_si512(q + (part * 8 + i) * 64, parts[part]);
            }
        }
    }
}

// Formats of 32 weights with one scale: `offset` is what makes them unsigned.
MINICPMO_TARGET_AVX512 inline void unpack_simple_scale(const char* const* rows, size_t at, int64_t block,
                                                       float offset, WeightPanel& panel) {
    const __m512 d = low_half(gather_word(rows, at));
    _mm512_store_ps(panel.scale + block * kPanelRows, d);
    _mm512_store_ps(panel.min + block * kPanelRows, _mm512_mul_ps(d, _mm512_set1_ps(offset)));
}

MINICPMO_TARGET_AVX512 inline __m512i join(const char* low, const char* high) {
    const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
    return _mm512_inserti64x4(a, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)), 1);
}

// Lane i of words 0..7: the 32 bytes at rows[i] + offset; of words 8..15: those `next` bytes later.
MINICPMO_TARGET_AVX512 inline void load_two_blocks(const char* const* rows, size_t offset, size_t next,
                                                   __m512i* words) {
#pragma GCC unroll 16
    for (int i = 0; i < kPanelRows; ++i) words[i] = join(rows[i] + offset, rows[i] + offset + next);
    transpose(words);
}

MINICPMO_TARGET_AVX512 void unpack_q8_0(const char* const* rows, int64_t begin, int64_t n,
                                        WeightPanel& panel) {
    const __m512i top_bit = _mm512_set1_epi8(-128);
    for (int64_t block = 0; block < n; block += 2) {
        const size_t at = static_cast<size_t>(begin + block) * sizeof(BlockQ8_0);
        const bool has_second = block + 1 < n;
        unpack_simple_scale(rows, at, block, 128.0F, panel);
        if (has_second) unpack_simple_scale(rows, at + sizeof(BlockQ8_0), block + 1, 128.0F, panel);
        __m512i words[16];
        // An odd block by itself is read twice, and half of that is not stored.
        load_two_blocks(rows, at + 2, has_second ? sizeof(BlockQ8_0) : 0, words);
        uint8_t* q = panel.q + static_cast<size_t>(block) * 8 * 64;
        const int n_word = has_second ? 16 : 8;
        for (int i = 0; i < n_word; ++i) _mm512_store_si512(q + i * 64, _mm512_xor_si512(words[i], top_bit));
    }
}

MINICPMO_TARGET_AVX512 void unpack_q4_0(const char* const* rows, int64_t begin, int64_t n,
                                        WeightPanel& panel) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int64_t block = 0; block < n; ++block) {
        const size_t at = static_cast<size_t>(begin + block) * sizeof(BlockQ4_0);
        unpack_simple_scale(rows, at, block, 8.0F, panel);
        for (size_t i = 0; i < 4; ++i) {
            const __m512i word = gather_word(rows, at + 2 + 4 * i);
            uint8_t* low = panel.q + (static_cast<size_t>(block) * 8 + i) * 64;
            _mm512_store_si512(low, _mm512_and_si512(word, nibble));
            _mm512_store_si512(low + 4 * 64, _mm512_and_si512(_mm512_srli_epi16(word, 4), nibble));
        }
    }
}

constexpr PanelFormat kQ4K = {32, 256, unpack_q4_k};
constexpr PanelFormat kQ5K = {32, 256, unpack_q5_k};
constexpr PanelFormat kQ6K = {16, 256, unpack_q6_k};
constexpr PanelFormat kQ8_0 = {32, 32, unpack_q8_0};
constexpr PanelFormat kQ4_0 = {32, 32, unpack_q4_0};

}  // namespace

const PanelFormat* panel_format(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_K:
            return &kQ4K;
        case GGML_TYPE_Q5_K:
            return &kQ5K;
        case GGML_TYPE_Q6_K:
            return &kQ6K;
        case GGML_TYPE_Q8_0:
            return &kQ8_0;
        case GGML_TYPE_Q4_0:
            return &kQ4_0;
        default:
            return nullptr;
    }
}

#else

const PanelFormat* panel_format(ggml_type) { return nullptr; }

#endif

}  // namespace minicpmo::kernels
