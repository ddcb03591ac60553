#pragma once
// Hift: mel frames and the spectrum of an excitation to the spectrum of a voice, 120 times as many frames.
// Reference: stepaudio2/causal_vocoder/generator.py, HiFTGenerator.decode and CausalHiFTGenerator.decode.

#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/causal_conv1d.h"

namespace minicpmo {

struct ResBlockConfig {
    int n_tap = 3;
    std::vector<int> dilations;  // of each pair of convolutions
};

struct HiftStageConfig {
    int n_embd = 0;
    int up_rate = 1;  // frames that a frame of the stage before becomes
    int up_left = 0;  // frames of the stage before that they depend on, beside their own
    int up_right = 0;
    int down_kernel = 1;  // of the excitation's spectrum, brought down to the stage's rate
    int down_stride = 1;
    int down_left = 0;
    ResBlockConfig source;
};

struct HiftConfig {
    bool is_causal = false;
    int n_mel = 80;
    int n_embd = 0;
    std::vector<HiftStageConfig> stages;
    std::vector<ResBlockConfig> blocks;  // of every stage
    int pre_kernel = 7;
    int post_kernel = 7;
    int n_lookahead = 0;  // mel frames to the right of its own that a frame depends on, if causal
    int n_spectrum = 18;  // features of a spectrum's frame
    float slope = 0.1F;
    float final_slope = 0.01F;

    int up_rate() const;  // of all stages: frames of a spectrum in a mel frame
    // Frames of the excitation's spectrum before the first new one that a chunk begins with; 0 if not causal.
    int n_spectrum_past() const;
};

class Hift {
public:
    Hift(const HiftConfig& config, const WeightScope& scope);

    // What a stream keeps: n_past() floats, and none if not causal.
    struct Past {
        std::vector<float> inputs;
        bool is_first = true;  // no chunk has been decoded
    };
    Past start() const { return {std::vector<float>(static_cast<size_t>(n_past())), true}; }

    // Not causal: mel [n_mel, n] and spectrum [n_spectrum, up_rate * n + 1] -> [n_spectrum, up_rate * n + 1]:
    // logarithms of magnitudes and, behind them, numbers whose sine is an angle.
    // Causal: mel [n_mel, n + n_lookahead] and spectrum [n_spectrum, n_spectrum_past + up_rate * n] -> the
    // next frames, up_rate * n and at first one more. The first spectrum begins with zeros and one frame.
    Array<float> decode(const Array<float>& mel, const Array<float>& spectrum, Past& past,
                        Workspace& workspace) const;
    int64_t n_past() const { return layout_.size(); }
    const HiftConfig& config() const { return config_; }

private:
    struct ResLayer {
        Tensor alpha1, alpha2;  // [n_embd]
        nn::CausalConv1d conv1, conv2;
    };
    using ResBlock = std::vector<ResLayer>;
    struct Stage {
        nn::CausalConv1d up;
        nn::CausalConv1d source_down;
        ResBlock source;
        std::vector<ResBlock> blocks;
    };
    struct Inputs {
        Tensor mel = nullptr;
        Tensor spectrum = nullptr;
        Tensor past = nullptr;  // [n_past], changed in place; absent if not causal
        bool is_first = true;
    };
    ResBlock bind_block(const WeightScope& scope, int n_embd, const ResBlockConfig& block);
    Tensor decode(Graph& g, const Inputs& in) const;
    Tensor stage(Graph& g, size_t index, Tensor x, const Inputs& in) const;
    Tensor source(Graph& g, size_t index, const Inputs& in) const;
    Tensor res_block(Graph& g, const ResBlock& block, Tensor x, Tensor past) const;

    HiftConfig config_;
    nn::PastLayout layout_;
    nn::CausalConv1d pre_;
    std::vector<Stage> stages_;
    nn::CausalConv1d post_;
};

}  // namespace minicpmo
