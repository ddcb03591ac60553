#include "kernels/relative_attention.h"

#include <algorithm>

#include "kernels/avx512.h"
#include "kernels/pack_float.h"
#include "kernels/softmax_rows.h"
#include "kernels/work_share.h"

namespace minicpmo::kernels {

Tensor relative_attention_composed(Graph& g, const RelativeAttention& x) {
    ggml_context* ctx = g.ctx();
    const auto time_second = [&](Tensor t) {
        return ggml_permute(ctx, t, 0, 2, 1, 3);
    };  // [d_head, n, n_head]
    const int64_t n = x.q->ne[2];
    const Tensor content =
        ggml_mul_mat(ctx, time_second(x.k), time_second(ggml_add(ctx, x.q, x.content_bias)));
    const Tensor by_distance =
        ggml_mul_mat(ctx, time_second(x.distances), time_second(ggml_add(ctx, x.q, x.distance_bias)));
    // Query i meets key j at distance row n - 1 - i + j: each row of the view begins one entry earlier.
    const Tensor shifted =
        ggml_view_3d(ctx, by_distance, content->ne[0], n, content->ne[2], by_distance->nb[1] - sizeof(float),
                     by_distance->nb[2], static_cast<size_t>(n - 1) * sizeof(float));
    const Tensor weights = ggml_soft_max_ext(ctx, ggml_add(ctx, content, shifted), nullptr, x.scale, 0.0F);
    const Tensor values = ggml_cont(ctx, ggml_permute(ctx, x.v, 1, 2, 0, 3));  // [n_key, d_head, n_head]
    const Tensor out = ggml_mul_mat(ctx, values, weights);                     // [d_head, n, n_head]
    return ggml_reshape_2d(ctx, ggml_cont(ctx, time_second(out)), x.q->ne[0] * x.q->ne[1], n);
}

#if MINICPMO_HAS_AVX512_CODE

namespace {

constexpr int64_t kRows = 32;                   // queries of an item
constexpr int64_t kKeys = 11 * kPanel;          // of a chunk; what it needs stays in the second-level cache
constexpr int64_t kDistances = kKeys + kPanel;  // that the queries of an item meet in a chunk, and a rest

struct RelativeAttentionNode {
    float scale = 1.0F;
    WorkShare share;
};

FloatRows rows_of_head(const ggml_tensor* x, int64_t head) {
    return {static_cast<const std::byte*>(x->data) + static_cast<size_t>(head) * x->nb[1], x->nb[2], x->type};
}

struct Scratch {
    float* content_queries;   // [kRows][d_head]
    float* distance_queries;  // [kRows][d_head]
    float* panel;             // [d_head][kPanel]
    float* values;            // [panel of d_head][key][kPanel]
    float* scores;            // [kRows][kKeys]
    float* by_distance;       // [kRows][kDistances]
};

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

Scratch make_scratch(int64_t d_head) {
    const int64_t sizes[] = {kRows * d_head,  kRows * d_head,
                             d_head * kPanel, round_up(d_head, kPanel) * kKeys,
                             kRows * kKeys,   kRows * kDistances};
    int64_t total = 0;
    for (const int64_t size : sizes) total += round_up(size, 16);
    float* next = thread_scratch(static_cast<size_t>(total));
    float* parts[6];
    for (size_t i = 0; i < 6; ++i) {
        parts[i] = next;
        next += round_up(sizes[i], 16);
    }
    return {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]};
}

// The queries of one head from `query` on.
struct Item {
    const ggml_tensor* dst;
    int64_t head;
    int64_t query;
    int64_t n_row;
    float scale;

