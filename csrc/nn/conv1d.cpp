#include "nn/conv1d.h"

#include "base/error.h"
#include "kernels/mul_mat.h"

namespace minicpmo::nn {

namespace {

int64_t checked_steps(const Conv1d& layer, Tensor x, const Conv1dShape& shape) {
    const int64_t n_in = layer.kernel.weight->ne[0] / layer.n_tap;
    check<Error>(ggml_is_matrix(x) && x->ne[0] == n_in && x->nb[0] == sizeof(float) && x->ne[1] > 0,
                 "[conv1d] expected an input [{}, n], got [{}, {}, {}]", n_in, x->ne[0], x->ne[1], x->ne[2]);
    check<Error>(
        shape.stride > 0 && shape.dilation > 0 && shape.pad_left >= 0 && shape.pad_right >= 0,
        "[conv1d] expected a positive stride and dilation and no negative padding, got {}, {}, {}, {}",
        shape.stride, shape.dilation, shape.pad_left, shape.pad_right);
    const int64_t n_step = kernels::conv1d_steps(x->ne[1], layer.n_tap, shape);
    check<Error>(n_step > 0,
                 "[conv1d] expected room for {} taps {} apart, got {} steps with {} + {} of padding",
                 layer.n_tap, shape.dilation, x->ne[1], shape.pad_left, shape.pad_right);
    return n_step;
}

Tensor add_bias(Graph& g, Tensor y, Tensor bias) { return bias != nullptr ? ggml_add(g.ctx(), y, bias) : y; }

}  // namespace

Conv1d bind_conv1d(const WeightScope& scope, int64_t n_in, int64_t n_out, int n_tap, Bias bias) {
    return {bind_linear(scope, n_tap * n_in, n_out, bias), n_tap};
}

Tensor conv1d(Graph& g, const Conv1d& layer, Tensor x, const Conv1dShape& shape) {
    const auto& [weight, bias] = layer.kernel;
    if (!g.on_cpu() || !kernels::conv1d_supports(weight, x, layer.n_tap))
        return conv1d_unfolded(g, layer, x, shape);
    checked_steps(layer, x, shape);
    return add_bias(g, kernels::conv1d(g, weight, x, layer.n_tap, shape), bias);  // [n_out, n_step]
}

Tensor conv1d_unfolded(Graph& g, const Conv1d& layer, Tensor x, const Conv1dShape& shape) {
    const int64_t n_step = checked_steps(layer, x, shape);
    if (shape.pad_left + shape.pad_right > 0)
        x = ggml_pad_ext(g.ctx(), x, 0, 0, shape.pad_left, shape.pad_right, 0, 0, 0, 0);  // [n_in, n + pads]
    Tensor columns = nullptr;  // [n_tap * n_in, n_step]
    for (int tap = 0; tap < layer.n_tap; ++tap) {
        const size_t offset = static_cast<size_t>(tap) * static_cast<size_t>(shape.dilation) * x->nb[1];
        const Tensor seen =
            ggml_view_2d(g.ctx(), x, x->ne[0], n_step, x->nb[1] * static_cast<size_t>(shape.stride),
                         offset);  // what this tap sees: [n_in, n_step]
        columns = columns == nullptr ? seen : ggml_concat(g.ctx(), columns, seen, 0);
    }
    if (layer.n_tap == 1) columns = ggml_cont(g.ctx(), columns);
    return linear(g, layer.kernel, columns);
}

}  // namespace minicpmo::nn
