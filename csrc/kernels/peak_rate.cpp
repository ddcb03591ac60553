#include "kernels/peak_rate.h"

#include <array>

#include "base/error.h"
#include "kernels/avx512.h"
#include "kernels/cpu_features.h"

// As avx512.h does for its instruction set: for single functions, asked for first.
#if MINICPMO_HAS_AVX512_CODE
#define MINICPMO_TARGET_AVX2_FMA __attribute__((target("avx2,fma")))
#endif

namespace minicpmo::kernels {

namespace {

constexpr int64_t kMaxRounds = int64_t{1} << 40;

// Two products may begin in a cycle and take four or five, so ten must be under way; more hide what the
// loop itself costs. With two operands they fit into 32 or 16 registers.
constexpr int kWideSums = 24;
constexpr int kNarrowSums = 12;

// Operands that the compiler cannot know, anew at every reading, so that it computes what stands there: sums
// that began alike would become one. Every loop over the sums is unrolled, or they would lie in memory.
struct Operands {
    volatile float factor = 0.5F;  // sums of x * 0.5 + 1 stay at 2
    volatile float addend = 1.0F;
    volatile int32_t bytes = 0x01020304;
};

template <class T>
void keep(T value) {  // what nobody reads would not be computed
    [[maybe_unused]] volatile T kept = value;
}

#if MINICPMO_HAS_AVX512_CODE

bool has_avx2_fma() {
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has;
}

MINICPMO_TARGET_AVX512 void fused_avx512(const Operands& operands, int64_t n_round) {
    const __m512 factor = _mm512_set1_ps(operands.factor);
    const __m512 addend = _mm512_set1_ps(operands.addend);
    __m512 sums[kWideSums];
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_set1_ps(operands.addend);
    for (int64_t round = 0; round < n_round; ++round) {
#pragma GCC unroll 24
        for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, addend);
    }
    __m512 total = addend;
#pragma GCC unroll 24
    for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
    keep(_mm512_reduce_add_ps(total));
}

MINICPMO_TARGET_AVX512 void dot_avx512(const Operands& operands, int64_t n_round) {
    const __m512i bytes = _mm512_set1_epi32(operands.bytes);
    __m512i sums[kWideSums];
#pragma GCC unroll 24
    for (__m512i& sum : sums) sum = _mm512_set1_epi32(operands.bytes);
    for (int64_t round = 0; round < n_round; ++round) {
#pragma GCC unroll 24
        for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, bytes, bytes);
    }
    __m512i total = bytes;
#pragma GCC unroll 24
    for (const __m512i& sum : sums) total = _mm512_xor_si512(total, sum);
    keep(_mm512_reduce_and_epi32(total));
}

MINICPMO_TARGET_AVX2_FMA void fused_avx2(const Operands& operands, int64_t n_round) {
    const __m256 factor = _mm256_set1_ps(operands.factor);
    const __m256 addend = _mm256_set1_ps(operands.addend);
    __m256 sums[kNarrowSums];
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_set1_ps(operands.addend);
    for (int64_t round = 0; round < n_round; ++round) {
#pragma GCC unroll 12
        for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, addend);
    }
    __m256 total = addend;
#pragma GCC unroll 12
    for (const __m256& sum : sums) total = _mm256_add_ps(total, sum);
    keep(_mm256_cvtss_f32(total));
}

// Pairs of bytes to 16 bits, pairs of these to 32, and the sum: three instructions for 32 multiply-adds. The
// activations differ from sum to sum as they do in a kernel, or one product would serve them all.
MINICPMO_TARGET_AVX2_FMA void dot_avx2(const Operands& operands, int64_t n_round) {
    const __m256i bytes = _mm256_set1_epi32(operands.bytes);
    const __m256i ones = _mm256_set1_epi16(static_cast<int16_t>(operands.bytes >> 24));
    __m256i sums[kNarrowSums];
#pragma GCC unroll 12
    for (__m256i& sum : sums) sum = _mm256_set1_epi32(operands.bytes);
    for (int64_t round = 0; round < n_round; ++round) {
#pragma GCC unroll 12
        for (__m256i& sum : sums) {
            const __m256i pairs = _mm256_maddubs_epi16(bytes, sum);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    __m256i total = bytes;
#pragma GCC unroll 12
    for (const __m256i& sum : sums) total = _mm256_xor_si256(total, sum);
    keep(_mm256_cvtsi256_si32(total));
}

#endif

// What the compiler makes of a plain loop, its operands in the first-level cache at best.
constexpr int kLanes = 64;

void fused_portable(const Operands& operands, int64_t n_round) {
    std::array<float, kLanes> sums{};
    const float factor = operands.factor;
    const float addend = operands.addend;
    for (int64_t round = 0; round < n_round; ++round) {
        for (float& sum : sums) sum = sum * factor + addend;
    }
    float total = 0;
    for (const float sum : sums) total += sum;
    keep(total);
}

void dot_portable(const Operands& operands, int64_t n_round) {
    std::array<uint32_t, kLanes> sums{};  // unsigned: they wrap
    std::array<int8_t, kLanes> weights{};
    weights.fill(static_cast<int8_t>(operands.bytes));
    for (int64_t round = 0; round < n_round; ++round) {
        const auto activation = static_cast<int8_t>(round);
        for (size_t i = 0; i < sums.size(); ++i) {
            sums[i] += static_cast<uint32_t>(int32_t{weights[i]} * activation);
        }
    }
    uint32_t total = 0;
    for (const uint32_t sum : sums) total ^= sum;
    keep(total);
}

struct Loop {
    std::string_view instructions;
    int64_t n_op = 0;  // of a round
    void (*run)(const Operands& operands, int64_t n_round) = nullptr;
};

Loop loop_of(ProductType type) {
    const bool is_float = type == ProductType::float32;
#if MINICPMO_HAS_AVX512_CODE
    if (has_avx512_vnni()) {
        if (is_float) return {"AVX-512 FMA", kWideSums * 16 * 2, fused_avx512};
        return {"AVX-512 VNNI", kWideSums * 64 * 2, dot_avx512};
    }
    if (has_avx2_fma()) {
        if (is_float) return {"AVX2 FMA", kNarrowSums * 8 * 2, fused_avx2};
        return {"AVX2", kNarrowSums * 32 * 2, dot_avx2};
    }
#endif
    return {"portable", kLanes * 2, is_float ? fused_portable : dot_portable};
}

}  // namespace

RegisterProducts multiply_in_registers(ProductType type, int64_t n_round) {
    check<ArgumentError>(n_round >= 1 && n_round <= kMaxRounds,
                         "[kernels] expected 1 to {} rounds of products, got {}", kMaxRounds, n_round);
    const Loop loop = loop_of(type);
    loop.run(Operands{}, n_round);
    return {loop.instructions, loop.n_op * n_round};
}

}  // namespace minicpmo::kernels
