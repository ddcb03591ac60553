#include "engine/code_sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"

using namespace minicpmo;

namespace {

constexpr CodeSampling kPlain = {
    .temperature = 1.0F, .repetition_penalty = 1.0F, .top_p = 1.0F, .top_k = 0, .min_keep = 2};
constexpr int kDraws = 20000;

std::vector<double> frequencies(const std::vector<float>& logits, const std::vector<int32_t>& history,
                                const CodeSampling& sampling, bool may_end) {
    std::vector<double> share(logits.size());
    Rng rng{9, 0};
    for (int i = 0; i < kDraws; ++i) {
        std::vector<float> copy = logits;
        share[static_cast<size_t>(sample_code(copy, history, sampling, may_end, rng))] += 1.0 / kDraws;
    }
    return share;
}

std::vector<double> softmax(const std::vector<double>& scores) {
    std::vector<double> p;
    for (const double s : scores) p.push_back(std::exp(s - *std::max_element(scores.begin(), scores.end())));
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) x /= sum;
    return p;
}

// Each rule by itself over all scores, as transformers' processors and warpers work: what is out is -inf.
std::vector<double> naive(const std::vector<float>& logits, std::vector<int32_t> history,
                          const CodeSampling& o, bool may_end) {
    std::vector<double> scores(logits.begin(), logits.end());
    for (double& s : scores) s /= o.temperature;
    const bool is_first = history.empty();
    const auto window = static_cast<size_t>(o.repetition_window);
    if (history.size() > window) history.erase(history.begin(), history.end() - o.repetition_window);
    for (const int32_t code : history) {
        double& s = scores[static_cast<size_t>(code)];
        s *= s < 0 ? o.repetition_penalty : 1.0 / o.repetition_penalty;
    }
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
    if (!is_first) {
        const std::vector<double> p = softmax(scores);
        double sum = 0;
        for (size_t i = 0; i + static_cast<size_t>(o.min_keep) < order.size(); ++i) {
            sum += p[order[i]];
            if (sum <= 1.0 - o.top_p) scores[order[i]] = -INFINITY;
        }
    }
    if (!is_first && o.top_k > 0) {
        std::vector<double> sorted = scores;
        std::sort(sorted.rbegin(), sorted.rend());
        const double kth = sorted[static_cast<size_t>(std::max(o.top_k, o.min_keep)) - 1];
        for (double& s : scores) s = s < kth ? -INFINITY : s;
    }
    if (!may_end) scores.back() = -INFINITY;
    return softmax(scores);
}

std::vector<float> random_logits(uint64_t seed, float range) {
    Rng rng{seed, 0};
    std::vector<float> logits(40);
    for (float& x : logits) x = range * static_cast<float>(2 * rng.uniform() - 1);
    return logits;
}

std::vector<float> log_of(std::vector<float> probabilities) {
    for (float& p : probabilities) p = std::log(p);
    return probabilities;
}

// Codes that come out at all.
std::vector<int> kept(const std::vector<float>& logits, const CodeSampling& sampling, bool may_end = true,
                      const std::vector<int32_t>& history = {0}) {
    std::vector<int> codes;
    const std::vector<double> share = frequencies(logits, history, sampling, may_end);
    for (size_t i = 0; i < share.size(); ++i) {
        if (share[i] > 0) codes.push_back(static_cast<int>(i));
    }
    return codes;
}

using Codes = std::vector<int>;

}  // namespace

TEST_CASE("codes come as often as the rules applied one by one say") {
    const std::vector<int32_t> history = {1, 2, 2, 39, 5, 5, 5, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 5, 20};
    const std::vector<CodeSampling> variants = {{},
                                                {.top_p = 1.0F, .top_k = 0},
                                                {.top_p = 0.3F},
                                                {.top_k = 5},
                                                {.repetition_penalty = 1.6F, .top_k = 10}};
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        const std::vector<float> logits = random_logits(seed, seed % 2 == 0 ? 1.0F : 5.0F);
        for (size_t v = 0; v < variants.size(); ++v) {
            for (const bool may_end : {true, false}) {
                for (const size_t n : {size_t{0}, size_t{3}, history.size()}) {
                    CAPTURE(seed);
                    CAPTURE(v);
                    CAPTURE(may_end);
                    CAPTURE(n);
                    const std::vector<int32_t> past(history.begin(), history.begin() + static_cast<int>(n));
                    const auto found = frequencies(logits, past, variants[v], may_end);
                    const auto expected = naive(logits, past, variants[v], may_end);
                    double largest = 0;
                    bool is_same_set = true;
                    for (size_t i = 0; i < found.size(); ++i) {
                        largest = std::max(largest, std::abs(found[i] - expected[i]));
                        is_same_set &= found[i] == 0.0 ? expected[i] < 1e-3 : expected[i] > 0.0;
                    }
                    CHECK(largest < 0.015);
                    CHECK(is_same_set);
                }
            }
        }
    }
}

