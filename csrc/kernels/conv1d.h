#pragma once
// Convolution over time as one matrix product per tap, read straight from the input: nothing is unfolded or
// padded, steps that fall outside are left out.
// Reference: torch.nn.Conv1d.

#include "core/graph.h"

namespace minicpmo::kernels {

// Zeros stand before the first pad_left steps of time and after the last, as many as pad_right.
struct Conv1dShape {
    int stride = 1;
    int dilation = 1;  // steps from tap to tap
    int pad_left = 0;
    int pad_right = 0;
};

// Steps of the output: (n + pads - dilation * (n_tap - 1) - 1) / stride + 1, and 0 where no kernel fits in.
int64_t conv1d_steps(int64_t n, int n_tap, const Conv1dShape& shape);

// w [n_tap * n_in, n_out] of type F32, F16 or BF16 with contiguous rows, x F32 [n_in, n] with contiguous
// rows, on a processor with AVX-512.
bool conv1d_supports(const ggml_tensor* w, const ggml_tensor* x, int n_tap);

// w: tap after tap, input i of tap k at k * n_in + i of each row. y[o, t] = sum over k, i of
// w[k * n_in + i, o] * x[i, t * stride + k * dilation - pad_left] -> F32 [n_out, conv1d_steps], at least 1.
// Only where supported, and on the CPU.
Tensor conv1d(Graph& g, Tensor w, Tensor x, int n_tap, const Conv1dShape& shape);

}  // namespace minicpmo::kernels
