#include "engine/duplex_sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "base/error.h"

using namespace minicpmo;

namespace {

constexpr int32_t kVocab = 40;
constexpr int32_t kImEnd = 30, kPad = 31, kListen = 32, kSpeak = 33, kTurnEos = 34, kChunkEos = 35, kBad = 36;

TokenRoles roles() {
    TokenRoles t;
    t.im_end = kImEnd;
    t.tts_pad = kPad;
    t.listen = kListen;
    t.speak = kSpeak;
    t.turn_eos = kTurnEos;
    t.chunk_eos = kChunkEos;
    t.unspoken = {kBad};
    return t;
}

DuplexSampling greedy() {
    DuplexSampling s;
    s.temperature = 0;
    s.repetition_penalty = 1;
    s.length_penalty = 1;
    return s;
}

DuplexSampler sampler(const DuplexSampling& s) { return {roles(), kVocab, s}; }

using Logits = std::vector<std::pair<int32_t, float>>;

int32_t draw(DuplexSampler& from, const Logits& some, float rest = 0.0F) {
    std::vector<float> logits(kVocab, rest);
    for (const auto& [id, logit] : some) logits[static_cast<size_t>(id)] = logit;
    return from.sample(logits);
}

std::vector<float> random_logits(uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> logits(kVocab);
    for (float& x : logits) x = static_cast<float>(6 * rng.uniform() - 3);
    return logits;
}

std::vector<int32_t> sequence(DuplexSampler& from, int n) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n; ++i) {
        std::vector<float> logits = random_logits(static_cast<uint64_t>(i));
        ids.push_back(from.sample(logits));
    }
    return ids;
}

}  // namespace

TEST_CASE("greedy, a chunk ends only where nothing is likelier") {
    DuplexSampler s = sampler(greedy());
    CHECK(draw(s, {{kChunkEos, 5.0F}, {3, 4.9F}}) == kChunkEos);
    CHECK(draw(s, {{kChunkEos, 5.0F}, {3, 5.1F}}) == 3);
    // The end is tested before tokens are forbidden: the likeliest one counts even if it cannot be drawn.
    CHECK(draw(s, {{kBad, 9.0F}, {kChunkEos, 8.0F}, {3, 1.0F}}) == 3);
}

TEST_CASE("sampled, a chunk ends as often as the model's own distribution says") {
    DuplexSampling options;
    options.temperature = 0.1F;  // shapes what is said, not whether it ends
    options.top_k = 1;
    options.seed = 5;
    DuplexSampler s = sampler(options);
    // exp(x) of 40 ids, 39 of which have 0: a share of 0.3.
    const float logit = std::log(0.3F / 0.7F * 39);
    constexpr int kDraws = 20000;
    int n_end = 0;
    for (int i = 0; i < kDraws; ++i) n_end += draw(s, {{kChunkEos, logit}}) == kChunkEos ? 1 : 0;
    // Five standard deviations of a binomial count: one wrong alarm in two million seeds.
    const double deviation = std::sqrt(kDraws * 0.3 * 0.7);
    CHECK(std::abs(n_end - 0.3 * kDraws) < 5 * deviation);
    for (int i = 0; i < 200; ++i) {
        CHECK(draw(s, {{kChunkEos, 80.0F}}) == kChunkEos);
        CHECK(draw(s, {{kChunkEos, -80.0F}}) != kChunkEos);
    }
}

TEST_CASE("what no voice can say, padding and the end of a chunk are never drawn later") {
    DuplexSampler s = sampler(greedy());
    CHECK(draw(s, {{kBad, 9.0F}, {kPad, 8.0F}, {7, 1.0F}}) == 7);
    DuplexSampling hot;
    hot.temperature = 100;
    hot.top_k = 0;
    hot.top_p = 1;
    DuplexSampler random = sampler(hot);
    for (int i = 0; i < 2000; ++i) {
        const int32_t id = draw(random, {{kBad, 9.0F}, {kPad, 9.0F}, {kChunkEos, -200.0F}});
        CHECK((id != kBad && id != kPad && id != kChunkEos));
    }
}

