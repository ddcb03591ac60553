#pragma once
// Normalisation over the features of each row. Reference: torch.nn.LayerNorm; RMSNorm (Zhang and Sennrich,
// 2019).

#include "core/graph.h"
#include "core/weights.h"

namespace minicpmo::nn {

struct LayerNorm {
    Tensor weight = nullptr;  // [n]
    Tensor bias = nullptr;    // [n]
    float eps = 1e-6F;
};
LayerNorm bind_layer_norm(const WeightScope& scope, int64_t n, float eps);
Tensor layer_norm(Graph& g, const LayerNorm& norm, Tensor x);

struct RmsNorm {
    Tensor weight = nullptr;  // [n]
    float eps = 1e-6F;
};
RmsNorm bind_rms_norm(const WeightScope& scope, int64_t n, float eps);
Tensor rms_norm(Graph& g, const RmsNorm& norm, Tensor x);

}  // namespace minicpmo::nn
