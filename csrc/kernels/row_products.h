#pragma once
// Products of one vector with rows that are read where they lie: what a single token's attention needs of
// keys and values, which it reads once.

#include "kernels/pack_float.h"

namespace minicpmo::kernels {

// out[i] = sum over k < n of rows[i][k] * x[k], for i < n_row.
void dot_rows(const FloatRows& rows, int64_t n_row, const float* x, int64_t n, float* out);

// out[k] (+)= sum over i < n_row of weights[i] * rows[i][k], for k < n.
void sum_rows(const FloatRows& rows, int64_t n_row, const float* weights, int64_t n, float* out, Store store);

}  // namespace minicpmo::kernels
