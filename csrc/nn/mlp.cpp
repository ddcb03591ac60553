#include "nn/mlp.h"

#include "kernels/activation.h"

namespace minicpmo::nn {

Tensor gelu(Graph& g, Tensor x, Gelu form) {
    return form == Gelu::erf ? kernels::gelu_erf(g, x) : kernels::gelu_tanh(g, x);
}

Tensor mlp_gelu(Graph& g, const Mlp& mlp, Tensor x, Gelu form) {
    return linear(g, mlp.down, gelu(g, linear(g, mlp.up, x), form));
}

Tensor mlp_swiglu(Graph& g, const GatedMlp& mlp, Tensor x) {
    const Tensor gate = linear(g, mlp.gate, x);  // [n_ff, n]
    const Tensor up = linear(g, mlp.up, x);      // [n_ff, n]
    return linear(g, mlp.down, ggml_swiglu_split(g.ctx(), gate, up));
}

}  // namespace minicpmo::nn
