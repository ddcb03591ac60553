#pragma once
// Conformer: pre-norm transformer layers whose attention adds a score for the distance from query to key; the
// macaron and convolution modules of the paper are absent here.
// Reference: stepaudio2/cosyvoice2/transformer/encoder_layer.py, ConformerEncoderLayer, and attention.py,
// RelPositionMultiHeadedAttention; Dai et al., Transformer-XL, 2019.

#include <vector>

#include "core/graph_runner.h"
#include "models/speech/stream_cache.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace minicpmo {

struct ConformerConfig {
    int n_layer = 0;
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    float norm_eps = 1e-12F;
};

// What a stream keeps between its chunks.
struct ConformerState {
    StreamCache keys_values;  // of each layer [n_embd, capacity], oldest first: keys, then values
    int n_cached = 0;
    // Of each layer: every distance that may occur, projected, [n_embd, n_back + 1 + n_ahead] from the oldest
    // key to the newest.
    StreamCache distances;
    int n_back = 0;  // steps that a key may lie before the query
    int n_ahead = 0;

    // Forgets what lies between the first n_first and the last n_last rows.
    void keep(int n_first, int n_last);
};

class Conformer {
public:
    Conformer(const ConformerConfig& config, const WeightScope& scope);

    ConformerState start(ggml_type cache_type, const Backend& backend) const;
    // Room for n rows behind those of the state, and the distances that they need; `component` names the
    // runner that computes these.
    void reserve(ConformerState& state, int n, const std::string& component, Workspace& workspace) const;

    // x [n_embd, n] -> [n_embd, n]. Every row sees the cached ones and all of x. Needs reserve(); the caller
    // adds n to n_cached.
    Tensor encode(Graph& g, Tensor x, const ConformerState& state) const;
    size_t max_nodes() const;

private:
    struct Layer {
        nn::LayerNorm norm1;
        nn::Linear q, k, v, out;
        nn::Linear distance;             // no bias
        Tensor content_bias = nullptr;   // [n_embd], added to queries that meet keys: "u"
        Tensor distance_bias = nullptr;  // [n_embd], added to queries that meet distances: "v"
        nn::LayerNorm norm2;
        nn::Mlp mlp;
    };
    Tensor layer(Graph& g, int index, Tensor x, const ConformerState& state) const;

    ConformerConfig config_;
    std::vector<Layer> layers_;
};

}  // namespace minicpmo
