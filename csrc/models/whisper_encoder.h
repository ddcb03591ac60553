#pragma once
// WhisperEncoder: log-mel frames to states at half their rate, a pre-norm transformer behind two
// convolutions. Reference: modeling_minicpmo.py, MiniCPMWhisperEncoder; Radford et al., Robust Speech
// Recognition, 2022.

#include <vector>

#include "core/kv_cache.h"
#include "nn/conv1d.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace minicpmo {

struct WhisperConfig {
    int n_layer = 0;
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    int n_mel = 80;
    int n_position = 1500;  // learned positions: frames that one pass, or a stream between resets, may have
    float norm_eps = 1e-5F;

    static int n_frames(int n_mel_frame) { return (n_mel_frame + 1) / 2; }  // the second convolution's stride
};

class WhisperEncoder {
public:
    WhisperEncoder(const WhisperConfig& config, const WeightScope& scope);

    // The first n_cached cells of `cache` are what came before; the new frames are written behind them.
    struct Past {
        const KvCache* cache = nullptr;
        int64_t n_cached = 0;
        Tensor cells = nullptr;  // I64 [n]: the cells to write
    };
    // Frames that the convolutions need for their edges and that go no further.
    struct Context {
        int before = 0;  // frames after the convolutions
        int after = 0;
    };
    // mel [n_mel, n_mel_frame], positions I32 [n]; mask F16 [n, n] added to the scores or nullptr: every
    // frame sees all, cached ones included -> [n_embd, n] with n = n_frames(n_mel_frame) without the context
    Tensor encode(Graph& g, Tensor mel, Tensor positions, Tensor mask, const Past& past,
                  const Context& context) const;
    const WhisperConfig& config() const { return config_; }

private:
    struct Layer {
        nn::LayerNorm norm1;
        nn::Linear q, k, v, out;
        nn::LayerNorm norm2;
        nn::Mlp mlp;
    };
    Tensor layer(Graph& g, int index, Tensor x, Tensor mask, const Past& past) const;

    WhisperConfig config_;
    nn::Conv1d conv1_;                     // [3 * n_mel, n_embd]
    nn::Conv1d conv2_;                     // [3 * n_embd, n_embd], stride 2
    Tensor position_embedding_ = nullptr;  // [n_embd, n_position]
    std::vector<Layer> layers_;
    nn::LayerNorm post_norm_;
};

}  // namespace minicpmo
