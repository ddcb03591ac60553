#include "models/decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "nn/attention.h"

namespace minicpmo {

namespace {

constexpr int kKvStep =
    256;  // cells read are rounded up to this, so that the graph stays the same for many tokens
constexpr size_t kNodesPerLayer = 64;
constexpr size_t kNodesPerStrand = 16;  // of a layer, for each strand but the first
constexpr int kTurnedCells = 512;       // whose keys turn in one graph

nn::GatedMlp bind_mlp(const WeightScope& blk, const DecoderConfig& c) {
    return {nn::bind_linear(blk / "ffn_gate", c.n_embd, c.n_ff, nn::Bias::no),
            nn::bind_linear(blk / "ffn_up", c.n_embd, c.n_ff, nn::Bias::no),
            nn::bind_linear(blk / "ffn_down", c.n_ff, c.n_embd, nn::Bias::no)};
}

struct Qkv {
    nn::Linear q, k, v;
};

// Query, key and value are three tensors, or rows q | k | v of one (newer llama.cpp converters).
Qkv bind_qkv(const WeightScope& blk, int64_t n_embd, int64_t n_q, int64_t n_kv) {
    if (!blk.has("attn_qkv.weight")) {
        return {nn::bind_linear(blk / "attn_q", n_embd, n_q, nn::Bias::optional),
                nn::bind_linear(blk / "attn_k", n_embd, n_kv, nn::Bias::optional),
                nn::bind_linear(blk / "attn_v", n_embd, n_kv, nn::Bias::optional)};
    }
    const nn::Linear fused = nn::bind_linear(blk / "attn_qkv", n_embd, n_q + 2 * n_kv, nn::Bias::optional);
    const auto part = [&](int64_t begin, int64_t n) {
        return nn::Linear{blk.slice(fused.weight, begin, n),
                          fused.bias != nullptr ? blk.slice(fused.bias, begin, n) : nullptr};
    };
    return {part(0, n_q), part(n_q, n_kv), part(n_q + n_kv, n_kv)};
}

}  // namespace

struct Decoder::Strand {
    KvCache* cache = nullptr;
    int64_t n = 0;              // rows of input
    int64_t n_kv = 0;           // cells that attention reads
    Tensor cells = nullptr;     // I64 [n]: the cache rows to write
    Tensor mask = nullptr;      // F16 [n_kv, n]
    Tensor out_mask = nullptr;  // F16 [n_kv, 1]: the mask of the last row, where only that leaves
};

struct Decoder::Step {
    std::vector<Strand> strands;
    int64_t n = 0;        // rows of input, of all strands
    int64_t n_out = 0;    // rows that leave the last layer: all, or the last
    int64_t n_logit = 0;  // rows whose logits are wanted: all, or the last of each strand
    bool from_ids = false;
    Tensor rope_factors = nullptr;
    Tensor positions = nullptr;  // I32 [n]
    Tensor out_rows = nullptr;   // I32 [n_out], or nullptr for all
};

namespace {

std::string numbered(const char* name, size_t strand) { return name + std::to_string(strand); }

}  // namespace

Decoder::Decoder(const DecoderConfig& config, const WeightScope& scope) : config_(config) {
    const int64_t n_embd = config.n_embd;
    const int64_t n_q = int64_t{config.n_head} * config.d_head;
    const int64_t n_kv = int64_t{config.n_head_kv} * config.d_head;
    for (int i = 0; i < config.n_layer; ++i) {
        const WeightScope blk = scope / "blk" / i;
        const Qkv qkv = bind_qkv(blk, n_embd, n_q, n_kv);
        Layer layer{
            .attn_norm = nn::bind_rms_norm(blk / "attn_norm", n_embd, config.norm_eps),
            .q = qkv.q,
            .k = qkv.k,
            .v = qkv.v,
            .out = nn::bind_linear(blk / "attn_output", n_q, n_embd, nn::Bias::optional),
            .q_norm = {},
            .k_norm = {},
            .ffn_norm = nn::bind_rms_norm(blk / "ffn_norm", n_embd, config.norm_eps),
            .mlp = bind_mlp(blk, config),
        };
        if (config.qk_norm) {
            layer.q_norm = nn::bind_rms_norm(blk / "attn_q_norm", config.d_head, config.norm_eps);
            layer.k_norm = nn::bind_rms_norm(blk / "attn_k_norm", config.d_head, config.norm_eps);
        }
        layers_.push_back(layer);
    }
    output_norm_ = nn::bind_rms_norm(scope / "output_norm", n_embd, config.norm_eps);
    const int64_t n_factor = config.rope.n_dims / 2;
    rope_factors_ = (scope / "rope_freqs").try_get_f32("weight", {n_factor});
    if (config.rope.n_ctx_short > 0) {
        short_factors_ = (scope / "rope_factors_short").try_get_f32("weight", {n_factor});
        long_factors_ = (scope / "rope_factors_long").try_get_f32("weight", {n_factor});
    }
}

// NOTE: the reference goes over to the long factors when a conversation has become long, and leaves the keys
// that it has turned by the short ones; here the length that a conversation may have decides from the start.
Tensor Decoder::rope_factors(const KvCache& cache) const {
    if (rope_factors_ != nullptr || config_.rope.n_ctx_short == 0) return rope_factors_;
    return cache.shape().n_ctx > config_.rope.n_ctx_short ? long_factors_ : short_factors_;
}

KvShape Decoder::kv_shape(int n_ctx, ggml_type type) const {
    return {config_.n_layer, config_.n_head_kv, config_.d_head, n_ctx, type};
}

Tensor Decoder::layer(Graph& g, int index, Tensor x, const Step& step) const {
    const Layer& w = layers_[static_cast<size_t>(index)];
    ggml_context* ctx = g.ctx();
    const Tensor normed = nn::rms_norm(g, w.attn_norm, x);                         // [n_embd, n]
    Tensor k = nn::split_heads(g, nn::linear(g, w.k, normed), config_.n_head_kv);  // [d_head, n_head_kv, n]
    if (config_.qk_norm) k = nn::rms_norm(g, w.k_norm, k);
    k = nn::rope(g, config_.rope, k, step.positions, step.rope_factors);
    const Tensor v = nn::linear(g, w.v, normed);  // [d_head * n_head_kv, n]
    // In the last layer only the rows somebody wants go on; keys and values were needed from all.
    const bool selects = step.out_rows != nullptr && index == config_.n_layer - 1;
    const auto chosen = [&](Tensor rows) { return selects ? ggml_get_rows(ctx, rows, step.out_rows) : rows; };
    x = chosen(x);  // [n_embd, n_out]
    Tensor q =
        nn::split_heads(g, nn::linear(g, w.q, chosen(normed)), config_.n_head);  // [d_head, n_head, n_out]
    if (config_.qk_norm) q = nn::rms_norm(g, w.q_norm, q);
    const Tensor positions = selects ? g.find_input("out_positions") : step.positions;
    q = nn::rope(g, config_.rope, q, positions, step.rope_factors);

    const Tensor attended = attend(g, index, q, k, v, step, selects);  // [n_embd, n_out]
    const auto branch = [&](Tensor y) {
        return config_.residual_scale == 1.0F ? y : ggml_scale(ctx, y, config_.residual_scale);
    };
    x = g.name(ggml_add(ctx, x, branch(nn::linear(g, w.out, attended))), "llm.attn_out", index);
    const Tensor y = nn::mlp_swiglu(g, w.mlp, nn::rms_norm(g, w.ffn_norm, x));
    return g.name(ggml_add(ctx, x, branch(y)), "llm.layer_out", index);
}

// Keys and values go to the strands' caches, and queries see what is there then.
Tensor Decoder::attend(Graph& g, int index, Tensor q, Tensor k, Tensor v, const Step& step,
                       bool selects) const {
    ggml_context* ctx = g.ctx();
    const int64_t d_head = config_.d_head;
    const bool is_single = step.strands.size() == 1;
    const Tensor keys = ggml_reshape_2d(ctx, k, v->ne[0], step.n);
    const float scale = 1.0F / std::sqrt(static_cast<float>(d_head));
    Tensor attended = nullptr;  // [n_embd, n_out]
    int64_t begin = 0;
    for (const Strand& strand : step.strands) {
        const auto rows = [&](Tensor x) {  // of the strand
            const size_t offset = x->nb[1] * static_cast<size_t>(begin);
            return is_single ? x : ggml_view_2d(ctx, x, x->ne[0], strand.n, x->nb[1], offset);
        };
        const auto heads = [&](Tensor x) {  // [d_head, n_head_kv, n_kv], a view of the cache
            return ggml_view_3d(ctx, x, d_head, config_.n_head_kv, strand.n_kv,
                                ggml_row_size(x->type, d_head), x->nb[1], 0);
        };
        // The cells are an input, not part of the topology, so the graph is the same from token to token.
        const Tensor cached_keys = strand.cache->keys(index);
        const Tensor cached_values = strand.cache->values(index);
        g.run(ggml_set_rows(ctx, cached_keys, rows(keys), strand.cells));
        g.run(ggml_set_rows(ctx, cached_values, rows(v), strand.cells));
        const Tensor queries = is_single ? q
                                         : ggml_view_3d(ctx, q, d_head, config_.n_head, strand.n, q->nb[1],
                                                        q->nb[2], q->nb[2] * static_cast<size_t>(begin));
        const Tensor part = nn::attention(g, queries, heads(cached_keys), heads(cached_values),
                                          selects ? strand.out_mask : strand.mask, scale);
        attended = attended == nullptr ? part : ggml_concat(ctx, attended, part, 1);
        begin += strand.n;
    }
    return attended;
}

void Decoder::build(Graph& g, Step& step, const TokenEmbedding* embedding, const Head* head,
                    Rows hidden) const {
    step.positions = g.input("positions", GGML_TYPE_I32, {step.n});
    for (size_t i = 0; i < step.strands.size(); ++i) {
        Strand& strand = step.strands[i];
        strand.cells = g.input(numbered("cells", i), GGML_TYPE_I64, {strand.n});
        strand.mask = g.input(numbered("mask", i), GGML_TYPE_F16, {strand.n_kv, strand.n});
        if (step.n_out < step.n) {
            strand.out_mask = g.input(numbered("out_mask", i), GGML_TYPE_F16, {strand.n_kv, step.n_out});
        }
    }
    if (step.n_out < step.n) {
        step.out_rows = g.input("out_rows", GGML_TYPE_I32, {step.n_out});
        g.input("out_positions", GGML_TYPE_I32, {step.n_out});
    }
    Tensor x = step.from_ids ? embedding->lookup(g, g.input("ids", GGML_TYPE_I32, {step.n}))
                             : g.input("embeds", GGML_TYPE_F32, {config_.n_embd, step.n});
    for (int i = 0; i < config_.n_layer; ++i) x = layer(g, i, x, step);
    x = g.name(nn::rms_norm(g, output_norm_, x), "llm.out");  // [n_embd, n_out]
    if (hidden != Rows::none) g.output("hidden", x);
    if (head != nullptr) {
        const int64_t n_last = step.n_logit;
        const Tensor last = ggml_view_2d(g.ctx(), x, x->ne[0], n_last, x->nb[1],
                                         x->nb[1] * static_cast<size_t>(x->ne[1] - n_last));
        g.output("logits", head->logits(g, last));
    }
    if (hidden == Rows::none && head == nullptr) g.run(x);
}

DecoderOutput Decoder::run(const DecoderInput& input, const TokenEmbedding* embedding, const Head* head,
                           Rows hidden, Rows logits, std::span<KvCache* const> caches,
                           Workspace& workspace) const {
    const bool from_ids = !input.ids.empty();
    const auto n_strand = static_cast<int64_t>(caches.size());
    Step step;
    step.from_ids = from_ids;
    step.rope_factors = rope_factors(*caches.front());
    step.n = static_cast<int64_t>(from_ids ? input.ids.size()
                                           : input.embeds.size() / static_cast<size_t>(config_.n_embd));
    step.n_out = hidden == Rows::all || n_strand > 1 ? step.n : 1;
    step.n_logit = logits == Rows::all ? step.n : n_strand;
    GraphKey key = {step.n,          from_ids,
                    head != nullptr, static_cast<int64_t>(hidden),
                    step.n_logit,    reinterpret_cast<intptr_t>(step.rope_factors)};
    for (KvCache* cache : caches) {
        Strand strand{cache, step.n / n_strand};
        cache->reserve(static_cast<int>(strand.n));
        strand.n_kv = std::min<int64_t>(GGML_PAD(cache->length() + strand.n, kKvStep), cache->capacity());
        key.insert(key.end(), {strand.n_kv, cache->generation()});
        step.strands.push_back(strand);
    }
    const size_t n_node =
        (kNodesPerLayer + kNodesPerStrand * (caches.size() - 1)) * static_cast<size_t>(config_.n_layer + 2);
    // The graph of one token, which comes again and again, is not lost to those of several.
    const std::string one = logits == Rows::all ? "decoder_rows" : "decoder";
    GraphRunner& runner = workspace.runner(n_strand > 1 ? numbered("decoder", caches.size()) : one, n_node);
    runner.prepare(key, [&](Graph& g) { build(g, step, embedding, head, hidden); });

    std::vector<int32_t> positions;
    const ggml_fp16_t hide = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity());
    for (size_t s = 0; s < step.strands.size(); ++s) {
        const Strand& strand = step.strands[s];
        const int64_t begin = strand.cache->length();
        std::vector<ggml_fp16_t> mask(static_cast<size_t>(strand.n * strand.n_kv), hide);
        std::vector<int64_t> cells;
        for (int64_t i = 0; i < strand.n; ++i) {  // row i sees itself and everything before it, usually
            const auto row = mask.begin() + i * strand.n_kv;
            std::fill(row, row + begin + (input.sees_ahead ? strand.n : i + 1), ggml_fp16_t{0});
            for (const CellRange& range : input.unseen) {
                const auto end = std::min<int64_t>(range.end, strand.n_kv);
                if (range.begin < end) std::fill(row + range.begin, row + end, hide);
            }
            cells.push_back(begin + i);
            positions.push_back(static_cast<int32_t>(begin + i));
        }
        runner.set(numbered("cells", s), cells);
        runner.set(numbered("mask", s), mask);
        if (step.n_out < step.n) {
            runner.set(numbered("out_mask", s),
                       std::span<const ggml_fp16_t>(mask).last(static_cast<size_t>(strand.n_kv)));
        }
    }
    runner.set("positions", positions);
    if (step.n_out < step.n) {
        runner.set("out_rows", std::vector<int32_t>{static_cast<int32_t>(step.n - 1)});
        runner.set("out_positions", std::span<const int32_t>(positions).last(1));
    }
    if (from_ids) {
        runner.set("ids", input.ids);
    } else {
        runner.set("embeds", input.embeds);
    }
    runner.compute();
    for (const Strand& strand : step.strands) strand.cache->advance(static_cast<int>(strand.n));

