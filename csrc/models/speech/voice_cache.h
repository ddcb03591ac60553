#pragma once
// VoiceCache: what a flow remembers of a voice after it has heard it, good for that flow and that number of
// steps alone. The layout is that of published files: keys and values of a head side by side. Reference:
// llama.cpp-omni, prompt_cache.gguf.

#include "base/array.h"

namespace minicpmo {

struct VoiceCache {
    int n_step = 0;  // of the flow
    // What convolutions saw last, [n_embd, n]: codes for the one that looks back, then mel frames for the
    // upsampling one.
    Array<float> encoder_contexts;
    // [2 * d_head, n_frame, n_head, n_layer + n_up_layer]: layers at the rate of codes hold half as many
    // rows, all of them twice.
    Array<float> encoder_keys_values;
    // Of each step and layer, with the conditions and without: [2 * n_embd, n, n_step * n_layer, 2], both
    // convolutions side by side.
    Array<float> estimator_contexts;
    Array<float> estimator_keys_values;  // [2 * d_head, n_frame, n_step * n_layer * n_head, 2]
};

}  // namespace minicpmo
