#pragma once
// DiT: the velocity of a mel spectrum on its way from noise to speech. Both branches of the guidance are one
// evaluation: what belongs to frame t and branch b is column 2t + b everywhere, so that a frame's branches
// are just more heads of one attention, and a convolution over time is one with twice the dilation.
// Reference: stepaudio2/cosyvoice2/flow/decoder_dit.py, DiT; Peebles and Xie, Scalable Diffusion Models with
// Transformers, 2022.

#include <span>
#include <vector>

#include "core/graph_runner.h"
#include "models/speech/stream_cache.h"
#include "nn/conv1d.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace minicpmo {

struct DitConfig {
    int n_layer = 0;
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    int d_head = 0;
    int n_mel = 80;
    int n_time = 256;  // sines and cosines that tell the time
    int conv_kernel = 3;
    float norm_eps = 1e-6F;
    float qk_norm_eps = 1e-5F;
    float conv_norm_eps = 1e-5F;
    float time_scale = 1000.0F;

    int n_context() const { return 2 * (conv_kernel - 1); }  // columns a convolution keeps of the last chunk
};

class Dit {
public:
    static constexpr int kBranches = 2;  // with the conditions and without

    Dit(const DitConfig& config, const WeightScope& scope);

    // All that depends on the time alone: of each time [n_embd, 9 * n_layer + 2], scales with 1 added.
    StreamCache modulation(std::span<const float> times, Workspace& workspace) const;

    // What a stream keeps of one time: tensors from `first` on, two for each layer.
    struct Past {
        const StreamCache* keys_values = nullptr;  // [2 * n_head * d_head, capacity]; nullptr: no stream
        const StreamCache* contexts = nullptr;     // of both convolutions: [n_embd, n_context]
        int first = 0;
        int64_t n_key = 0;       // rows with the new ones
        Tensor cells = nullptr;  // I64 [n_frame]: the rows to write
    };
    // conditions [3 * n_mel, 2 * n_frame]: mu, speaker and prompt, or zeros -> [n_embd, 2 * n_frame]
    Tensor embed(Graph& g, Tensor conditions) const;
    // x [n_mel, n_frame], embedded from embed(), modulation of the time -> [n_mel, 2 * n_frame]
    Tensor velocity(Graph& g, Tensor x, Tensor embedded, Tensor modulation, const Past& past) const;

    size_t max_nodes() const;  // of one velocity
    const DitConfig& config() const { return config_; }

private:
    struct Layer {
        nn::Linear q, k, v, out;
        nn::LayerNorm q_norm, k_norm;
        nn::Conv1d conv1, conv2;
        nn::LayerNorm conv_norm;
        nn::Mlp mlp;
        nn::Linear modulation;  // [n_embd, 9 * n_embd]
    };
    struct Modulation {
        Tensor shift, scale, gate;  // [n_embd]; the scale has 1 added
    };
    Modulation part(Graph& g, Tensor modulation, int layer, int index) const;
    Tensor attention(Graph& g, const Layer& w, Tensor y, const Past& past, int index) const;
    Tensor convolution(Graph& g, const Layer& w, Tensor x, const Modulation& m, const Past& past,
                       int index) const;
    Tensor mlp(Graph& g, const Layer& w, Tensor y) const;

    DitConfig config_;
    nn::Linear time1_;  // [n_time, n_embd]
    nn::Linear time2_;  // [n_embd, n_embd]
    nn::Linear in_;     // [4 * n_mel, n_embd]: noise, mu, speaker, prompt
    std::vector<Layer> layers_;
    nn::Linear out_modulation_;  // [n_embd, 2 * n_embd]
    nn::Linear out_;             // [n_embd, n_mel]
};

}  // namespace minicpmo