    DecoderOutput output;
    if (hidden != Rows::none) {
        output.hidden = Array<float>({config_.n_embd, step.n_out});
        runner.read("hidden", output.hidden.data);
    }
    if (head != nullptr) {
        output.logits = Array<float>({head->linear.weight->ne[1], step.n_logit});
        runner.read("logits", output.logits.data);
    }
    return output;
}

DecoderOutput Decoder::forward(const DecoderInput& input, const TokenEmbedding* embedding, const Head* head,
                               Rows hidden, KvCache& cache, Workspace& workspace) const {
    const bool from_ids = !input.ids.empty();
    check<ArgumentError>(from_ids != !input.embeds.empty(), "[decoder] expected either ids or embeds, got {}",
                         from_ids ? "both" : "neither");
    check<ArgumentError>(from_ids || input.embeds.size() % static_cast<size_t>(config_.n_embd) == 0,
                         "[decoder] expected rows of {} values, got {} values", config_.n_embd,
                         input.embeds.size());
    KvCache* const caches[] = {&cache};
    return run(input, embedding, head, hidden, Rows::last, caches, workspace);
}

DecoderOutput Decoder::forward_rows(std::span<const int32_t> ids, const TokenEmbedding& embedding,
                                    const Head& head, KvCache& cache, Workspace& workspace) const {
    check<ArgumentError>(!ids.empty(), "[decoder] expected ids, got none");
    DecoderInput input;
    input.ids = ids;
    KvCache* const caches[] = {&cache};
    return run(input, &embedding, &head, Rows::all, Rows::all, caches, workspace);
}

