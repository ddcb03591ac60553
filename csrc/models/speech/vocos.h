#pragma once
// Vocos: a log-mel spectrum to samples by way of the spectrum of each frame, all of them at once.
// Reference: vocos/models.py VocosBackbone, vocos/heads.py ISTFTHead.

#include <complex>
#include <span>
#include <vector>

#include "audio/overlap_add.h"
#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/conv1d.h"
#include "nn/convnext.h"

namespace minicpmo {

struct VocosConfig {
    int n_mel = 0;
    int n_block = 0;
    nn::ConvNextConfig block;
    int n_fft = 0;
    int hop_length = 0;
    int sample_rate_hz = 0;
};

class Vocos {
public:
    static constexpr int kMaxFrames = 8192;  // of one call

    Vocos(const VocosConfig& config, const WeightScope& scope);

    // Log-mel [n_mel, n], n of 1 to kMaxFrames -> hop_length * n samples. Every frame sees all others nearby.
    std::vector<float> generate(const Array<float>& mel, Workspace& workspace) const;
    const VocosConfig& config() const { return config_; }

private:
    std::vector<std::complex<float>> spectra(const Array<float>& mel, Workspace& workspace) const;

    VocosConfig config_;
    nn::Conv1d embed_;
    nn::LayerNorm norm_;
    std::vector<nn::ConvNext> blocks_;
    nn::LayerNorm output_norm_;
    nn::Linear out_;  // [n_embd, n_fft + 2]: log magnitudes, then phases
    OverlapAdd frames_;
};

}  // namespace minicpmo
