#pragma once
// Resampler: n_query learned queries attend over the patches of one slice and become its embeddings for the
// LLM. Reference: modeling_minicpmo.py, Resampler.

#include "base/array.h"
#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace minicpmo {

struct ResamplerConfig {
    int n_query = 0;
    int n_embd = 0;         // of the LLM
    int n_embd_vision = 0;  // of the vision tower
    int n_head = 0;
    float norm_eps = 1e-6F;
    bool has_times = false;     // it knows when a frame was, so that several can be one picture
    float output_scale = 1.0F;  // of what comes out
};

class Resampler {
public:
    Resampler(const ResamplerConfig& config, const WeightScope& scope);

    // patches [n_embd_vision, n_patch], positions [n_embd, n_patch] -> [n_embd, n_query]
    Tensor resample(Graph& g, Tensor patches, Tensor positions) const;
    // 2-D sine and cosine table [n_embd, rows * cols]: first half of the features the column, second half the
    // row.
    Array<float> positions(int rows, int cols) const;
    // The same of a frame at a time in tenths of a second, which all its places share; -1: at none.
    Array<float> positions(int rows, int cols, int32_t time) const;
    const ResamplerConfig& config() const { return config_; }

private:
    ResamplerConfig config_;
    Tensor query_ = nullptr;  // [n_embd, n_query]
    nn::Linear kv_, q_proj_, k_proj_, v_proj_, out_, proj_;
    nn::LayerNorm norm_q_, norm_kv_, norm_post_;
};

}  // namespace minicpmo
