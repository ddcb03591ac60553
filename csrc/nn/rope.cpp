#include "nn/rope.h"

namespace minicpmo::nn {

Tensor rope(Graph& g, const RopeConfig& config, Tensor x, Tensor positions, Tensor factors) {
    const int mode = config.pairs == RopePairs::halves ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL;
    // The last four numbers shape YaRN's ramp, which an extrapolation factor of 0 switches off.
    return ggml_rope_ext(g.ctx(), x, positions, factors, config.n_dims, mode, 0, config.base, config.scale,
                         0.0F, config.attn_factor, 32.0F, 1.0F);
}

}  // namespace minicpmo::nn
