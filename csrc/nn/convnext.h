#pragma once
// ConvNext: a block that looks at each feature's surroundings in time and then at all features of a frame.
// Reference: ConvNeXt (Liu et al., 2022) for sound: vocos/modules.py ConvNeXtBlock; its scale of what is
// added is part of the weights of `down`.

#include "nn/mlp.h"
#include "nn/norm.h"

namespace minicpmo::nn {

struct ConvNext {
    Tensor taps = nullptr;  // [n_embd, n_tap], the oldest first
    Tensor bias = nullptr;  // [n_embd]
    int dilation = 1;       // frames from one tap to the next
    LayerNorm norm;
    Mlp mlp;
};

struct ConvNextConfig {
    int n_embd = 0;
    int n_ff = 0;
    int n_tap = 7;  // odd: the middle one is at the frame itself
    int dilation = 1;
    float norm_eps = 1e-6F;
};

inline constexpr size_t kConvNextNodes = 32;  // of a graph, at most

ConvNext bind_convnext(const WeightScope& scope, const ConvNextConfig& config);
Tensor convnext(Graph& g, const ConvNext& block, Tensor x);  // [n_embd, n] -> [n_embd, n]

// Every feature by itself, [n_embd, n] -> [n_embd, n], zeros around it.
Tensor depthwise_conv1d(Graph& g, Tensor taps, Tensor x, int dilation = 1);

}  // namespace minicpmo::nn
