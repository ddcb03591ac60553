#include "kernels/attention.h"

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "base/error.h"
#include "kernels/avx512.h"
#include "kernels/pack_float.h"
#include "kernels/pair_panel.h"
#include "kernels/row_products.h"
#include "kernels/softmax_rows.h"

namespace minicpmo::kernels {

#if MINICPMO_HAS_AVX512_CODE

namespace {

// Measured, not derived: scores, keys and values of a chunk stay in the second-level cache.
constexpr int64_t kRows = 32;           // of an item
constexpr int64_t kKeys = 11 * kPanel;  // of a chunk

// A thread's smallest piece of work: queries of one head, or for a single query heads that share their keys.
struct Item {
    int64_t head;   // the first
    int64_t query;  // the first
    int64_t n_row;
    VisibleRange keys;  // outside of it the mask hides everything from all rows
    RunningSoftmax softmax[kRows];
    bool has_output = false;  // otherwise dst holds nothing yet
};

struct Operands {
    const ggml_tensor* q;
    const ggml_tensor* k;
    const ggml_tensor* v;
    const ggml_tensor* mask;  // or nullptr
    ggml_tensor* dst;
    float scale;
    bool in_pairs;  // of bfloat16

    int64_t d_head() const { return q->ne[0]; }
    int64_t n_head() const { return q->ne[1]; }
    int64_t n_query() const { return q->ne[2]; }
    int64_t d_value() const { return v->ne[0]; }
    int64_t n_head_kv() const { return k->ne[1]; }
    int64_t n_key() const { return k->ne[2]; }
    int64_t heads_per_kv() const { return n_head() / n_head_kv(); }
    bool rows_are_heads() const { return n_query() == 1; }

