#pragma once
// NeonLanes: registers of 4 words for panel_formats.h and panel_tiles.h, with everything but the integer dot
// products.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace minicpmo::kernels {

namespace {

struct NeonLanes {
    using Ints = int32x4_t;
    using Floats = float32x4_t;
    static constexpr int kLane = 4;
    static constexpr int kGroup = 4;
    static constexpr int kToken = 4;
    static constexpr bool kSignedBytes = true;

    static Ints of(uint32x4_t v) { return vreinterpretq_s32_u32(v); }
    static uint32x4_t bits(Ints v) { return vreinterpretq_u32_s32(v); }

    static Ints fill(int32_t v) { return vdupq_n_s32(v); }
    static Floats fill(float v) { return vdupq_n_f32(v); }
    static Ints bit_and(Ints a, Ints b) { return vandq_s32(a, b); }
    static Ints bit_or(Ints a, Ints b) { return vorrq_s32(a, b); }
    static Ints bit_xor(Ints a, Ints b) { return veorq_s32(a, b); }
    static Ints shift_left(Ints a, unsigned n) { return vshlq_s32(a, vdupq_n_s32(static_cast<int>(n))); }
    // A shift by a negative number goes to the right.
    static Ints shift_right(Ints a, unsigned n) {
        return of(vshlq_u32(bits(a), vdupq_n_s32(-static_cast<int>(n))));
    }
    static Ints shift_right_signed(Ints a, unsigned n) {
        return vshlq_s32(a, vdupq_n_s32(-static_cast<int>(n)));
    }
    static Ints max(Ints a, Ints b) { return vmaxq_s32(a, b); }
    static int32_t reduce_add(Ints a) { return vaddvq_s32(a); }
    static Floats load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, Floats v) { vst1q_f32(p, v); }
    static void store(uint8_t* p, Ints v) { vst1q_u8(p, vreinterpretq_u8_s32(v)); }
    static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
    static Floats max(Floats a, Floats b) { return vmaxnmq_f32(a, b); }
    static Floats abs(Floats a) { return vabsq_f32(a); }
    static float reduce_max(Floats a) { return vmaxnmvq_f32(a); }
    static Floats add_product(Floats sum, Floats a, Floats b) { return vfmaq_f32(sum, a, b); }
    static Floats subtract_product(Floats sum, Floats a, Floats b) { return vfmsq_f32(sum, a, b); }
    static bool are_numbers(const Floats (&v)[8]) {
        uint32x4_t all = vceqq_f32(v[0], v[0]);
        for (int i = 1; i < 8; ++i) all = vandq_u32(all, vceqq_f32(v[i], v[i]));
        return vminvq_u32(all) != 0;
    }
    static Floats add_to_exponent(Floats a, Ints exponent) {
        return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent));
    }
    // Two products of 16 bits for each word.
    static Ints pair_products(Ints a, Ints b) {
        const int16x8_t x = vreinterpretq_s16_s32(a);
        const int16x8_t y = vreinterpretq_s16_s32(b);
        return vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
    }
    static Ints add_pair_products(Ints sum, Ints a, Ints b) { return vaddq_s32(sum, pair_products(a, b)); }
    static Ints round(Floats a) { return vcvtnq_s32_f32(a); }
    static Floats to_float(Ints a) { return vcvtq_f32_s32(a); }
    // The lower 16 bits of each word.
    static Floats half_to_float(Ints words) {
        return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(bits(words))));
    }
    static void store_bytes(int8_t* p, const Ints (&q)[8]) {
        for (int i = 0; i < 8; i += 4) {
            const int16x8_t low = vcombine_s16(vqmovn_s32(q[i]), vqmovn_s32(q[i + 1]));
            const int16x8_t high = vcombine_s16(vqmovn_s32(q[i + 2]), vqmovn_s32(q[i + 3]));
            vst1q_s8(p + 4 * i, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
        }
    }

    // Lane i: the 32-bit word at rows[i] + offset.
    static Ints gather_word(const char* const* rows, size_t offset) {
        int32_t words[kLane];
        for (int i = 0; i < kLane; ++i) __builtin_memcpy(words + i, rows[i] + offset, 4);
        return vld1q_s32(words);
    }

    // Lane i of words[j]: the word j of the 16 bytes at rows[i] + offset.
    static void load_transposed(const char* const* rows, size_t offset, Ints* words) {
        int32x4_t r[4];
        for (size_t i = 0; i < 4; ++i)
            r[i] = vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(rows[i] + offset)));
        const int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(r[0], r[1]));
        const int64x2_t b = vreinterpretq_s64_s32(vtrn2q_s32(r[0], r[1]));
        const int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(r[2], r[3]));
        const int64x2_t d = vreinterpretq_s64_s32(vtrn2q_s32(r[2], r[3]));
        words[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
        words[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
        words[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
        words[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
    }
    static void load_four(const char* const* rows, size_t offset, Ints* words) {
        load_transposed(rows, offset, words);
    }

    // Four bytes, for all rows.
    static Ints fill_four(const void* p) {
        int32_t four;
        __builtin_memcpy(&four, p, 4);
        return vdupq_n_s32(four);
    }
    static Ints load(const int16_t* p) { return vreinterpretq_s32_s16(vld1q_s16(p)); }
    static int8x16_t load(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
};

}  // namespace

}  // namespace minicpmo::kernels