TEST_CASE("a code is penalised once for each time it came in the last 16") {
    CodeSampling greedy = kPlain;
    greedy.temperature = 0;
    greedy.repetition_penalty = 2.0F;
    CHECK(kept({4, 1.5F, -9, -9}, greedy, true, {0}) == Codes{0});     // 2 against 1.5
    CHECK(kept({4, 1.5F, -9, -9}, greedy, true, {0, 0}) == Codes{1});  // 1
    CHECK(kept({-1, -3, -9, -9}, greedy, true, {0}) == Codes{0});      // -2
    CHECK(kept({-1, -3, -9, -9}, greedy, true, {0, 0}) == Codes{1});   // -4
    std::vector<int32_t> history(16, 2);
    history.insert(history.begin(), {0, 0, 0});
    CHECK(kept({4, 1.5F, -9, -9}, greedy, true, history) == Codes{0});  // too long ago
}

TEST_CASE("top-p and top-k leave min_keep codes, and equals of the k-th") {
    CodeSampling sampling = kPlain;
    sampling.min_keep = 3;
    sampling.top_p = 0.01F;
    CHECK(kept(log_of({0.1F, 0.2F, 0.3F, 0.4F}), sampling) == Codes{1, 2, 3});
    sampling = kPlain;
    sampling.min_keep = 3;
    sampling.top_k = 1;
    CHECK(kept(log_of({0.1F, 0.2F, 0.3F, 0.4F}), sampling) == Codes{1, 2, 3});
    sampling.min_keep = 2;
    sampling.top_k = 2;
    CHECK(kept({1, 0, 0, -9}, sampling) == Codes{0, 1, 2});
}

TEST_CASE("top-p counts before top-k") {
    CodeSampling sampling = kPlain;
    sampling.top_k = 3;
    sampling.top_p =
        0.7F;  // of all: 0.4 + 0.3 reach it; of the best three 0.4 + 0.3 of 0.9 would be 0.78 too
    CHECK(kept(log_of({0.1F, 0.2F, 0.3F, 0.4F}), sampling) == Codes{2, 3});
    sampling.top_p = 0.75F;  // of all three are needed; of the best three 0.78 would be enough
    CHECK(kept(log_of({0.1F, 0.2F, 0.3F, 0.4F}), sampling) == Codes{1, 2, 3});
}

TEST_CASE("the end is banned after the others were thinned out, not before") {
    CodeSampling sampling = kPlain;
    sampling.top_k = 2;
    const std::vector<float> logits = log_of({0.1F, 0.2F, 0.3F, 0.4F});
    CHECK(kept(logits, sampling, true) == Codes{2, 3});
    CHECK(kept(logits, sampling, false) == Codes{2});  // not 1, although one of the two is gone
    sampling.temperature = 0;
    CHECK(kept(logits, sampling, true) == Codes{3});
    CHECK(kept(logits, sampling, false) == Codes{2});
}

TEST_CASE("a first code knows temperature only") {
    CodeSampling sampling;
    sampling.top_k = 2;
    sampling.top_p = 0.1F;
    CHECK(kept({1, 1.1F, 1.2F, 1.3F}, sampling, true, {}) == Codes{0, 1, 2, 3});
    CHECK(kept({1, 1.1F, 1.2F, 1.3F}, sampling, false, {}) == Codes{0, 1, 2});
    CHECK(kept({1, 1.1F, 1.2F, 1.3F}, sampling, true, {0}).size() == 3);
}

TEST_CASE("the counter of the generator moves one step a code") {
    Rng rng{1, 0};
    std::vector<float> logits(10, 1.0F);
    for (int i = 0; i < 3; ++i) sample_code(logits, {}, kPlain, true, rng);
    CHECK(rng.counter == 3);
}

TEST_CASE("logits that are no numbers, or no probability at all, are errors") {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    Rng rng;
    std::vector<float> broken = {1, std::numeric_limits<float>::quiet_NaN(), 2};
    CHECK_THROWS_AS(sample_code(broken, {}, {}, true, rng), Error);
    for (const float value : {kInf, -kInf}) {
        std::vector<float> all(5, value);
        CHECK_THROWS_AS(sample_code(all, {}, {}, true, rng), Error);
        const std::vector<int32_t> history = {1};
        std::fill(all.begin(), all.end(), value);
        CHECK_THROWS_AS(sample_code(all, history, {}, true, rng), Error);
    }
    CHECK(kept({-kInf, 1, -kInf, -kInf}, {}, true, {1}) == Codes{1});
}

TEST_CASE("sampling of codes out of range is refused by name") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto refused = [](CodeSampling sampling, const std::string& name) {
        try {
            check_code_sampling(sampling);
        } catch (const ArgumentError& error) {
            return std::string(error.what()).find(name) != std::string::npos;
        }
        return false;
    };
    CHECK_NOTHROW(check_code_sampling({}));
    for (const float bad : {-0.1F, 101.0F, nan}) CHECK(refused({.temperature = bad}, "temperature"));
    for (const float bad : {0.0F, nan}) CHECK(refused({.repetition_penalty = bad}, "repetition_penalty"));
    CHECK(refused({.repetition_window = -1}, "repetition_window"));
    for (const float bad : {0.0F, 1.1F, nan}) CHECK(refused({.top_p = bad}, "top_p"));
    CHECK(refused({.top_k = -1}, "top_k"));
    CHECK(refused({.min_keep = 1}, "min_keep"));
}
