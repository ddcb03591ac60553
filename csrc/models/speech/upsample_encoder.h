#pragma once
// UpsampleEncoder: embedded speech codes to states at the mel rate, conformer layers on either side of an
// upsampling convolution.
// Reference: stepaudio2/cosyvoice2/transformer/upsample_encoder_v2.py, UpsampleConformerEncoderV2.

#include "models/speech/conformer.h"
#include "nn/conv1d.h"

namespace minicpmo {

struct UpsampleEncoderConfig {
    int n_embd = 0;
    int n_ff = 0;
    int n_head = 0;
    int n_layer = 0;           // at the rate of codes
    int n_up_layer = 0;        // at the mel rate
    int n_lookahead = 3;       // codes that the first convolution sees ahead
    int lookahead_kernel = 3;  // of the second convolution, which sees back
    float lookahead_slope = 0.01F;
    int up_rate = 2;  // mel frames of a code
    int up_taps = 3;  // codes that the upsampling convolution sees, the current one last
    float norm_eps = 1e-5F;
    float block_norm_eps = 1e-12F;
};

// What a stream keeps between its chunks. A value: copies are independent.
struct UpsampleEncoderState {
    StreamCache lookahead_context;  // what the second convolution saw last, [n_embd, lookahead_kernel - 1]
    StreamCache up_context;         // what the upsampling convolution saw last, [n_embd, up_taps - 1]
    ConformerState layers;
    ConformerState up_layers;

    // Forgets all but the first n_first codes and the last n_last, and their mel frames.
    void keep(int n_first, int n_last);
};

class UpsampleEncoder {
public:
    UpsampleEncoder(const UpsampleEncoderConfig& config, const WeightScope& scope);

    UpsampleEncoderState start(ggml_type cache_type, const Backend& backend) const;
    // Before the graph of a chunk of n rows is built, and again after it ran.
    void reserve(UpsampleEncoderState& state, int n, Workspace& workspace) const;
    void advance(UpsampleEncoderState& state, int n) const;

    // Rows that encode() makes of n_code codes, at the rate of codes.
    int n_rows(int n_code, bool is_last) const { return is_last ? n_code : n_code - config_.n_lookahead; }
    // x [n_embd, n_code], at the end of a stream followed by zeros instead of codes to look at ->
    // [n_embd, up_rate * n_rows(n_code, is_last)]. A whole piece is a stream of one chunk.
    Tensor encode(Graph& g, Tensor x, bool is_last, const UpsampleEncoderState& state) const;
    size_t max_nodes() const { return layers_.max_nodes() + up_layers_.max_nodes() + 64; }
    const UpsampleEncoderConfig& config() const { return config_; }

private:
    struct Embedding {
        nn::Linear linear;
        nn::LayerNorm norm;
    };
    Tensor embed(Graph& g, const Embedding& embedding, Tensor x) const;
    Tensor look_ahead(Graph& g, Tensor x, bool is_last, const StreamCache& context) const;

    UpsampleEncoderConfig config_;
    Embedding embedding_;
    nn::Conv1d lookahead1_;  // [(n_lookahead + 1) * n_embd, n_embd]
    nn::Conv1d lookahead2_;  // [lookahead_kernel * n_embd, n_embd]
    Conformer layers_;
    nn::Conv1d up_conv_;  // [up_taps * n_embd, up_rate * n_embd]
    Embedding up_embedding_;
    Conformer up_layers_;
    nn::LayerNorm output_norm_;
};

}  // namespace minicpmo