    TokenRows queries(const Item& item) const {
        const std::byte* first = static_cast<const std::byte*>(q->data) +
                                 static_cast<size_t>(item.head) * q->nb[1] +
                                 static_cast<size_t>(item.query) * q->nb[2];
        const size_t stride = rows_are_heads() ? q->nb[1] : q->nb[2];
        return {reinterpret_cast<const float*>(first), static_cast<int64_t>(stride / sizeof(float)),
                item.n_row};
    }
    const ggml_fp16_t* mask_row(int64_t query) const {
        return reinterpret_cast<const ggml_fp16_t*>(static_cast<const std::byte*>(mask->data) +
                                                    static_cast<size_t>(query) * mask->nb[1]);
    }
    const ggml_fp16_t* mask_row(const Item& item, int64_t row) const {
        return mask_row(rows_are_heads() ? item.query : item.query + row);
    }
    int64_t output_stride() const { return rows_are_heads() ? d_value() : dst->ne[0]; }
    float* output(const Item& item, int64_t row) const {
        return static_cast<float*>(dst->data) + item.query * dst->ne[0] + item.head * d_value() +
               row * output_stride();
    }
};

FloatRows rows_of_head(const ggml_tensor* x, int64_t head) {
    return {static_cast<const std::byte*>(x->data) + static_cast<size_t>(head) * x->nb[1], x->nb[2], x->type};
}

// With pairs, the same places hold half as many words.
struct Scratch {
    float* keys;     // [panel of keys][d_head][kPanel]
    float* values;   // [panel of d_value][key][kPanel]
    float* scores;   // [row][kKeys]
    float* queries;  // [row][d_head], used with pairs only
};

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

Scratch make_scratch(const Operands& x) {
    const int64_t n_keys = x.d_head() * kKeys;
    const int64_t n_values = round_up(x.d_value(), kPanel) * kKeys;
    const int64_t n_scores = kRows * kKeys;
    float* all =
        thread_scratch(static_cast<size_t>(n_keys + n_values + n_scores + kRows * round_up(x.d_head(), 2)));
    return {all, all + n_keys, all + n_keys + n_values, all + n_keys + n_values + n_scores};
}

std::vector<VisibleRange> visible_of_blocks(const Operands& x) {
    std::vector<VisibleRange> blocks;
    for (int64_t begin = 0; begin < x.n_query(); begin += kRows) {
        VisibleRange block = {0, x.n_key()};
        if (x.mask != nullptr) {
            block = {x.n_key(), 0};
            for (int64_t i = begin; i < std::min(begin + kRows, x.n_query()); ++i) {
                const VisibleRange row = visible_range(x.mask_row(i), x.n_key());
                if (row.begin == row.end) continue;
                block = {std::min(block.begin, row.begin), std::max(block.end, row.end)};
            }
        }
        blocks.push_back(block);
    }
    return blocks;
}

// The items of thread ith: a stretch of all items, heads in order, that holds its share of the visible keys.
std::vector<Item> items_of_thread(const Operands& x, int ith, int nth) {
    const std::vector<VisibleRange> blocks = visible_of_blocks(x);
    const auto cost = [](const VisibleRange& r) { return std::max<int64_t>(r.end - r.begin, 0) + kPanel; };
    int64_t total = 0;
    for (const auto& block : blocks) total += cost(block) * x.n_head();
    std::vector<Item> items;
    int64_t before = 0;
    for (int64_t head = 0; head < x.n_head();) {
        const int64_t n_of_group = x.heads_per_kv() - head % x.heads_per_kv();
        const int64_t n_head = x.rows_are_heads() ? std::min(kRows, n_of_group) : 1;
        for (size_t b = 0; b < blocks.size(); ++b) {
            if (before * nth / total == ith) {
                const int64_t query = static_cast<int64_t>(b) * kRows;
                const int64_t n_row = x.rows_are_heads() ? n_head : std::min(kRows, x.n_query() - query);
                items.push_back(
                    {.head = head, .query = query, .n_row = n_row, .keys = blocks[b], .softmax = {}});
            }
            before += cost(blocks[b]) * n_head;
        }
        head += n_head;
    }
    return items;
}

void pack_chunk(const Operands& x, int64_t head_kv, VisibleRange chunk, const Scratch& s) {
    const int64_t n_key = chunk.end - chunk.begin;
    const FloatRows keys = rows_of_head(x.k, head_kv).from(chunk.begin);
    const FloatRows values = rows_of_head(x.v, head_kv).from(chunk.begin);
    for (int64_t i = 0; i < n_key; i += kPanel) {
        pack_columns(keys.from(i), std::min(kPanel, n_key - i), 0, x.d_head(), s.keys + i * x.d_head());
        if (x.in_pairs) make_pairs(s.keys + i * x.d_head(), x.d_head());
    }
    for (int64_t i = 0; i < x.d_value(); i += kPanel) {
        pack_rows(values, std::min(kPanel, x.d_value() - i), i, n_key, s.values + i * kKeys);
        if (x.in_pairs) make_pairs(s.values + i * kKeys, n_key);
    }
}

// The item's queries as the panels of keys want them.
TokenRows packed_queries(const Operands& x, const Item& item, const Scratch& s) {
    TokenRows rows = x.queries(item);
    if (!x.in_pairs) return rows;
    const int64_t stride = round_up(x.d_head(), 2);
    for (int64_t r = 0; r < rows.n; ++r) {
        float* row = s.queries + r * stride;
        std::copy_n(rows.data + r * rows.stride, x.d_head(), row);
        round_row(row, x.d_head());
    }
    return {s.queries, stride, rows.n};
}

// Adds the keys of a packed chunk that the item can see to its output.
void attend(const Operands& x, Item& item, VisibleRange chunk, const Scratch& s) {
    const int64_t first = std::max(item.keys.begin - chunk.begin, int64_t{0}) / kPanel * kPanel;
    const int64_t end = std::min(item.keys.end, chunk.end) - chunk.begin;
    if (first >= end) return;
    const auto multiply = x.in_pairs ? multiply_pairs : multiply_panel;
    const TokenRows queries = packed_queries(x, item, s);
    for (int64_t i = first; i < end; i += kPanel) {
        multiply(s.keys + i * x.d_head(), std::min(kPanel, end - i), x.d_head(), queries, s.scores + i, kKeys,
                 Store::overwrite);
    }
    for (int64_t r = 0; r < item.n_row; ++r) {
        const ggml_fp16_t* mask = x.mask != nullptr ? x.mask_row(item, r) + chunk.begin + first : nullptr;
        const float factor =
            item.softmax[r].advance(s.scores + r * kKeys + first, end - first, x.scale, mask);
        if (item.has_output && factor != 1.0F) scale_row(x.output(item, r), x.d_value(), factor);
        if (x.in_pairs) round_row(s.scores + r * kKeys + first, end - first);
    }
    const TokenRows weights = {s.scores + first, kKeys, item.n_row};
    const Store store = item.has_output ? Store::add : Store::overwrite;
    // A panel is a whole number of pairs, and `first` of panels.
    const int64_t before = first * kPanel / (x.in_pairs ? 2 : 1);
    for (int64_t i = 0; i < x.d_value(); i += kPanel) {
        multiply(s.values + i * kKeys + before, std::min(kPanel, x.d_value() - i), end - first, weights,
                 x.output(item, 0) + i, x.output_stride(), store);
    }
    item.has_output = true;
}

void finish(const Operands& x, const Item& item) {
    for (int64_t r = 0; r < item.n_row; ++r) {
        if (!item.has_output || item.softmax[r].sum == 0.0F) {
            std::fill_n(x.output(item, r), x.d_value(), 0.0F);
        } else {
            scale_row(x.output(item, r), x.d_value(), 1.0F / item.softmax[r].sum);
        }
    }
}

// A single row does not pay for packing: its keys and values are read where they lie.
void attend_alone(const Operands& x, Item& item, int64_t head_kv, const Scratch& s) {
    const FloatRows keys = rows_of_head(x.k, head_kv);
    const FloatRows values = rows_of_head(x.v, head_kv);
    float* output = x.output(item, 0);
    for (int64_t begin = item.keys.begin; begin < item.keys.end; begin += kKeys) {
        const int64_t n = std::min(kKeys, item.keys.end - begin);
        dot_rows(keys.from(begin), n, x.queries(item).data, x.d_head(), s.scores);
        const ggml_fp16_t* mask = x.mask != nullptr ? x.mask_row(item, 0) + begin : nullptr;
        const float factor = item.softmax[0].advance(s.scores, n, x.scale, mask);
        if (item.has_output && factor != 1.0F) scale_row(output, x.d_value(), factor);
        sum_rows(values.from(begin), n, s.scores, x.d_value(), output,
                 item.has_output ? Store::add : Store::overwrite);
        item.has_output = true;
    }
    finish(x, item);
}

// All items of the heads that read one key head, so that each chunk of keys is packed once.
void attend_to_head(const Operands& x, int64_t head_kv, std::span<Item> items, const Scratch& s) {
    if (items.size() == 1 && items[0].n_row == 1) return attend_alone(x, items[0], head_kv, s);
    VisibleRange all = {x.n_key(), 0};
    for (const Item& item : items) {
        all = {std::min(all.begin, item.keys.begin), std::max(all.end, item.keys.end)};
    }
    for (int64_t begin = all.begin; begin < all.end; begin += kKeys) {
        const VisibleRange chunk = {begin, std::min(begin + kKeys, all.end)};
        pack_chunk(x, head_kv, chunk, s);
        for (Item& item : items) attend(x, item, chunk, s);
    }
    for (const Item& item : items) finish(x, item);
}

template <bool kInPairs>
void compute(ggml_tensor* dst, int ith, int nth, void* userdata) {
    const auto scale = std::bit_cast<float>(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(userdata)));
    const Operands x = {dst->src[0], dst->src[1], dst->src[2], dst->src[3], dst, scale, kInPairs};
    std::vector<Item> items = items_of_thread(x, ith, nth);
    const Scratch scratch = make_scratch(x);
    for (size_t begin = 0; begin < items.size();) {
        const int64_t head_kv = items[begin].head / x.heads_per_kv();
        size_t end = begin;
        while (end < items.size() && items[end].head / x.heads_per_kv() == head_kv) ++end;
        attend_to_head(x, head_kv, std::span(items).subspan(begin, end - begin), scratch);
        begin = end;
    }
}

bool has_packable_heads(const ggml_tensor* x) {
    return is_packable(x->type) && x->nb[0] == ggml_type_size(x->type) && x->ne[3] == 1;
}

}  // namespace

