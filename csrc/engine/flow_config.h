#pragma once
// SpeechFlowConfig: every fact of a model file about its flow, codes to mel. flow_config.cpp alone knows the
// metadata keys under minicpmo.t2w.

#include "core/gguf_file.h"
#include "models/speech/flow.h"

namespace minicpmo {

struct SpeechFlowConfig {
    FlowConfig network;
    int n_step = 10;              // Euler steps
    int chunk_codes = 25;         // new codes of a window; as many again as n_lookahead are only looked at
    int32_t silence_code = 4218;  // what a buffer of codes begins with
    float temperature = 1.0F;     // times the noise
    int cache_value_bytes = 2;    // of a number that a stream keeps: as exact as the table of codes
};

SpeechFlowConfig read_flow_config(const GgufFile& file);  // throws ModelFileError, UnsupportedModelError

}  // namespace minicpmo
