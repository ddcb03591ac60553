#pragma once
// Decoder: the one causal transformer, whose variants are facts of its config.
// Reference: transformers modeling_qwen3.py Qwen3Model (qk_norm), modeling_qwen2.py (qkv bias),
// modeling_llama.py.

#include <optional>
#include <span>
#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "core/kv_cache.h"
#include "models/token_embedding.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace minicpmo {

struct DecoderConfig {
    int n_layer = 0;
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    int n_head_kv = 0;
    int d_head = 0;
    float norm_eps = 1e-6F;
    nn::RopeConfig rope;
    bool qk_norm = false;         // RMS norm of each head's query and key, before RoPE
    float residual_scale = 1.0F;  // of every branch before it is added (MiniCPM)
};

struct CellRange {
    int begin = 0;
    int end = 0;  // exclusive
};

struct DecoderInput {               // exactly one of the first two is not empty
    std::span<const int32_t> ids;   // [n], looked up inside the graph
    std::span<const float> embeds;  // [n_embd, n]
    // Cells that no row sees; there must be one left for each. None where rows go to several caches.
    std::span<const CellRange> unseen = {};
    bool sees_ahead = false;  // every row sees the rows behind it, too
};

enum class Rows { none, last, all };  // of the input: which rows a caller wants back

struct DecoderOutput {
    Array<float> hidden;  // [n_embd, n_row] after the final norm
    Array<float> logits;  // [n_vocab, n_row]
};

class Decoder {
public:
    Decoder(const DecoderConfig& config, const WeightScope& scope);

    // Appends the n rows of `input` to `cache` and runs them. Without a head no logits; hidden states only
    // where wanted. Throws ContextFullError, InterruptedError (the cache is then as before).
    DecoderOutput forward(const DecoderInput& input, const TokenEmbedding* embedding, const Head* head,
                          Rows hidden, KvCache& cache, Workspace& workspace) const;
    // The same with states and logits of every row, as guesses of what follows are checked with.
    DecoderOutput forward_rows(std::span<const int32_t> ids, const TokenEmbedding& embedding,
                               const Head& head, KvCache& cache, Workspace& workspace) const;
    // Row i of `ids` goes to caches[i], with its state and logits: what forward() would give each alone, but
    // for rounding, while the weights are read once. The caches have room for it, see KvCache::reserve().
    DecoderOutput forward_each(std::span<const int32_t> ids, std::span<KvCache* const> caches,
                               const TokenEmbedding& embedding, const Head& head, Workspace& workspace) const;
    // Moves the cells from `from` on to `to`, keys turned to their new places, so that what follows them sees
    // them there. Behind `from` there must be room. Reference: utils.py realign_rotary_suffix.
    // NOTE: the reference turns keys back and forth again; here once, by the difference.
    void move_tail(KvCache& cache, int from, int to, Workspace& workspace) const;
    const DecoderConfig& config() const { return config_; }
    KvShape kv_shape(int n_ctx, ggml_type type) const;

private:
    struct Layer {
        nn::RmsNorm attn_norm;
        nn::Linear q, k, v, out;
        nn::RmsNorm q_norm, k_norm;  // only with qk_norm
        nn::RmsNorm ffn_norm;
        nn::GatedMlp mlp;
    };
    struct Strand;  // rows that go to one cache
    struct Step;    // the inputs of one graph: positions, cache rows, mask, output rows
    Tensor layer(Graph& g, int index, Tensor x, const Step& step) const;
    Tensor attend(Graph& g, int index, Tensor q, Tensor k, Tensor v, const Step& step, bool selects) const;
    DecoderOutput run(const DecoderInput& input, const TokenEmbedding* embedding, const Head* head,
                      Rows hidden, Rows logits, std::span<KvCache* const> caches, Workspace& workspace) const;
    void turn_keys(KvCache& cache, int begin, int n, int distance, Workspace& workspace) const;
    Tensor rope_factors(const KvCache& cache) const;
    void build(Graph& g, Step& step, const TokenEmbedding* embedding, const Head* head, Rows hidden) const;

    DecoderConfig config_;
    std::vector<Layer> layers_;
    nn::RmsNorm output_norm_;
    // [n_dims / 2] or absent: for all contexts, for short ones and for long ones.
    Tensor rope_factors_ = nullptr, short_factors_ = nullptr, long_factors_ = nullptr;
};

}  // namespace minicpmo
