#pragma once
// Conv1d: convolution over time, x [n_in, n] -> [n_out, n_step].
// Reference: torch.nn.Conv1d, with its weight [n_out, n_in, n_tap] stored as [n_out, n_tap, n_in].

#include "kernels/conv1d.h"
#include "nn/linear.h"

namespace minicpmo::nn {

using kernels::Conv1dShape;  // stride, dilation, pad_left, pad_right

struct Conv1d {
    Linear kernel;  // weight [n_tap * n_in, n_out]: input i of tap k at k * n_in + i; bias [n_out] or absent
    int n_tap = 1;
};

Conv1d bind_conv1d(const WeightScope& scope, int64_t n_in, int64_t n_out, int n_tap, Bias bias = Bias::yes);

// x F32 [n_in, n] with contiguous rows -> [n_out, (n + pads - dilation * (n_tap - 1) - 1) / stride + 1].
// Throws Error if that is no step at all.
Tensor conv1d(Graph& g, const Conv1d& layer, Tensor x, const Conv1dShape& shape = {});

// The same by ggml's operations, which every device has: all that a step sees copied into one column, about
// 2 * n_tap + 4 nodes of the graph.
Tensor conv1d_unfolded(Graph& g, const Conv1d& layer, Tensor x, const Conv1dShape& shape = {});

}  // namespace minicpmo::nn
