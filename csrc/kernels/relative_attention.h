#pragma once
// Attention whose scores depend on the distance from query to key too, in float32 throughout.
// Reference: Dai et al., Transformer-XL, 2019, section 3.3; stepaudio2/cosyvoice2/transformer/attention.py,
// RelPositionMultiHeadedAttention.

#include "core/graph.h"

namespace minicpmo::kernels {

struct RelativeAttention {
    Tensor q;          // F32 [d_head, n_head, n]
    Tensor k;          // [d_head, n_head, n_key]: the queries' own keys are the last n
    Tensor v;          // [d_head, n_head, n_key]
    Tensor distances;  // [d_head, n_head, n_key + n - 1], projected: from n_key - 1 steps back to n - 1 ahead
    Tensor content_bias;   // F32 [d_head, n_head], added to queries that meet keys
    Tensor distance_bias;  // F32 [d_head, n_head], added to queries that meet distances
    float scale = 1.0F;    // of the sum of both scores
};

// Each query sees every key -> [d_head * n_head, n]. k, v and distances F32, F16 or BF16 with contiguous
// heads.
Tensor relative_attention(Graph& g, const RelativeAttention& x);

// The same by ggml's operations, which every device has.
Tensor relative_attention_composed(Graph& g, const RelativeAttention& x);

}  // namespace minicpmo::kernels
