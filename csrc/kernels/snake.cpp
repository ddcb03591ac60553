#include "kernels/snake.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/vector_math.h"

namespace minicpmo::kernels {

namespace {

constexpr float kEpsilon = 1e-9F;
constexpr float kInversePi = 0.318309886F;
// pi in three parts; products of the first two with integers up to 2^13 are exact.
constexpr float kPiHigh = 3.140625F;
constexpr float kPiMiddle = 9.67502593994e-4F;
constexpr float kPiLow = 1.50995799e-7F;

struct Columns {
    const float* x;
    float* y;
    int64_t n_feature;
    int64_t n;
};

struct SnakeFeatures {
    const float* bias;
    const float* alpha;
    const float* inverse;  // 1 / (alpha + epsilon)
};

// The sign of a sine does not survive the square, so the angle is reduced by multiples of pi.
inline float squared_sine(float angle) {
    const float n = (angle * kInversePi + 12582912.0F) - 12582912.0F;  // 1.5 * 2^23 rounds to an integer
    const float r = ((angle - n * kPiHigh) - n * kPiMiddle) - n * kPiLow;
    const float r2 = r * r;
    float p = -2.3889859e-8F;
    p = p * r2 + 2.7525562e-6F;
    p = p * r2 - 1.9840874e-4F;
    p = p * r2 + 8.3333310e-3F;
    p = p * r2 - 1.6666667e-1F;
    const float s = p * r2 * r + r;
    return s * s;
}

MINICPMO_CLONES void snake_columns(const Columns& c, const SnakeFeatures& f) {
    const float* bias = f.bias;
    const float* alpha = f.alpha;
    const float* inverse = f.inverse;
    for (int64_t t = 0; t < c.n; ++t) {
        const float* __restrict x = c.x + t * c.n_feature;
        float* __restrict y = c.y + t * c.n_feature;
        for (int64_t i = 0; i < c.n_feature; ++i) {
            const float v = x[i] + bias[i];
            y[i] = v + squared_sine(alpha[i] * v) * inverse[i];
        }
    }
}

MINICPMO_CLONES void add_columns(const Columns& c, const float* bias) {
    for (int64_t t = 0; t < c.n; ++t) {
        const float* __restrict x = c.x + t * c.n_feature;
        float* __restrict y = c.y + t * c.n_feature;
        for (int64_t i = 0; i < c.n_feature; ++i) y[i] += x[i] + bias[i];
    }
}

const float* floats(const ggml_tensor* tensor) { return static_cast<const float*>(tensor->data); }

// One thread's part of x and of what becomes of it at y.
Columns columns_of(const ggml_tensor* x, float* y, int ith, int nth) {
    const int64_t per_thread = (x->ne[1] + nth - 1) / nth;
    const int64_t begin = std::min(x->ne[1], per_thread * ith);
    const int64_t end = std::min(x->ne[1], begin + per_thread);
    return {floats(x) + begin * x->ne[0], y + begin * x->ne[0], x->ne[0], end - begin};
}

struct SnakeNode {
    bool has_bias = false;
    bool has_past = false;
};

// Sources: x, alpha, then bias and past as the node says.
void compute_snake(ggml_tensor* dst, int ith, int nth, void* userdata) {
    const auto& node = *static_cast<const SnakeNode*>(userdata);
    const ggml_tensor* x = dst->src[0];
    const ggml_tensor* past = node.has_past ? dst->src[node.has_bias ? 3 : 2] : nullptr;
    const auto n_feature = static_cast<size_t>(x->ne[0]);
    const float* alpha = floats(dst->src[1]);
    std::vector<float> inverse(n_feature);
    for (size_t i = 0; i < n_feature; ++i) inverse[i] = 1.0F / (alpha[i] + kEpsilon);
    const std::vector<float> zeros(node.has_bias ? 0 : n_feature);
    auto* y = static_cast<float*>(dst->data);
    if (past != nullptr) {
        if (ith == 0) std::memcpy(y, past->data, ggml_nbytes(past));
        y += ggml_nelements(past);
    }
    snake_columns(columns_of(x, y, ith, nth),
                  {node.has_bias ? floats(dst->src[2]) : zeros.data(), alpha, inverse.data()});
}

void compute_add(ggml_tensor* dst, const ggml_tensor*, const ggml_tensor* x, const ggml_tensor* bias, int ith,
                 int nth, void*) {
    add_columns(columns_of(x, static_cast<float*>(dst->data), ith, nth), floats(bias));
}

// By ggml's operations.
Tensor snake_composed(Graph& g, Tensor x, Tensor bias, Tensor alpha, Tensor past) {
    ggml_context* ctx = g.ctx();
    if (bias != nullptr) x = ggml_add(ctx, x, bias);
    const Tensor sine = ggml_sin(ctx, ggml_mul(ctx, x, alpha));
    const Tensor divisor = ggml_scale_bias(ctx, alpha, 1.0F, kEpsilon);
    x = ggml_add(ctx, x, ggml_div(ctx, ggml_sqr(ctx, sine), divisor));
    return past == nullptr ? x : ggml_concat(ctx, past, x, 1);
}

}  // namespace

Tensor snake(Graph& g, Tensor x, Tensor bias, Tensor alpha, Tensor past) {
    const int64_t n_past = past == nullptr ? 0 : past->ne[1];
    check<Error>(ggml_is_contiguous(x) && ggml_is_matrix(x) && alpha->ne[0] == x->ne[0] &&
                     (past == nullptr || (ggml_is_contiguous(past) && past->ne[0] == x->ne[0])),
                 "[snake] expected contiguous [{}, n] and its past, got [{}, {}]", alpha->ne[0], x->ne[0],
                 x->ne[1]);
    if (!g.on_cpu()) return snake_composed(g, x, bias, alpha, past);
    auto* node = g.own<SnakeNode>();
    node->has_bias = bias != nullptr;
    node->has_past = past != nullptr;
    std::vector<Tensor> args = {x, alpha};
    if (bias != nullptr) args.push_back(bias);
    if (past != nullptr) args.push_back(past);
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, x->ne[0], n_past + x->ne[1], 1, 1, args.data(),
                          static_cast<int>(args.size()), compute_snake, GGML_N_TASKS_MAX, node);
}

Tensor add_biased(Graph& g, Tensor x, Tensor y, Tensor bias) {
    check<Error>(ggml_are_same_shape(x, y) && ggml_is_contiguous(x) && ggml_is_contiguous(y),
                 "[snake] expected two contiguous [{}, {}], got another [{}, {}]", y->ne[0], y->ne[1],
                 x->ne[0], x->ne[1]);
    if (!g.on_cpu()) return ggml_add(g.ctx(), ggml_add(g.ctx(), y, bias), x);
    return ggml_map_custom3_inplace(g.ctx(), y, x, bias, compute_add, GGML_N_TASKS_MAX, nullptr);
}

}  // namespace minicpmo::kernels
