#pragma once
// Snake: x + sin(a x)^2 / (a + 1e-9) with an a per feature, in one pass that also takes in what surrounds it
// in a vocoder. The sine is exact to 2e-7 for |a x| up to 10^4.
// Reference: Ziyin et al., Neural Networks Fail to Learn Periodic Functions and How to Fix It, 2020;
// stepaudio2/causal_vocoder/activation.py, Snake (alpha not logarithmic).

#include "core/graph.h"

namespace minicpmo::kernels {

// snake(x + bias) behind the frames of `past`, which are taken as they are: x F32 [n_feature, n], alpha
// [n_feature], bias [n_feature] or nullptr, past [n_feature, n_past] or nullptr, all contiguous ->
// [n_feature, n_past + n].
Tensor snake(Graph& g, Tensor x, Tensor bias, Tensor alpha, Tensor past);

// x + y + bias for x, y F32 [n_feature, n], bias [n_feature]. On the CPU it writes over y.
Tensor add_biased(Graph& g, Tensor x, Tensor y, Tensor bias);

}  // namespace minicpmo::kernels