TEST_CASE("the penalty divides what was drawn before, whatever its sign") {
    DuplexSampling options = greedy();
    options.repetition_penalty = 2;
    DuplexSampler s = sampler(options);
    CHECK(draw(s, {{4, 3.0F}, {5, 2.0F}}) == 4);
    CHECK(draw(s, {{4, 3.0F}, {5, 2.0F}}) == 5);            // 1.5 against 2
    CHECK(draw(s, {{4, 3.0F}, {6, 1.6F}}) == 6);            // once, however often; 1.5 against 1.6
    CHECK(draw(s, {{4, -3.0F}, {9, -2.0F}}, -90.0F) == 4);  // -1.5 against -2: upwards
}

TEST_CASE("the penalty forgets what is older than its window, and ends of chunks are not in it") {
    DuplexSampling options = greedy();
    options.repetition_penalty = 10;
    options.repetition_window = 3;
    DuplexSampler s = sampler(options);
    CHECK(draw(s, {{1, 5.0F}}) == 1);
    for (int i = 0; i < 5; ++i) CHECK(draw(s, {{kChunkEos, 5.0F}}) == kChunkEos);
    CHECK(draw(s, {{1, 5.0F}, {2, 1.0F}}) == 2);
    CHECK(draw(s, {{1, 5.0F}, {3, 1.0F}}) == 3);
    CHECK(draw(s, {{1, 5.0F}, {4, 1.0F}}) == 4);
    CHECK(draw(s, {{1, 5.0F}, {5, 1.0F}}) == 1);  // three others since
    CHECK(draw(s, {{kListen, 5.0F}, {6, 1.0F}}) == kListen);
    CHECK(draw(s, {{kListen, 5.0F}, {7, 1.0F}}) == 7);  // decisions are in it
    options.repetition_window = 0;
    DuplexSampler none = sampler(options);
    for (int i = 0; i < 3; ++i) CHECK(draw(none, {{1, 5.0F}, {2, 4.9F}}) == 1);
}

TEST_CASE("the length penalty makes the end of a turn rarer, by its sign") {
    DuplexSampling options = greedy();
    options.length_penalty = 2;
    DuplexSampler s = sampler(options);
    CHECK(draw(s, {{kTurnEos, 3.0F}, {5, 1.4F}}) == kTurnEos);
    CHECK(draw(s, {{kTurnEos, 3.0F}, {5, 1.6F}}) == 5);
    CHECK(draw(s, {{kTurnEos, -1.0F}, {5, -1.9F}}, -90.0F) == 5);
    CHECK(draw(s, {{kTurnEos, -1.0F}, {5, -2.1F}}, -90.0F) == kTurnEos);
    CHECK(draw(s, {{kListen, 3.0F}, {5, 1.6F}}) == kListen);  // no other end
}

TEST_CASE("listening is weighed among the probabilities, whatever the sign of its logit") {
    for (const float base : {3.0F, -3.0F}) {
        for (const float scale : {4.0F, 0.25F}) {
            CAPTURE(base);
            CAPTURE(scale);
            DuplexSampling options = greedy();
            options.listen_scale = scale;
            DuplexSampler s = sampler(options);
            const float at = base - std::log(scale);
            CHECK(draw(s, {{kListen, at + 0.01F}, {5, base}}, -90.0F) == kListen);
            CHECK(draw(s, {{kListen, at - 0.01F}, {5, base}}, -90.0F) == 5);
        }
    }
    // As in the reference: the logit of <|im_end|>, multiplied.
    DuplexSampling official = greedy();
    official.listen_scale = 3;
    official.scales_end_token = true;
    DuplexSampler s = sampler(official);
    CHECK(draw(s, {{kImEnd, 1.0F}, {kListen, 2.9F}}) == kImEnd);
    CHECK(draw(s, {{kImEnd, 1.0F}, {kListen, 3.1F}}) == kListen);
    CHECK(draw(s, {{kImEnd, -1.0F}, {kListen, -2.9F}}, -90.0F) == kListen);
}

