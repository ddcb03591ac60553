#pragma once
// SpeakerEncoder: a voice as one vector, from Kaldi features without their mean: a small image network in
// front of densely connected layers over time, whose gates look at segments and at the whole. Reference:
// 3D-Speaker, speakerlab/models/campplus/DTDNN.py; Wang et al., CAM++, 2023.

#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/conv1d.h"

namespace minicpmo {

struct SpeakerEncoderConfig {
    int n_mel = 80;
    int n_embd = 192;
    int n_channel = 32;                       // of the image network
    std::vector<int> strides = {2, 1, 2, 1};  // over frequency, one for each of its blocks
    int n_tdnn = 128;                         // features that time begins with
    int tdnn_taps = 5;
    int tdnn_stride = 2;
    int n_growth = 32;  // features that a layer adds
    int n_bottleneck = 128;
    int n_gate = 64;
    int n_tap = 3;      // of a layer
    int segment = 100;  // steps of time
    std::vector<int> block_layers = {12, 24, 16};
    std::vector<int> block_dilations = {1, 2, 2};
};

class SpeakerEncoder {
public:
    SpeakerEncoder(const SpeakerEncoderConfig& config, const WeightScope& scope);

    // features [n_mel, n], enough of them for 2 steps of time -> [n_embd], of any length. Throws
    // ArgumentError.
    Array<float> encode(const Array<float>& features, Workspace& workspace) const;
    const SpeakerEncoderConfig& config() const { return config_; }
    static constexpr const char* kRunner = "speaker_encoder";  // in a Workspace

private:
    struct Norm {  // x * scale + shift, then ReLU
        Tensor scale = nullptr;
        Tensor shift = nullptr;
    };
    struct ImageBlock {
        int stride = 1;
        nn::Linear conv1, conv2, shortcut;  // shortcut: only where the stride is not 1
    };
    struct Layer {
        Norm norm;
        nn::Linear bottleneck;
        nn::Conv1d local;
        nn::Linear gate1, gate2;
    };
    struct Block {
        int dilation = 1;
        std::vector<Layer> layers;
        Norm norm;
        nn::Linear transit;  // halves the features
    };
    struct Segments {
        Tensor means;  // [n, n_segment]: what a segment's context weighs each step with
        Tensor index;  // I32 [n]: the segment of each step
    };
    void bind_image(const WeightScope& scope);
    Block bind_block(const WeightScope& scope, int index, int64_t n_in) const;
    Tensor image(Graph& g, Tensor features) const;
    Tensor layer(Graph& g, const Layer& w, int dilation, const Segments& segments, Tensor x) const;
    int n_steps(int n_frame) const;

    SpeakerEncoderConfig config_;
    nn::Linear conv_in_;
    std::vector<ImageBlock> image_blocks_;
    nn::Linear conv_out_;
    nn::Conv1d tdnn_;
    std::vector<Block> blocks_;
    nn::Linear dense_;
    size_t max_nodes_ = 0;
};

}  // namespace minicpmo
