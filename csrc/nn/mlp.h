#pragma once
// The two feed-forward blocks of transformers: plain (up, GELU, down) and gated (SwiGLU; Shazeer, 2020).

#include "nn/linear.h"

namespace minicpmo::nn {

enum class Gelu { tanh, erf };  // the approximation, or x times the normal distribution itself

struct Mlp {
    Linear up;    // [n_embd, n_ff]
    Linear down;  // [n_ff, n_embd]
};
Tensor gelu(Graph& g, Tensor x, Gelu form);  // on the CPU it writes over x, which must be contiguous
Tensor mlp_gelu(Graph& g, const Mlp& mlp, Tensor x, Gelu form);

struct GatedMlp {
    Linear gate;  // [n_embd, n_ff]
    Linear up;    // [n_embd, n_ff]
    Linear down;  // [n_ff, n_embd]
};
Tensor mlp_swiglu(Graph& g, const GatedMlp& mlp, Tensor x);

}  // namespace minicpmo::nn
