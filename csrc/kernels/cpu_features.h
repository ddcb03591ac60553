#pragma once
// What the processor can do, asked once; false wherever we have no kernels for it.
// Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID leaf 7.

namespace minicpmo::kernels {

bool has_avx512();       // F, BW, DQ and VL: the base of every kernel here
bool has_avx512_vnni();  // the same, with 8-bit dot products

}  // namespace minicpmo::kernels
