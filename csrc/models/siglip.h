#pragma once
// Siglip: the vision tower, a pre-norm transformer over the patches of one slice.
// Reference: modeling_navit_siglip.py, SiglipVisionTransformer (with last_hidden_state as output).

#include <vector>

#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace minicpmo {

struct SiglipConfig {
    int n_layer = 0;  // layers that run; a checkpoint may hold one more
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    float norm_eps = 1e-6F;
    int patch_size = 14;     // pixels
    int position_grid = 70;  // learned positions per axis
};

class Siglip {
public:
    Siglip(const SiglipConfig& config, const WeightScope& scope);

    // pixels [3 * patch_size^2, n_patch], position_ids I32 [n_patch] -> [n_embd, n_patch]
    Tensor encode(Graph& g, Tensor pixels, Tensor position_ids) const;
    const SiglipConfig& config() const { return config_; }

private:
    struct Layer {
        nn::LayerNorm norm1;
        nn::Linear q, k, v, out;
        nn::LayerNorm norm2;
        nn::Mlp mlp;
    };
    Tensor layer(Graph& g, const Layer& layer, Tensor x) const;

    SiglipConfig config_;
    nn::Linear patch_embedding_;           // [3 * patch_size^2, n_embd]; the convolution as a product
    Tensor position_embedding_ = nullptr;  // [n_embd, position_grid^2]
    std::vector<Layer> layers_;
    nn::LayerNorm post_norm_;
};

}  // namespace minicpmo
