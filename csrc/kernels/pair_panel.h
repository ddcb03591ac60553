#pragma once
// Panels of pairs: what pack_float.h packs, rounded to bfloat16 and read by the instruction that adds two
// products to a float32 sum at a time. Half the time of float32, with operands of 8 significant bits.
// Reference: Intel, bfloat16 hardware numerics definition, 2018.

#include "kernels/pack_float.h"

namespace minicpmo::kernels {

bool has_bf16_products();

// In place: panel[k][kPanel] of floats becomes [k / 2][kPanel] of pairs (k, k + 1). Behind an odd last k
// stands zero.
void make_pairs(float* panel, int64_t n_k);

// In place: n floats become n values of bfloat16, one zero more where n is odd.
void round_row(float* row, int64_t n);

// As multiply_panel of pack_float.h, overwriting or adding: `panel` of make_pairs, `x` rows of round_row,
// whose stride still counts floats.
void multiply_pairs(const float* panel, int64_t n_column, int64_t n_k, const TokenRows& x, float* dst,
                    int64_t dst_stride, Store store);

}  // namespace minicpmo::kernels
