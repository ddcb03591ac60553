#include "nn/linear.h"

#include "kernels/mul_mat.h"

namespace minicpmo::nn {

Linear bind_linear(const WeightScope& scope, int64_t n_in, int64_t n_out, Bias bias) {
    Linear layer;
    layer.weight = scope.get("weight", {n_in, n_out});
    if (bias == Bias::yes) layer.bias = scope.get_f32("bias", {n_out});
    if (bias == Bias::optional) layer.bias = scope.try_get_f32("bias", {n_out});
    return layer;
}

Tensor linear(Graph& g, const Linear& layer, Tensor x) {
    const Tensor y = kernels::mul_mat(g, layer.weight, x);
    return layer.bias != nullptr ? ggml_add(g.ctx(), y, layer.bias) : y;
}

}  // namespace minicpmo::nn
