#pragma once
// One speech code from logits. Order as in the reference: temperature, repetition penalty, top-p, top-k, the
// ban of the end, draw. Reference: MiniCPMO45/modeling_minicpmo.py gen_logits and
// CustomRepetitionPenaltyLogitsProcessorRepeat; transformers' TopPLogitsWarper and TopKLogitsWarper.

#include <cstdint>
#include <span>

#include "base/rng.h"

namespace minicpmo {

struct CodeSampling {
    float temperature = 0.8F;          // 0: always the likeliest
    float repetition_penalty = 1.05F;  // to the power of how often a code is in the history
    int repetition_window = 16;        // codes of the history that count
    float top_p = 0.85F;               // 1: all
    int top_k = 25;                    // 0: all
    int min_keep = 3;                  // codes that top-p and top-k leave at least
};

void check_code_sampling(const CodeSampling& sampling);  // throws ArgumentError naming what is out of range

// logits [n_code] are changed; the last one is the end of speech, drawn only if `may_end`. Without history
// temperature alone shapes the draw: so the reference treats a first code.
int32_t sample_code(std::span<float> logits, std::span<const int32_t> history, const CodeSampling& sampling,
                    bool may_end, Rng& rng);

}  // namespace minicpmo