DecoderOutput Decoder::forward_each(std::span<const int32_t> ids, std::span<KvCache* const> caches,
                                    const TokenEmbedding& embedding, const Head& head,
                                    Workspace& workspace) const {
    check<ArgumentError>(!ids.empty() && ids.size() == caches.size(),
                         "[decoder] expected a token for each of {} caches, got {}", caches.size(),
                         ids.size());
    const auto is_alike = [&](const KvCache* cache) {
        return rope_factors(*cache) == rope_factors(*caches.front());
    };
    DecoderInput input;
    if (std::all_of(caches.begin(), caches.end(), is_alike)) {
        input.ids = ids;
        return run(input, &embedding, &head, Rows::all, Rows::last, caches, workspace);
    }
    DecoderOutput all{Array<float>({config_.n_embd, 0}), Array<float>({head.linear.weight->ne[1], 0})};
    for (size_t i = 0; i < ids.size(); ++i) {  // short and long contexts turn their keys differently
        input.ids = ids.subspan(i, 1);
        const DecoderOutput one = forward(input, &embedding, &head, Rows::last, *caches[i], workspace);
        all.hidden.data.insert(all.hidden.data.end(), one.hidden.data.begin(), one.hidden.data.end());
        all.logits.data.insert(all.logits.data.end(), one.logits.data.begin(), one.logits.data.end());
    }
    all.hidden.shape[1] = all.logits.shape[1] = static_cast<int64_t>(ids.size());
    return all;
}

