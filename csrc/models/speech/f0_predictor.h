#pragma once
// F0Predictor: mel frames to the pitch of the voice, by five convolutions.
// Reference: stepaudio2/causal_vocoder/f0_predictor.py, ConvRNNF0Predictor and CausalConvRNNF0Predictor.

#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/causal_conv1d.h"

namespace minicpmo {

struct F0PredictorConfig {
    bool is_causal = false;
    int n_mel = 80;
    int n_embd = 0;
    std::vector<int> kernels;  // taps of each convolution
    int n_lookahead = 0;       // mel frames to the right of its own that a pitch depends on, if causal
};

class F0Predictor {
public:
    F0Predictor(const F0PredictorConfig& config, const WeightScope& scope);

    // Not causal: mel [n_mel, n] -> n pitches in Hz, zeros around the frames.
    // Causal: mel [n_mel, n + n_lookahead] -> the next n pitches of the stream whose past this is, n_past()
    // zeros at its start.
    std::vector<float> predict(const Array<float>& mel, std::vector<float>& past, Workspace& workspace) const;
    int64_t n_past() const { return layout_.size(); }  // 0 if not causal
    const F0PredictorConfig& config() const { return config_; }

private:
    Tensor predict(Graph& g, Tensor mel, Tensor past) const;

    F0PredictorConfig config_;
    nn::PastLayout layout_;
    std::vector<nn::CausalConv1d> convs_;
    nn::Linear out_;  // [n_embd, 1]
};

}  // namespace minicpmo