    const ggml_tensor* q() const { return dst->src[0]; }
    int64_t d_head() const { return q()->ne[0]; }
    int64_t n_key() const { return dst->src[1]->ne[2]; }
    float* output() const { return static_cast<float*>(dst->data) + query * dst->ne[0] + head * d_head(); }
};

void add_bias(const Item& item, const ggml_tensor* bias, float* rows) {
    const int64_t d = item.d_head();
    const float* b = static_cast<const float*>(bias->data) + item.head * d;
    for (int64_t r = 0; r < item.n_row; ++r) {
        const auto* q = reinterpret_cast<const float*>(static_cast<const std::byte*>(item.q()->data) +
                                                       static_cast<size_t>(item.query + r) * item.q()->nb[2] +
                                                       static_cast<size_t>(item.head) * item.q()->nb[1]);
        for (int64_t i = 0; i < d; ++i) rows[r * d + i] = q[i] + b[i];
    }
}

// dst[r][j] = queries[r] . rows[j]
void multiply(const Item& item, const float* queries, const FloatRows& rows, int64_t n, float* panel,
              float* dst, int64_t stride) {
    const int64_t d = item.d_head();
    for (int64_t j = 0; j < n; j += kPanel) {
        const int64_t n_column = std::min(kPanel, n - j);
        pack_columns(rows.from(j), n_column, 0, d, panel);
        multiply_panel(panel, n_column, d, {queries, d, item.n_row}, dst + j, stride, Store::overwrite);
    }
}

// The weights of the keys [begin, begin + n), not normalised yet; the output so far is scaled to match.
void weigh_keys(const Item& item, int64_t begin, int64_t n, RunningSoftmax* softmax, const Scratch& s) {
    multiply(item, s.content_queries, rows_of_head(item.dst->src[1], item.head).from(begin), n, s.panel,
             s.scores, kKeys);
    // Query i meets key j at distance row n_query - 1 - i + j: the last query's first one comes first.
    const int64_t first = item.q()->ne[2] - item.query - item.n_row + begin;
    multiply(item, s.distance_queries, rows_of_head(item.dst->src[3], item.head).from(first),
             n + item.n_row - 1, s.panel, s.by_distance, kDistances);
    for (int64_t r = 0; r < item.n_row; ++r) {
        float* scores = s.scores + r * kKeys;
        const float* shifted = s.by_distance + r * kDistances + item.n_row - 1 - r;
        for (int64_t j = 0; j < n; ++j) scores[j] += shifted[j];
        const float factor = softmax[r].advance(scores, n, item.scale, nullptr);
        if (begin > 0 && factor != 1.0F)
            scale_row(item.output() + r * item.dst->ne[0], item.d_head(), factor);
    }
}

void attend(const Item& item, const Scratch& s) {
    const int64_t d = item.d_head();
    RunningSoftmax softmax[kRows];
    add_bias(item, item.dst->src[4], s.content_queries);
    add_bias(item, item.dst->src[5], s.distance_queries);
    for (int64_t begin = 0; begin < item.n_key(); begin += kKeys) {
        const int64_t n = std::min(kKeys, item.n_key() - begin);
        weigh_keys(item, begin, n, softmax, s);
        const FloatRows values = rows_of_head(item.dst->src[2], item.head).from(begin);
        for (int64_t i = 0; i < d; i += kPanel) {
            const int64_t n_column = std::min(kPanel, d - i);
            pack_rows(values, n_column, i, n, s.values + i * kKeys);
            multiply_panel(s.values + i * kKeys, n_column, n, {s.scores, kKeys, item.n_row},
                           item.output() + i, item.dst->ne[0], begin == 0 ? Store::overwrite : Store::add);
        }
    }
    for (int64_t r = 0; r < item.n_row; ++r)
        scale_row(item.output() + r * item.dst->ne[0], d, 1.0F / softmax[r].sum);
}

void compute(ggml_tensor* dst, int, int nth, void* userdata) {
    auto& node = *static_cast<RelativeAttentionNode*>(userdata);
    const int64_t n_query = dst->ne[1];
    const int64_t n_block = (n_query + kRows - 1) / kRows;
    const Scratch scratch = make_scratch(dst->src[0]->ne[0]);
    for (int64_t i = 0; (i = node.share.take(n_block * dst->src[0]->ne[1], nth)) >= 0;) {
        const int64_t query = i % n_block * kRows;
        attend({dst, i / n_block, query, std::min(kRows, n_query - query), node.scale}, scratch);
    }
}

bool has_packable_heads(const ggml_tensor* x) {
    return is_packable(x->type) && x->nb[0] == ggml_type_size(x->type) && x->ne[3] == 1;
}

}  // namespace

Tensor relative_attention(Graph& g, const RelativeAttention& x) {
    if (!g.on_cpu() || !has_packable_heads(x.q) || x.q->type != GGML_TYPE_F32 || !has_packable_heads(x.k) ||
        !has_packable_heads(x.v) || !has_packable_heads(x.distances))
        return relative_attention_composed(g, x);
    auto* node = g.own<RelativeAttentionNode>();
    node->scale = x.scale;
    Tensor args[] = {x.q, x.k, x.v, x.distances, x.content_bias, x.distance_bias};
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, x.q->ne[0] * x.q->ne[1], x.q->ne[2], 1, 1, args, 6, compute,
                          GGML_N_TASKS_MAX, node);
}

#else

Tensor relative_attention(Graph& g, const RelativeAttention& x) { return relative_attention_composed(g, x); }

#endif

}  // namespace minicpmo::kernels
