#pragma once
// What the processor can do, asked once: the instruction sets that there are kernels for.
// Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID leaf 7.

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MINICPMO_HAS_X86_CODE 1
#else
#define MINICPMO_HAS_X86_CODE 0
#endif

namespace minicpmo::kernels {

enum class Isa {
    none,         // ggml's own kernels
    avx512_vnni,  // F, BW, DQ and VL, with 8-bit dot products
};

Isa isa();  // the best of this processor

inline bool has_avx512_vnni() { return isa() == Isa::avx512_vnni; }

}  // namespace minicpmo::kernels
