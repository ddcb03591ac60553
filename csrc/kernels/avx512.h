#pragma once
// The AVX-512 instruction set for the functions that use it, whatever the rest of the library is compiled
// for. Macros, because an attribute has no other name. Callers ask cpu_features.h first.

#include "kernels/cpu_features.h"

#define MINICPMO_HAS_AVX512_CODE MINICPMO_HAS_X86_CODE
#if MINICPMO_HAS_AVX512_CODE
#define MINICPMO_TARGET_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#include <immintrin.h>
#else
#define MINICPMO_TARGET_AVX512
#endif
