#include "engine/sampler.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"

using namespace minicpmo;

namespace {

constexpr SamplingOptions kPlain = {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F};

// How often each id comes out of 4000 draws.
std::map<int32_t, int> draw(const std::vector<float>& logits, const SamplingOptions& options,
                            const std::vector<int32_t>& history = {}) {
    std::map<int32_t, int> counts;
    Rng rng{options.seed, 0};
    for (int i = 0; i < 4000; ++i) {
        std::vector<float> copy = logits;
        ++counts[sample(copy, history, options, rng)];
    }
    return counts;
}

std::set<int32_t> kept(const std::vector<float>& logits, const SamplingOptions& options,
                       const std::vector<int32_t>& history = {}) {
    std::set<int32_t> ids;
    for (const auto& [id, count] : draw(logits, options, history)) ids.insert(id);
    return ids;
}

std::vector<float> log_of(std::vector<float> probabilities) {
    for (float& p : probabilities) p = std::log(p);
    return probabilities;
}

using Ids = std::set<int32_t>;

}  // namespace

TEST_CASE("without limits every id comes as often as its probability says") {
    const auto counts = draw(log_of({0.1F, 0.2F, 0.3F, 0.4F}), kPlain);
    for (int32_t id = 0; id < 4; ++id) {
        CAPTURE(id);
        CHECK(counts.at(id) == doctest::Approx(400.0 * (id + 1)).epsilon(0.15));
    }
}

TEST_CASE("temperature 0 takes the likeliest, the first of equals") {
    SamplingOptions options = kPlain;
    options.temperature = 0;
    CHECK(kept({1, 5, 5, 2}, options) == Ids{1});
}

TEST_CASE("temperature sharpens and flattens") {
    const std::vector<float> logits = log_of({0.2F, 0.8F});
    SamplingOptions options = kPlain;
    options.temperature = 0.5F;  // 0.04 to 0.64
    CHECK(draw(logits, options)[0] == doctest::Approx(4000 * 0.04 / 0.68).epsilon(0.2));
    options.temperature = 2.0F;  // 0.447 to 0.894
    CHECK(draw(logits, options)[0] == doctest::Approx(4000 * 0.3333).epsilon(0.1));
}

TEST_CASE("top-k keeps the k likeliest, of equals those with the smaller id") {
    SamplingOptions options = kPlain;
    options.top_k = 2;
    CHECK(kept(log_of({0.1F, 0.2F, 0.3F, 0.4F}), options) == Ids{2, 3});
    CHECK(kept({1, 1, 1, 1}, options) == Ids{0, 1});
    options.top_k = 100;
    CHECK(kept({1, 1, 1, 1}, options) == Ids{0, 1, 2, 3});
}

TEST_CASE("top-p keeps the likeliest up to and with the one that crosses it") {
    const std::vector<float> logits = log_of({0.1F, 0.4F, 0.2F, 0.3F});
    SamplingOptions options = kPlain;
    options.top_p = 0.3F;
    CHECK(kept(logits, options) == Ids{1});
    options.top_p = 0.5F;
    CHECK(kept(logits, options) == Ids{1, 3});
    options.top_p = 0.8F;
    CHECK(kept(logits, options) == Ids{1, 2, 3});
    options.top_p = 1e-6F;
    CHECK(kept(logits, options) == Ids{1});
}

TEST_CASE("top-p counts what top-k and temperature left") {
    const std::vector<float> logits = log_of({0.1F, 0.4F, 0.2F, 0.3F});
    SamplingOptions options = kPlain;
    options.top_k = 2;  // 4/7 and 3/7
    options.top_p = 0.5F;
    CHECK(kept(logits, options) == Ids{1});
    options.top_p = 0.6F;
    CHECK(kept(logits, options) == Ids{1, 3});
    options = kPlain;
    options.top_p = 0.5F;
    options.temperature = 0.5F;  // 0.533 for the first
    CHECK(kept(logits, options) == Ids{1});
}

TEST_CASE("min-p keeps what is at least that share of the likeliest") {
    const std::vector<float> logits = log_of({0.05F, 0.5F, 0.15F, 0.3F});
    SamplingOptions options = kPlain;
    options.min_p = 0.25F;
    CHECK(kept(logits, options) == Ids{1, 2, 3});
    options.min_p = 0.5F;
    CHECK(kept(logits, options) == Ids{1, 3});
    options.min_p = 1.0F;
    CHECK(kept(logits, options) == Ids{1});
}

TEST_CASE("the penalty lowers what was generated, once however often it came") {
    SamplingOptions options = kPlain;
    options.temperature = 0;
    options.repetition_penalty = 2.0F;
    CHECK(kept({4, 3, -1, -3}, options) == Ids{0});
    CHECK(kept({4, 3, -1, -3}, options, {0, 0, 0}) == Ids{1});  // 2, 3
    CHECK(kept({4, 3, -1, -3}, options, {0, 1}) == Ids{0});     // 2, 1.5
    CHECK(kept({-4, -1, -3, -5}, options, {1}) == Ids{1});      // -2 is still the best
    CHECK(kept({-4, -1, -1.5F, -5}, options, {1}) == Ids{2});   // -2 against -1.5
    CHECK(kept({4, 3.9F, -1, -3}, options, {0, 0, 0}) == Ids{1});
}

TEST_CASE("a seed fixes the sequence, another gives another") {
    const std::vector<float> logits(50, 1.0F);
    const auto sequence = [&](uint64_t seed) {
        Rng rng{seed, 0};
        std::vector<int32_t> ids;
        for (int i = 0; i < 20; ++i) {
            std::vector<float> copy = logits;
            ids.push_back(sample(copy, {}, kPlain, rng));
        }
        return ids;
    };
    CHECK(sequence(3) == sequence(3));
    CHECK(sequence(3) != sequence(4));
}

TEST_CASE("infinite logits are extremes, NaN is an error") {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    CHECK(kept({1, kInf, 2}, kPlain) == Ids{1});
    CHECK(kept({-kInf, 1, -kInf}, kPlain) == Ids{1});
    CHECK(kept({-kInf, -kInf}, kPlain) == Ids{0});
    Rng rng;
    std::vector<float> broken = {1, std::numeric_limits<float>::quiet_NaN()};
    CHECK_THROWS_AS(sample(broken, {}, kPlain, rng), Error);
    SamplingOptions greedy = kPlain;
    greedy.temperature = 0;
    CHECK_THROWS_AS(sample(broken, {}, greedy, rng), Error);
}

TEST_CASE("options out of range are refused by name") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto refused = [](SamplingOptions options, const std::string& name) {
        try {
            check_sampling(options);
        } catch (const ArgumentError& error) {
            return std::string(error.what()).find(name) != std::string::npos;
        }
        return false;
    };
    CHECK_NOTHROW(check_sampling({}));
    for (const float bad : {-0.1F, 101.0F, nan}) CHECK(refused({.temperature = bad}, "temperature"));
    CHECK(refused({.top_k = -1}, "top_k"));
    for (const float bad : {0.0F, 1.1F, nan}) CHECK(refused({.top_p = bad}, "top_p"));
    for (const float bad : {-0.1F, 1.1F, nan}) CHECK(refused({.min_p = bad}, "min_p"));
    for (const float bad : {0.0F, -1.0F, nan})
        CHECK(refused({.repetition_penalty = bad}, "repetition_penalty"));
}
