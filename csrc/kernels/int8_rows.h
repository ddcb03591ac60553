#pragma once
// Int8Rows: activations as int8 with one scale per 32 values, the form that the integer products read.

#include <cstdint>

#include "core/graph.h"

namespace minicpmo::kernels {

constexpr int kInt8Block = 32;  // values that share a scale

// Where the parts of one row lie: values, then scales, then scaled sums of 16 and of 32 values.
// x[i] is about values[i] * scales[i / 32]; sums16[j] = scale * (values of block j of 16 added up), sums32
// likewise.
struct Int8Row {
    const int8_t* values;
    const float* scales;
    const float* sums16;
    const float* sums32;

    Int8Row(const void* row, int64_t n_in)
        : values(static_cast<const int8_t*>(row)),
          scales(reinterpret_cast<const float*>(values + n_in)),
          sums16(scales + n_in / 32),
          sums32(sums16 + n_in / 16) {}
};

// x F32 [n_in, n], n_in a multiple of 32 -> I8 [bytes of a row, n]; one node per x, however many products
// read it.
Tensor int8_rows(Graph& g, Tensor x);

}  // namespace minicpmo::kernels
