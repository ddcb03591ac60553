#pragma once
// Sampler: one id from logits. Order as in transformers' generate(): penalty, temperature, top-k, top-p,
// min-p, draw; and before them what the streaming sampler adds. Reference: utils.py
// ChunkPrefillChunkGenerate.chunk_generate.

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
    int repetition_window = 0;        // so many of the last ids count; 0: all
    float length_penalty = 1.0F;      // of ids that end an answer: above 1 answers get longer
    uint64_t seed = 0;
};

struct SampledIds {                      // ids that are special to the one who asks
    std::span<const int32_t> forbidden;  // are never drawn
    std::span<const int32_t> ends;       // length_penalty is theirs
};

void check_sampling(const SamplingOptions& options);  // throws ArgumentError naming the option and its range

// logits [n_vocab] are changed. `history` is what the penalty looks at.
int32_t sample(std::span<float> logits, std::span<const int32_t> history, const SamplingOptions& options,
               Rng& rng, const SampledIds& ids = {});

// The parts of the above, for samplers that order them in their own way.
void forbid(std::span<float> logits, std::span<const int32_t> ids);
void penalise(float& logit, float penalty);  // positive ones shrink, negative ones grow
// From temperature on. Throws Error for a logit that is no number.
int32_t choose(std::span<const float> logits, const SamplingOptions& options, Rng& rng);

}  // namespace minicpmo