TEST_CASE("a seed gives the same sequence, another one another, and reset begins it anew") {
    DuplexSampling options;
    options.seed = 7;
    options.top_k = 0;
    options.top_p = 1;
    options.temperature = 1;
    DuplexSampler a = sampler(options);
    const std::vector<int32_t> expected = sequence(a, 100);
    DuplexSampler b = sampler(options);
    CHECK(sequence(b, 100) == expected);
    CHECK(sequence(b, 100) != expected);
    b.reset();
    CHECK(sequence(b, 100) == expected);
    options.seed = 8;
    DuplexSampler other = sampler(options);
    CHECK(sequence(other, 100) != expected);
}

TEST_CASE("an archived sampler goes on as it would have") {
    DuplexSampling options;
    options.repetition_penalty = 1.5F;
    options.seed = 4;
    DuplexSampler a = sampler(options);
    sequence(a, 50);
    std::ostringstream out;
    Archive writing(out);
    a.archive(writing);
    const std::string bytes = out.str();
    const auto read = [](DuplexSampler& into, std::string_view from) {
        Archive archive(std::as_bytes(std::span(from)));
        into.archive(archive);
    };
    DuplexSampler b = sampler(DuplexSampling{options});
    sequence(b, 9);
    read(b, bytes);
    CHECK(sequence(b, 50) == sequence(a, 50));
    DuplexSampling narrow = options;
    narrow.repetition_window = 10;
    DuplexSampler c = sampler(narrow);
    CHECK_THROWS_AS(read(c, bytes), ModelFileError);
    for (const int32_t id : {-1, kVocab, std::numeric_limits<int32_t>::max()}) {
        std::string lie = bytes;
        std::copy_n(reinterpret_cast<const char*>(&id), sizeof id, lie.begin() + sizeof(uint64_t));
        CHECK_THROWS_AS(read(b, lie), ModelFileError);
    }
}

TEST_CASE("a decision's probabilities are the model's own") {
    std::vector<float> logits(kVocab, 0.0F);
    logits[kListen] = 2.0F;
    logits[kSpeak] = -1.0F;
    const Decision d = decision(logits, roles());
    const double total = 38 + std::exp(2.0) + std::exp(-1.0);
    CHECK(d.listen == doctest::Approx(std::exp(2.0) / total));
    CHECK(d.speak == doctest::Approx(std::exp(-1.0) / total));
}

TEST_CASE("options out of range and logits that are none are refused") {
    const auto refuses = [](auto change) {
        DuplexSampling options;
        change(options);
        CHECK_THROWS_AS(sampler(options), ArgumentError);
    };
    refuses([](DuplexSampling& s) { s.temperature = -1; });
    refuses([](DuplexSampling& s) { s.top_k = -1; });
    refuses([](DuplexSampling& s) { s.top_p = 0; });
    refuses([](DuplexSampling& s) { s.repetition_penalty = 0; });
    refuses([](DuplexSampling& s) { s.repetition_window = -1; });
    refuses([](DuplexSampling& s) { s.repetition_window = 65537; });
    refuses([](DuplexSampling& s) { s.length_penalty = 0; });
    refuses([](DuplexSampling& s) { s.listen_scale = 0; });
    refuses([](DuplexSampling& s) { s.listen_scale = 1e7F; });
    refuses([](DuplexSampling& s) { s.listen_scale = std::numeric_limits<float>::quiet_NaN(); });
    DuplexSampler s = sampler(greedy());
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK_THROWS_AS(draw(s, {}, -infinity), Error);
    CHECK_THROWS_AS(draw(s, {{3, infinity}}), Error);
    CHECK_THROWS_AS(draw(s, {{3, std::numeric_limits<float>::quiet_NaN()}}), Error);
    CHECK(draw(s, {{3, 1.0F}}) == 3);
}
