#pragma once
// Scaled dot-product attention over heads, in one pass (flash attention; Dao et al., 2022).

#include "core/graph.h"
#include "nn/linear.h"

namespace minicpmo::nn {

Tensor split_heads(Graph& g, Tensor x, int64_t n_head);  // [d_head * n_head, n] -> [d_head, n_head, n]

// q [d_head, n_head, n], k and v [d_head, n_head_kv, n_kv], any strides; mask F16 [n_kv, n] added to the
// scores, or nullptr. Query head j reads key head j / (n_head / n_head_kv). Returns [d_head * n_head, n].
// `layer` is the projection that made the queries: where its weight is of a type of blocks, whose products
// round what comes in to 8 bits, those of attention may round to as many.
Tensor attention(Graph& g, Tensor q, Tensor k, Tensor v, Tensor mask, float scale,
                 const Linear* layer = nullptr);

}  // namespace minicpmo::nn
