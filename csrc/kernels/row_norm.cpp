#include "kernels/row_norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/vector_math.h"

namespace minicpmo::kernels {

namespace {

constexpr int64_t kLanes = 32;  // partial sums: enough to keep the adders of any processor busy

struct Row {
    const float* x;
    const float* bias;    // or nullptr
    const float* weight;  // or nullptr
    const float* shift;   // or nullptr
    float* y;
    int64_t n;
    float eps;
};

MINICPMO_CLONES void normalize_row(const Row& row) {
    const int64_t n = row.n;
    const int64_t n_whole = n / kLanes * kLanes;
    float* y = row.y;
    if (row.bias != nullptr) {
        for (int64_t i = 0; i < n; ++i) y[i] = row.x[i] + row.bias[i];
    } else {
        std::copy(row.x, row.x + n, y);
    }
    float sums[kLanes] = {};
    for (int64_t i = 0; i < n_whole; i += kLanes) {
        for (int64_t j = 0; j < kLanes; ++j) sums[j] += y[i + j];
    }
    float mean = 0.0F;
    for (const float sum : sums) mean += sum;
    for (int64_t i = n_whole; i < n; ++i) mean += y[i];
    mean /= static_cast<float>(n);
    float squares[kLanes] = {};
    for (int64_t i = 0; i < n_whole; i += kLanes) {
        for (int64_t j = 0; j < kLanes; ++j) squares[j] += (y[i + j] - mean) * (y[i + j] - mean);
    }
    float variance = 0.0F;
    for (const float square : squares) variance += square;
    for (int64_t i = n_whole; i < n; ++i) variance += (y[i] - mean) * (y[i] - mean);
    const float scale = 1.0F / std::sqrt(variance / static_cast<float>(n) + row.eps);
    if (row.weight != nullptr && row.shift != nullptr) {
        for (int64_t i = 0; i < n; ++i) y[i] = (y[i] - mean) * scale * row.weight[i] + row.shift[i];
        return;
    }
    for (int64_t i = 0; i < n; ++i) y[i] = (y[i] - mean) * scale;
    if (row.weight != nullptr) {
        for (int64_t i = 0; i < n; ++i) y[i] *= row.weight[i];
    }
    if (row.shift != nullptr) {
        for (int64_t i = 0; i < n; ++i) y[i] += row.shift[i];
    }
}

// tanh(ln(1 + w)) = w (w + 2) / (w (w + 2) + 2) with w = exp(x); beyond 20 that is 1 in float32.
MINICPMO_CLONES void mish_row(float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const float x = y[i];
        const float w = exp_bounded(std::min(std::max(x, -87.0F), 20.0F));
        const float t = w * (w + 2.0F);
        y[i] = x * (t / (t + 2.0F));
    }
}

MINICPMO_CLONES void gated_add_row(const float* y, const float* bias, const float* gate, float* x,
                                   int64_t n) {
    if (bias == nullptr) {
        for (int64_t i = 0; i < n; ++i) x[i] += gate[i] * y[i];
    } else {
        for (int64_t i = 0; i < n; ++i) x[i] += gate[i] * (y[i] + bias[i]);
    }
}

float* data_of(const ggml_tensor* x) { return static_cast<float*>(x->data); }

// What the operation needs beside its tensors: which of its sources is what, 0 for none.
struct RowNormNode {
    int bias = 0;
    int weight = 0;
    int shift = 0;
    int context = 0;
    float eps = 0.0F;
    bool mish = false;
};

void compute_row_norm(ggml_tensor* dst, int ith, int nth, void* userdata) {
    const auto& node = *static_cast<const RowNormNode*>(userdata);
    const ggml_tensor* x = dst->src[0];
    const int64_t n = x->ne[0];
    const int64_t n_row = ggml_nrows(x);
    const int64_t n_context = node.context != 0 ? dst->src[node.context]->ne[1] : 0;
    if (ith == 0 && n_context > 0) {
        const float* context = data_of(dst->src[node.context]);
        std::copy(context, context + n_context * n, data_of(dst));
    }
    const auto part = [&](int source, int64_t row) -> const float* {
        if (source == 0) return nullptr;
        const ggml_tensor* all = dst->src[source];
        return data_of(all) + row * n % ggml_nelements(all);
    };
    const int64_t begin = n_row * ith / nth;
    const int64_t end = n_row * (ith + 1) / nth;
    for (int64_t row = begin; row < end; ++row) {
        float* y = data_of(dst) + (n_context + row) * n;
        normalize_row({data_of(x) + row * n, part(node.bias, row), part(node.weight, row),
                       part(node.shift, row), y, n, node.eps});
    }
    if (node.mish) mish_row(data_of(dst) + (n_context + begin) * n, (end - begin) * n);
}

template <bool kHasBias>
void compute_gated_add(ggml_tensor* dst, int ith, int nth, void*) {
    const float* y = data_of(dst->src[1]);
    const float* gate = data_of(dst->src[2]);
    const float* bias = kHasBias ? data_of(dst->src[3]) : nullptr;
    const int64_t n = dst->ne[0];
    const int64_t n_row = ggml_nrows(dst);
    for (int64_t row = n_row * ith / nth; row < n_row * (ith + 1) / nth; ++row)
        gated_add_row(y + row * n, bias, gate, data_of(dst) + row * n, n);
}

// The same by ggml's operations, which every device has.
Tensor row_norm_composed(Graph& g, Tensor x, const RowNorm& norm) {
    ggml_context* ctx = g.ctx();
    const auto in_turn = [&](Tensor vector) {
        return ggml_reshape_2d(ctx, vector, x->ne[0], ggml_nelements(vector) / x->ne[0]);
    };
    Tensor y = norm.bias != nullptr ? ggml_add(ctx, x, in_turn(norm.bias)) : x;
    y = ggml_norm(ctx, y, norm.eps);
    if (norm.weight != nullptr) y = ggml_mul(ctx, y, in_turn(norm.weight));
    if (norm.shift != nullptr) y = ggml_add(ctx, y, in_turn(norm.shift));
    if (norm.mish) y = ggml_mul(ctx, y, ggml_tanh(ctx, ggml_softplus(ctx, y)));
    return norm.context != nullptr ? ggml_concat(ctx, norm.context, y, 1) : y;
}

}  // namespace

