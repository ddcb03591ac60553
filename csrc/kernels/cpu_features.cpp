#include "kernels/cpu_features.h"

namespace minicpmo::kernels {

namespace {

Isa best() {
#if MINICPMO_HAS_X86_CODE
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        return Isa::avx512_vnni;
#endif
    return Isa::none;
}

}  // namespace

Isa isa() {
    static const Isa set = best();
    return set;
}

}  // namespace minicpmo::kernels
