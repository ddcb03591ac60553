#pragma once
// A flow of random weights and all its keys, small enough to run in milliseconds.
// Reference: csrc/engine/flow_config.cpp for the keys, csrc/models/speech for the tensors.

#include <ggml.h>

#include <cstdint>

#include "core/gguf_builder.h"
#include "models/speech/flow.h"

namespace minicpmo {

// Sizes that tests build on.
constexpr int kTinyFlowCodes = 48;
constexpr int kTinyFlowMel = 8;
constexpr int kTinyFlowSpeaker = 32;
constexpr int kTinyFlowEmbd = 32;

struct TinyFlowOptions {
    ggml_type type = GGML_TYPE_F32;  // of the matrices: F32, F16 or Q8_0
    uint64_t seed = 1;
    int n_code = kTinyFlowCodes;
    int n_speaker = kTinyFlowSpeaker;
    float velocity = 0.0F;  // unless 0: what the network answers whatever it is asked
};

FlowConfig tiny_flow_config();  // what its keys say
void add_tiny_flow(GgufBuilder& builder, const TinyFlowOptions& options = {});

}  // namespace minicpmo