Tensor row_norm(Graph& g, Tensor x, const RowNorm& norm) {
    if (!g.on_cpu()) return row_norm_composed(g, x, norm);
    auto* node = g.own<RowNormNode>();
    node->eps = norm.eps;
    node->mish = norm.mish;
    std::vector<Tensor> args = {x};
    const auto add = [&](Tensor vector) {
        if (vector == nullptr) return 0;
        args.push_back(vector);
        return static_cast<int>(args.size()) - 1;
    };
    node->bias = add(norm.bias);
    node->weight = add(norm.weight);
    node->shift = add(norm.shift);
    node->context = add(norm.context);
    const int64_t n_context = norm.context != nullptr ? norm.context->ne[1] : 0;
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, x->ne[0], n_context + ggml_nrows(x), 1, 1, args.data(),
                          static_cast<int>(args.size()), compute_row_norm, GGML_N_TASKS_MAX, node);
}

Tensor gated_add(Graph& g, Tensor x, Tensor y, Tensor bias, Tensor gate) {
    ggml_context* ctx = g.ctx();
    if (!g.on_cpu()) {
        if (bias != nullptr) y = ggml_add(ctx, y, bias);
        return ggml_add(ctx, x, ggml_mul(ctx, y, gate));
    }
    Tensor args[] = {y, gate, bias};
    return bias != nullptr
               ? ggml_custom_inplace(ctx, x, args, 3, compute_gated_add<true>, GGML_N_TASKS_MAX, nullptr)
               : ggml_custom_inplace(ctx, x, args, 2, compute_gated_add<false>, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace minicpmo::kernels
