#include "kernels/cpu_features.h"

#include <atomic>
#include <cassert>

#if MINICPMO_HAS_X86_CODE
#include <cpuid.h>
#elif MINICPMO_HAS_ARM_CODE && defined(__linux__)
#include <sys/auxv.h>
#elif MINICPMO_HAS_ARM_CODE && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace minicpmo::kernels {

namespace {

#if MINICPMO_HAS_X86_CODE

// Compilers learnt its name late.
bool has_avx_vnni() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1U) != 0;
}

bool ask(Isa set) {
    // These also ask whether the operating system keeps the registers.
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    switch (set) {
        case Isa::none:
            return true;
        case Isa::avx2:
            return has_avx2;  // every processor with AVX2 has F16C
        case Isa::avx_vnni:
            return has_avx2 && has_avx_vnni();
        case Isa::avx512_vnni:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512vnni");
        default:
            return false;
    }
}

#elif MINICPMO_HAS_ARM_CODE && defined(__linux__)

bool ask(Isa set) {
    constexpr unsigned long kDotprod = 1UL << 20;  // of AT_HWCAP
    constexpr unsigned long kI8mm = 1UL << 13;     // of AT_HWCAP2
    const bool has_dotprod = (getauxval(AT_HWCAP) & kDotprod) != 0;
    if (set == Isa::dotprod) return has_dotprod;
    if (set == Isa::i8mm) return has_dotprod && (getauxval(AT_HWCAP2) & kI8mm) != 0;
    return set == Isa::none;
}

#elif MINICPMO_HAS_ARM_CODE && defined(__APPLE__)

bool has_feature(const char* name) {
    int value = 0;
    size_t size = sizeof(value);
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

bool ask(Isa set) {
    const bool has_dotprod = has_feature("hw.optional.arm.FEAT_DotProd");
    if (set == Isa::dotprod) return has_dotprod;
    if (set == Isa::i8mm) return has_dotprod && has_feature("hw.optional.arm.FEAT_I8MM");
    return set == Isa::none;
}

#else

bool ask(Isa set) { return set == Isa::none; }

#endif

Isa best() {
    Isa found = Isa::none;
    for (const Isa set : {Isa::avx2, Isa::avx_vnni, Isa::avx512_vnni, Isa::dotprod, Isa::i8mm})
        if (ask(set)) found = set;
    return found;
}

std::atomic<Isa>& chosen() {
    static std::atomic<Isa> set = best();
    return set;
}

}  // namespace

bool has(Isa set) { return ask(set); }

Isa isa() { return chosen(); }

void use_isa(Isa set) {
    assert(has(set));
    chosen() = set;
}

}  // namespace minicpmo::kernels
