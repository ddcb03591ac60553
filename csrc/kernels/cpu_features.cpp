#include "kernels/cpu_features.h"

namespace minicpmo::kernels {

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

bool has_avx512() {
    static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return has;
}

bool has_avx512_vnni() {
    static const bool has = has_avx512() && __builtin_cpu_supports("avx512vnni");
    return has;
}

#else

bool has_avx512() { return false; }
bool has_avx512_vnni() { return false; }

#endif

}  // namespace minicpmo::kernels