void Decoder::move_tail(KvCache& cache, int from, int to, Workspace& workspace) const {
    cache.move_tail(from, to);
    for (int begin = to; from != to && begin < cache.length(); begin += kTurnedCells) {
        turn_keys(cache, begin, std::min(kTurnedCells, cache.length() - begin), to - from, workspace);
    }
}

void Decoder::turn_keys(KvCache& cache, int begin, int n, int distance, Workspace& workspace) const {
    nn::RopeConfig rope = config_.rope;
    rope.attn_factor = 1.0F;  // is in the keys already
    GraphRunner& runner = workspace.runner("decoder_turn", 16 * static_cast<size_t>(config_.n_layer));
    runner.prepare({n, cache.generation()}, [&](Graph& g) {
        ggml_context* ctx = g.ctx();
        const Tensor rows = g.input("rows", GGML_TYPE_I32, {n});
        const Tensor cells = g.input("cells", GGML_TYPE_I64, {n});
        const Tensor distances = g.input("distances", GGML_TYPE_I32, {n});
        for (int i = 0; i < config_.n_layer; ++i) {
            const Tensor found = ggml_get_rows(ctx, cache.keys(i), rows);  // [d_head * n_head_kv, n]
            const Tensor k = ggml_reshape_3d(ctx, found, config_.d_head, config_.n_head_kv, n);
            const Tensor turned = nn::rope(g, rope, k, distances, rope_factors(cache));
            g.run(ggml_set_rows(ctx, cache.keys(i), ggml_reshape_2d(ctx, turned, found->ne[0], n), cells));
        }
    });
    std::vector<int32_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), begin);
    runner.set("rows", rows);
    runner.set("cells", std::vector<int64_t>(rows.begin(), rows.end()));
    runner.set("distances", std::vector<int32_t>(rows.size(), distance));
    runner.compute();
}

}  // namespace minicpmo
