#pragma once
// Dvae: speech codes of several code books to a log-mel spectrum, the decoder of a discrete variational
// autoencoder. Reference: MiniCPM-o 2.6, modeling_minicpmo.py DVAE (its way back) and GFSQ.

#include <span>
#include <vector>

#include "base/array.h"
#include "core/graph_runner.h"
#include "nn/conv1d.h"
#include "nn/convnext.h"

namespace minicpmo {

struct DvaeConfig {
    int n_group = 0;  // of code books; each makes a frame of its own
    int n_level = 0;  // code books of a group, whose vectors are added
    int n_code = 0;   // of a code book
    int n_width = 0;  // of such a vector
    int n_stem = 0;   // between the two convolutions in front of the blocks
    int n_block = 0;
    nn::ConvNextConfig block;
    int n_mel = 0;

    int n_book() const { return n_group * n_level; }
};

class Dvae {
public:
    static constexpr int kMaxSteps = 4096;  // of one call

    Dvae(const DvaeConfig& config, const WeightScope& scope);

    // Codes of a step together, those of group 0 first [n_book, n], n of 1 to kMaxSteps -> log-mel [n_mel,
    // n_group * n]. Every frame sees all others nearby, so that chunks are to overlap.
    Array<float> decode(std::span<const int32_t> codes, Workspace& workspace) const;
    const DvaeConfig& config() const { return config_; }

private:
    Tensor embed(Graph& g, int64_t n) const;

    DvaeConfig config_;
    std::vector<Tensor> books_;  // [n_width, n_code] each: what a code adds to its group's vector
    nn::Conv1d conv1_, conv2_;
    std::vector<nn::ConvNext> blocks_;
    nn::Linear out_;  // [n_embd, n_width]
    nn::Conv1d mel_;
};

}  // namespace minicpmo
