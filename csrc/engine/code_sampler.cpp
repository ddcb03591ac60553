#include "engine/code_sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "base/error.h"

namespace minicpmo {

namespace {

struct Candidate {
    int32_t code;
    float score;
};

// Every occurrence counts: a code that came three times is divided, or if negative multiplied, three times.
void penalise(std::span<float> scores, std::span<const int32_t> history, const CodeSampling& sampling) {
    const auto n = std::min(history.size(), static_cast<size_t>(sampling.repetition_window));
    history = history.last(n);
    for (size_t i = 0; i < n; ++i) {
        const int32_t code = history[i];
        const auto is_code = [&](int32_t other) { return other == code; };
        if (std::any_of(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(i), is_code)) continue;
        const auto count = std::count_if(history.begin(), history.end(), is_code);
        const float alpha = std::pow(sampling.repetition_penalty, static_cast<float>(count));
        float& score = scores[static_cast<size_t>(code)];
        score = score < 0 ? score * alpha : score / alpha;
    }
}

std::vector<Candidate> at_least(std::span<const float> scores, float threshold) {
    std::vector<Candidate> found;
    for (size_t i = 0; i < scores.size(); ++i) {
        if (scores[i] >= threshold) found.push_back({static_cast<int32_t>(i), scores[i]});
    }
    return found;
}

// What top-p and then top-k leave: both keep the best ones, so the shorter list counts.
std::vector<Candidate> survivors(std::span<const float> scores, const CodeSampling& sampling) {
    float threshold = -INFINITY;
    const auto min_keep = static_cast<size_t>(sampling.min_keep);
    const auto top_k = std::max(static_cast<size_t>(sampling.top_k), min_keep);
    if (sampling.top_k > 0 && top_k < scores.size()) {
        std::vector<float> sorted(scores.begin(), scores.end());
        const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(top_k - 1);
        std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
        threshold = *kth;
    }
    std::vector<Candidate> candidates = at_least(scores, threshold);  // equals of the k-th stay too
    if (sampling.top_p >= 1.0F) return candidates;
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return a.score > b.score || (a.score == b.score && a.code < b.code);
    });
    const float best = candidates.front().score;
    double total = 0;
    for (const float score : scores) total += std::exp(score - best);
    size_t n = 0;
    for (double before = 0; n < candidates.size() && (n < min_keep || before < sampling.top_p * total); ++n) {
        before += std::exp(candidates[n].score - best);
    }
    candidates.resize(n);
    return candidates;
}

int32_t draw(std::span<const Candidate> candidates, Rng& rng) {
    float best = -INFINITY;
    for (const Candidate& c : candidates) best = std::max(best, c.score);
    check<Error>(std::isfinite(best), "[speech codes] the model computed no probability for any code");
    std::vector<double> sums(candidates.size());
    double sum = 0;
    for (size_t i = 0; i < candidates.size(); ++i) sums[i] = sum += std::exp(candidates[i].score - best);
    const auto chosen = std::upper_bound(sums.begin(), sums.end(), rng.uniform() * sum);
    const auto last = static_cast<std::ptrdiff_t>(sums.size()) - 1;
    return candidates[static_cast<size_t>(std::min(chosen - sums.begin(), last))].code;
}

}  // namespace

void check_code_sampling(const CodeSampling& s) {
    check<ArgumentError>(s.temperature >= 0 && s.temperature <= 100,
                         "[speech codes] expected temperature of 0 to 100, got {}", s.temperature);
    check<ArgumentError>(s.repetition_penalty > 0 && s.repetition_penalty <= 100,
                         "[speech codes] expected repetition_penalty above 0 and at most 100, got {}",
                         s.repetition_penalty);
    check<ArgumentError>(s.repetition_window >= 0, "[speech codes] expected repetition_window >= 0, got {}",
                         s.repetition_window);
    check<ArgumentError>(s.top_p > 0 && s.top_p <= 1,
                         "[speech codes] expected top_p above 0 and at most 1, got {}", s.top_p);
    check<ArgumentError>(s.top_k >= 0, "[speech codes] expected top_k >= 0, got {}", s.top_k);
    // One of the codes that stay may be the end, and the end may be banned.
    check<ArgumentError>(s.min_keep >= 2, "[speech codes] expected min_keep >= 2, got {}", s.min_keep);
}

int32_t sample_code(std::span<float> logits, std::span<const int32_t> history, const CodeSampling& sampling,
                    bool may_end, Rng& rng) {
    const bool is_greedy = sampling.temperature == 0.0F;
    if (!is_greedy) {
        for (float& logit : logits) logit /= sampling.temperature;
    }
    if (!history.empty()) penalise(logits, history, sampling);
    for (const float logit : logits) {
        check<Error>(!std::isnan(logit), "[speech codes] the model computed a logit that is not a number");
    }
    const auto end_code = static_cast<int32_t>(logits.size()) - 1;
    if (is_greedy) {
        const auto allowed = logits.first(logits.size() - (may_end ? 0 : 1));
        return static_cast<int32_t>(std::max_element(allowed.begin(), allowed.end()) - allowed.begin());
    }
    std::vector<Candidate> candidates =
        history.empty() ? at_least(logits, -INFINITY) : survivors(logits, sampling);
    if (!may_end) std::erase_if(candidates, [&](const Candidate& c) { return c.code == end_code; });
    return draw(candidates, rng);
}

}  // namespace minicpmo
