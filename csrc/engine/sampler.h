#pragma once
// Sampler: one id from logits. Order as in transformers' generate(): penalty, temperature, top-k, top-p,
// min-p, draw.

#include <cstdint>
#include <span>

#include "base/rng.h"

namespace minicpmo {

struct SamplingOptions {
    float temperature = 0.7F;         // 0: always the likeliest
    int top_k = 100;                  // 0: all
    float top_p = 0.8F;               // 1: all
    float min_p = 0.0F;               // relative to the likeliest; 0: all
    float repetition_penalty = 1.0F;  // of ids already generated; 1: none
    uint64_t seed = 0;
};

void check_sampling(const SamplingOptions& options);  // throws ArgumentError naming the option and its range

// logits [n_vocab] are changed. `history` is what the penalty looks at.
int32_t sample(std::span<float> logits, std::span<const int32_t> history, const SamplingOptions& options,
               Rng& rng);

}  // namespace minicpmo