bool attention_supports(const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v,
                        const ggml_tensor* mask) {
    const bool has_types = has_packable_heads(q) && has_packable_heads(k) && has_packable_heads(v) &&
                           q->type == GGML_TYPE_F32 && q->nb[1] % sizeof(float) == 0 &&
                           q->nb[2] % sizeof(float) == 0;
    const bool has_shapes =
        q->ne[0] == k->ne[0] && q->ne[1] % k->ne[1] == 0 && k->ne[1] == v->ne[1] && k->ne[2] == v->ne[2];
    const bool has_mask =
        mask == nullptr || (mask->type == GGML_TYPE_F16 && mask->nb[0] == sizeof(ggml_fp16_t) &&
                            mask->ne[0] == k->ne[2] && mask->ne[1] >= q->ne[2]);
    return has_types && has_shapes && has_mask;
}

Tensor attention(Graph& g, Tensor q, Tensor k, Tensor v, Tensor mask, float scale, Operand operand) {
    const bool in_pairs = operand == Operand::bf16 && has_bf16_products();
    Tensor args[] = {q, k, v, mask};
    // The scale travels in the pointer's bits: a custom operation has no other place for a number.
    void* scale_bits = reinterpret_cast<void*>(uintptr_t{std::bit_cast<uint32_t>(scale)});
    return ggml_custom_4d(g.ctx(), GGML_TYPE_F32, v->ne[0] * q->ne[1], q->ne[2], 1, 1, args,
                          mask != nullptr ? 4 : 3, in_pairs ? compute<true> : compute<false>,
                          GGML_N_TASKS_MAX, scale_bits);
}

#else

bool attention_supports(const ggml_tensor*, const ggml_tensor*, const ggml_tensor*, const ggml_tensor*) {
    return false;
}

Tensor attention(Graph&, Tensor, Tensor, Tensor, Tensor, float, Operand) {
    fail<Error>("[attention] expected a processor that attention_supports(), got another");
}

#endif

}  // namespace minicpmo::kernels
