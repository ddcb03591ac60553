#include "nn/mlp.h"

#include "kernels/activation.h"

namespace minicpmo::nn {

Tensor mlp_gelu(Graph& g, const Mlp& mlp, Tensor x) {
    return linear(g, mlp.down, kernels::gelu_tanh(g, linear(g, mlp.up, x)));
}

Tensor mlp_swiglu(Graph& g, const GatedMlp& mlp, Tensor x) {
    const Tensor gate = linear(g, mlp.gate, x);  // [n_ff, n]
    const Tensor up = linear(g, mlp.up, x);      // [n_ff, n]
    return linear(g, mlp.down, ggml_swiglu_split(g.ctx(), gate, up));
}

}  // namespace minicpmo::nn
