#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace minicpmo {

namespace {

struct Candidate {
    int32_t id;
    float logit;
};

std::vector<Candidate> best_candidates(std::span<const float> logits, int top_k) {
    std::vector<Candidate> all(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) all[i] = {static_cast<int32_t>(i), logits[i]};
    const size_t n = top_k > 0 ? std::min(all.size(), static_cast<size_t>(top_k)) : all.size();
    const auto better = [](const Candidate& a, const Candidate& b) {
        return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
    };
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(), better);
    all.resize(n);
    return all;
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
    check<ArgumentError>(o.temperature >= 0 && o.temperature <= 100,
                         "[sampling] expected temperature of 0 to 100, got {}", o.temperature);
    check<ArgumentError>(o.top_k >= 0, "[sampling] expected top_k >= 0, got {}", o.top_k);
    check<ArgumentError>(o.top_p > 0 && o.top_p <= 1,
                         "[sampling] expected top_p above 0 and at most 1, got {}", o.top_p);
    check<ArgumentError>(o.min_p >= 0 && o.min_p <= 1, "[sampling] expected min_p of 0 to 1, got {}",
                         o.min_p);
    check<ArgumentError>(o.repetition_penalty > 0 && o.repetition_penalty <= 100,
                         "[sampling] expected repetition_penalty above 0 and at most 100, got {}",
                         o.repetition_penalty);
    check<ArgumentError>(o.repetition_window >= 0, "[sampling] expected repetition_window >= 0, got {}",
                         o.repetition_window);
    check<ArgumentError>(o.length_penalty > 0 && o.length_penalty <= 100,
                         "[sampling] expected length_penalty above 0 and at most 100, got {}",
                         o.length_penalty);
}

void forbid(std::span<float> logits, std::span<const int32_t> ids) {
    for (const int32_t id : ids) {
        const auto i = static_cast<size_t>(id);
        if (i < logits.size()) logits[i] = -std::numeric_limits<float>::infinity();
    }
}

// Keskar et al., CTRL, 2019.
void penalise(float& logit, float penalty) { logit = logit > 0 ? logit / penalty : logit * penalty; }

int32_t choose(std::span<const float> logits, const SamplingOptions& options, Rng& rng) {
    for (const float logit : logits) {
        check<Error>(!std::isnan(logit), "[sampling] the model computed a logit that is not a number");
    }
    if (options.temperature == 0.0F) {
        return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
    const std::vector<Candidate> candidates = best_candidates(logits, options.top_k);
    std::vector<double> weights;
    for (const Candidate& c : candidates) {
        weights.push_back(std::exp((double{c.logit} - candidates.front().logit) / options.temperature));
    }
    // Top-p keeps the first candidate that crosses the threshold.
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    size_t n = 0;
    for (double sum = 0; n < weights.size() && sum < options.top_p * total; ++n) sum += weights[n];
    n = std::max<size_t>(n, 1);
    while (n > 1 && weights[n - 1] < options.min_p * weights[0]) --n;  // sorted, so the rest falls together
    double remaining = rng.uniform() * std::accumulate(weights.begin(),
                                                       weights.begin() + static_cast<std::ptrdiff_t>(n), 0.0);
    for (size_t i = 0; i + 1 < n; ++i) {
        remaining -= weights[i];
        if (remaining < 0) return candidates[i].id;
    }
    return candidates[n - 1].id;
}

int32_t sample(std::span<float> logits, std::span<const int32_t> history, const SamplingOptions& options,
               Rng& rng, const SampledIds& ids) {
    forbid(logits, ids.forbidden);
    if (options.repetition_window > 0) {
        history = history.last(std::min(history.size(), static_cast<size_t>(options.repetition_window)));
    }
    if (options.repetition_penalty != 1.0F) {
        for (const int32_t id : std::unordered_set<int32_t>(history.begin(), history.end())) {
            penalise(logits[static_cast<size_t>(id)], options.repetition_penalty);
        }
    }
    if (options.length_penalty != 1.0F) {
        for (const int32_t id : ids.ends) penalise(logits[static_cast<size_t>(id)], options.length_penalty);
    }
    return choose(logits, options, rng);
}

}  // namespace minicpmo
