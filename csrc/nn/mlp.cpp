#include "nn/mlp.h"

#include "kernels/activation.h"

namespace minicpmo::nn {

Tensor mlp_gelu(Graph& g, const Mlp& mlp, Tensor x, Gelu form) {
    const Tensor up = linear(g, mlp.up, x);  // [n_ff, n]
    const Tensor active = form == Gelu::erf ? kernels::gelu_erf(g, up) : kernels::gelu_tanh(g, up);
    return linear(g, mlp.down, active);
}

Tensor mlp_swiglu(Graph& g, const GatedMlp& mlp, Tensor x) {
    const Tensor gate = linear(g, mlp.gate, x);  // [n_ff, n]
    const Tensor up = linear(g, mlp.up, x);      // [n_ff, n]
    return linear(g, mlp.down, ggml_swiglu_split(g.ctx(), gate, up));
}

}  // namespace minicpmo::nn
