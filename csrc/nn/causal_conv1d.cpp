#include "nn/causal_conv1d.h"

#include <string>

#include "base/error.h"

namespace minicpmo::nn {

namespace {

constexpr size_t kNodesPerConv = 40;  // with its activation, where a device needs ggml's operations
constexpr size_t kNodesPerTap = 3;

std::string past_name(int64_t begin) { return "past." + std::to_string(begin); }

}  // namespace

Tensor CausalConv1d::past_of(Graph& g, Tensor past) const {
    if (n_past == 0) return nullptr;
    return ggml_view_2d(g.ctx(), past, n_in(), n_past, static_cast<size_t>(n_in()) * sizeof(float),
                        static_cast<size_t>(past_begin) * sizeof(float));
}

Tensor CausalConv1d::behind_past(Graph& g, Tensor x, Tensor past) const {
    return n_past == 0 ? x : ggml_concat(g.ctx(), past_of(g, past), x, 1);
}

Tensor CausalConv1d::apply_without_bias(Graph& g, Tensor x) const {
    if (n_past > 0) {
        const Tensor last = ggml_view_2d(g.ctx(), x, x->ne[0], n_past, x->nb[1],
                                         x->nb[1] * static_cast<size_t>(x->ne[1] - n_past));
        g.output(past_name(past_begin), ggml_cont(g.ctx(), last));
    }
    return conv1d(g, {{conv.kernel.weight, nullptr}, conv.n_tap}, x, shape);
}

Tensor CausalConv1d::apply(Graph& g, Tensor x) const {
    return ggml_add_inplace(g.ctx(), apply_without_bias(g, x), bias());
}

CausalConv1d PastLayout::bind(const WeightScope& scope, int64_t n_in, int64_t n_out, int n_tap,
                              Conv1dShape shape) {
    CausalConv1d layer = {bind_conv1d(scope, n_in, n_out, n_tap), shape, 0, 0};
    n_node_ += kNodesPerConv + kNodesPerTap * static_cast<size_t>(n_tap);
    if (!is_causal_) return layer;
    layer.n_past = shape.pad_left;
    layer.shape.pad_left = 0;
    layer.shape.pad_right = 0;
    layer.past_begin = size_;
    if (layer.n_past > 0) parts_.push_back({size_, layer.n_past * n_in});
    size_ += layer.n_past * n_in;
    return layer;
}

Tensor PastLayout::input(Graph& g) const {
    return size_ == 0 ? nullptr : g.input("past", GGML_TYPE_F32, {size_});
}

void PastLayout::set(GraphRunner& runner, std::span<const float> past) const {
    check<Error>(static_cast<int64_t>(past.size()) == size_, "[conv1d] expected a past of {} floats, got {}",
                 size_, past.size());
    if (size_ > 0) runner.set("past", past);
}

void PastLayout::read(const GraphRunner& runner, std::span<float> past) const {
    for (const Part& part : parts_)
        runner.read(past_name(part.begin),
                    past.subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.size)));
}

}  // namespace minicpmo::nn
