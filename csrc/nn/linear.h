#pragma once
// Linear: y = W x + b. Reference: torch.nn.Linear.

#include "core/graph.h"
#include "core/weights.h"

namespace minicpmo::nn {

enum class Bias { no, yes, optional };

struct Linear {
    Tensor weight = nullptr;  // [n_in, n_out]
    Tensor bias = nullptr;    // [n_out] or absent
};

Linear bind_linear(const WeightScope& scope, int64_t n_in, int64_t n_out, Bias bias = Bias::yes);
Tensor linear(Graph& g, const Linear& layer, Tensor x);  // [n_in, n, ...] -> [n_out, n, ...]

}  // namespace minicpmo::nn
