#pragma once
// What the processor can do, asked once: the instruction sets that there are kernels for.
// References: Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID leaf 7; the hardware
// capabilities that Linux passes to programs on Arm, and Apple's sysctl names hw.optional.arm.FEAT_*.

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MINICPMO_HAS_X86_CODE 1
#else
#define MINICPMO_HAS_X86_CODE 0
#endif
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define MINICPMO_HAS_ARM_CODE 1
#else
#define MINICPMO_HAS_ARM_CODE 0
#endif

namespace minicpmo::kernels {

// Of one kind of processor, each is better than those before it.
enum class Isa {
    none,         // ggml's own kernels
    avx2,         // with FMA and F16C
    avx_vnni,     // the same, with 8-bit dot products
    avx512_vnni,  // F, BW, DQ and VL, with 8-bit dot products
    dotprod,      // NEON with 8-bit dot products
    i8mm,         // the same, with products of 8-bit matrices
};

bool has(Isa set);  // this processor has it

// What kernels are chosen by: the best of this processor, unless use_isa() said otherwise.
Isa isa();

inline bool has_avx512_vnni() { return isa() == Isa::avx512_vnni; }  // and its kernels are to be used

// For tests: as if the processor, which must have it, had this instruction set and none better.
void use_isa(Isa set);

}  // namespace minicpmo::kernels
