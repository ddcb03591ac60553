#pragma once
// The AVX-VNNI kernels by the encoding that AVX-512 has for their instruction: many processors have that
// alone.

#include "kernels/int8/int8_kernels.h"

const minicpmo::kernels::Int8Kernels* evex_vnni();  // nullptr on other processors
