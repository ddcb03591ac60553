#include "engine/duplex_sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kMaxWindow = 1 << 16;

SamplingOptions to_options(const DuplexSampling& s) {
    SamplingOptions options;
    options.temperature = s.temperature;
    options.top_k = s.top_k;
    options.top_p = s.top_p;
    options.repetition_penalty = s.repetition_penalty;
    options.repetition_window = s.repetition_window;
    options.length_penalty = s.length_penalty;
    return options;
}

double total_weight(std::span<const float> logits, float best) {
    double total = 0;
    for (const float logit : logits) total += std::exp(double{logit} - best);
    return total;
}

}  // namespace

void check_duplex_sampling(const DuplexSampling& s) {
    check_sampling(to_options(s));
    check<ArgumentError>(s.repetition_window <= kMaxWindow,
                         "[sampling] expected repetition_window of 0 to {}, got {}", kMaxWindow,
                         s.repetition_window);
    check<ArgumentError>(s.listen_scale > 0 && s.listen_scale <= 1e6F,
                         "[sampling] expected listen_scale above 0 and at most 1e6, got {}", s.listen_scale);
}

DuplexSampler::DuplexSampler(const TokenRoles& tokens, int32_t n_vocab, const DuplexSampling& sampling)
    : n_vocab_(n_vocab),
      forbidden_(tokens.unspoken),
      chunk_eos_(tokens.chunk_eos),
      turn_eos_(tokens.turn_eos),
      listen_(tokens.listen),
      end_(tokens.im_end) {
    forbidden_.push_back(chunk_eos_);
    if (tokens.tts_pad >= 0) forbidden_.push_back(tokens.tts_pad);
    set(sampling);
    reset();
}

void DuplexSampler::set(const DuplexSampling& sampling) {
    check_duplex_sampling(sampling);
    sampling_ = sampling;
    shorten_history();
}

void DuplexSampler::shorten_history() {
    while (history_.size() > static_cast<size_t>(sampling_.repetition_window)) history_.pop_front();
}

void DuplexSampler::reset() {
    history_.clear();
    rng_ = {sampling_.seed, 0};
}

void DuplexSampler::punish_repetitions(std::span<float> logits) const {
    if (sampling_.repetition_penalty == 1.0F) return;
    for (const int32_t id : std::unordered_set<int32_t>(history_.begin(), history_.end())) {
        logits[static_cast<size_t>(id)] /= sampling_.repetition_penalty;
    }
}

int32_t DuplexSampler::sample(std::span<float> logits) {
    const auto at = [&](int32_t id) -> float& { return logits[static_cast<size_t>(id)]; };
    const auto best = std::max_element(logits.begin(), logits.end());
    check<Error>(best != logits.end() && std::isfinite(*best),
                 "[sampling] the model computed no probability for any token");
    // Whether speech ends here is drawn from the model's own distribution, before anything shapes it.
    const bool is_greedy = sampling_.temperature == 0.0F;
    const bool ends =
        is_greedy ? best - logits.begin() == chunk_eos_
                  : rng_.uniform() * total_weight(logits, *best) < std::exp(double{at(chunk_eos_)} - *best);
    if (ends) return chunk_eos_;

    forbid(logits, forbidden_);
    punish_repetitions(logits);
    if (sampling_.length_penalty != 1.0F) penalise(at(turn_eos_), sampling_.length_penalty);
    if (sampling_.listen_scale != 1.0F) {
        if (sampling_.scales_end_token) {
            at(end_) *= sampling_.listen_scale;
        } else {
            at(listen_) += std::log(sampling_.listen_scale);
        }
    }
    const int32_t id = choose(logits, to_options(sampling_), rng_);
    history_.push_back(id);
    shorten_history();
    return id;
}

void DuplexSampler::archive(Archive& archive) {
    archive(history_);
    archive(rng_.seed);
    archive(rng_.counter);
    const bool are_ids =
        std::all_of(history_.begin(), history_.end(), [&](int32_t id) { return id >= 0 && id < n_vocab_; });
    check<ModelFileError>(are_ids && history_.size() <= static_cast<size_t>(sampling_.repetition_window),
                          "[sampling] expected at most {} tokens of 0 to {}, got others",
                          sampling_.repetition_window, n_vocab_ - 1);
}

Decision decision(std::span<const float> logits, const TokenRoles& tokens) {
    const float best = *std::max_element(logits.begin(), logits.end());
    const double total = total_weight(logits, best);
    const auto share = [&](int32_t id) {
        return static_cast<float>(std::exp(double{logits[static_cast<size_t>(id)]} - best) / total);
    };
    return {share(tokens.listen), share(tokens.speak)};
}

}  // namespace minicpmo
