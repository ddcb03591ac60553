#pragma once
// DuplexSampler: one id of a unit from logits: first whether speech ends here, then what is said, or whether
// to listen. Reference: utils.py StreamDecoder.decode.

#include <deque>

#include "base/archive.h"
#include "engine/model_config.h"
#include "engine/sampler.h"

namespace minicpmo {

struct DuplexSampling {
    float temperature = 0.7F;  // 0: always the likeliest
    int top_k = 20;
    float top_p = 0.8F;
    float repetition_penalty = 1.05F;  // NOTE: divides whatever the sign is, as in the reference
    int repetition_window = 512;       // of the last ids of the conversation
    float length_penalty = 1.1F;       // of <|turn_eos|>: above 1 turns get longer
    float listen_scale = 1.0F;         // weight of <|listen|> among the probabilities
    // NOTE: the reference multiplies the logit of <|im_end|> by its listen_prob_scale instead.
    bool scales_end_token = false;
    uint64_t seed = 0;
};
void check_duplex_sampling(
    const DuplexSampling& sampling);  // throws ArgumentError naming what is out of range

class DuplexSampler {
public:
    DuplexSampler(const TokenRoles& tokens, int32_t n_vocab, const DuplexSampling& sampling);

    int32_t sample(std::span<float> logits);   // [n_vocab], changed
    void set(const DuplexSampling& sampling);  // from now on; the seed is for the next reset()
    void reset();
    void archive(Archive& archive);  // state, not options

private:
    void shorten_history();
    void punish_repetitions(std::span<float> logits) const;

    DuplexSampling sampling_;
    int32_t n_vocab_;
    std::vector<int32_t> forbidden_;
    int32_t chunk_eos_, turn_eos_, listen_, end_;
    std::deque<int32_t> history_;  // what was drawn, decisions too, but for the ends of chunks
    Rng rng_;
};

// Of the tokens that a unit may begin with, before anything is drawn.
struct Decision {
    float listen = 0;  // probabilities
    float speak = 0;
};
Decision decision(std::span<const float> logits, const TokenRoles& tokens);

}  // namespace minicpmo
