#pragma once
// Rotary position embedding (Su et al., 2021), with the scalings that model files carry.

#include "core/graph.h"
#include "core/weights.h"

namespace minicpmo::nn {

enum class RopePairs {
    halves,
    neighbours
};  // which features turn together: i with i + d/2 (NeoX), or 2i with 2i + 1

struct RopeConfig {
    int n_dims = 0;  // features that turn; the rest pass through
    float base = 10000.0F;
    float scale = 1.0F;  // of positions: 1 / factor for linear scaling
    float attn_factor = 1.0F;
    // LongRoPE has two sets of factors: one for contexts of up to so many tokens, one for longer ones. 0: no
    // such
    int n_ctx_short = 0;
    RopePairs pairs = RopePairs::halves;
};

// x [d_head, n_head, n], positions I32 [n], factors F32 [n_dims / 2] or nullptr: divisors of the frequencies.
Tensor rope(Graph& g, const RopeConfig& config, Tensor x, Tensor positions, Tensor factors);

}  // namespace minicpmo::nn
