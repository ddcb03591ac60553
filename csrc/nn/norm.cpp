#include "nn/norm.h"

namespace minicpmo::nn {

LayerNorm bind_layer_norm(const WeightScope& scope, int64_t n, float eps) {
    return {scope.get_f32("weight", {n}), scope.get_f32("bias", {n}), eps};
}

Tensor layer_norm(Graph& g, const LayerNorm& norm, Tensor x) {
    const Tensor scaled = ggml_mul(g.ctx(), ggml_norm(g.ctx(), x, norm.eps), norm.weight);
    return ggml_add(g.ctx(), scaled, norm.bias);
}

RmsNorm bind_rms_norm(const WeightScope& scope, int64_t n, float eps) {
    return {scope.get_f32("weight", {n}), eps};
}

Tensor rms_norm(Graph& g, const RmsNorm& norm, Tensor x) {
    return ggml_mul(g.ctx(), ggml_rms_norm(g.ctx(), x, norm.eps), norm.weight);
}

}  // namespace minicpmo::nn
