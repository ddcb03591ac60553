#include "engine/speech_stream.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/error.h"
#include "engine/speech_decoder.h"
#include "engine/tiny_speech.h"

using namespace minicpmo;

namespace {

SpeechDecoder make_decoder(bool is_causal = false) {
    const auto model = tiny_speaker(is_causal);
    return {model, model->speech().voice("Ann"), {.seed = 1}};
}

std::vector<float> rest(SpeechStream& stream) {
    std::vector<float> samples;
    while (const auto more = stream.next()) samples.insert(samples.end(), more->begin(), more->end());
    return samples;
}

std::vector<float> say(SpeechDecoder& decoder, const SpeechStreamOptions& options, int n_chunk,
                       SpeechTimings* timings = nullptr, bool is_causal = false) {
    SpeechStream stream(tiny_speaker(is_causal), decoder, options);
    for (int i = 0; i < n_chunk; ++i)
        stream.feed(random_tokens(10, static_cast<uint64_t>(i), i + 1 == n_chunk));
    const std::vector<float> samples = rest(stream);
    CHECK_FALSE(stream.next());
    if (timings != nullptr) *timings = stream.timings();
    return samples;
}

// Never the end: chunks as long as they may be.
SpeechStreamOptions endless(bool has_threads = true) {
    SpeechStreamOptions options;
    options.has_threads = has_threads;
    options.sampling = CodeSampling{};
    options.sampling->temperature = 0;
    options.sampling->repetition_penalty = 1;
    return options;
}

template <class T>
std::string message_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const T& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("the same seed gives the same wave, with threads and without, and another one another") {
    for (const bool is_causal : {false, true}) {
        SpeechDecoder decoder = make_decoder(is_causal);
        for (const bool is_whole : {false, true}) {
            const int n_chunk = is_whole ? 1 : 4;
            const auto say_it = [&](bool has_threads, uint64_t seed) {
                return say(decoder, {.is_whole = is_whole, .has_threads = has_threads, .seed = seed}, n_chunk,
                           nullptr, is_causal);
            };
            const std::vector<float> expected = say_it(false, 3);
            CHECK(expected.size() > 24000);
            CHECK(say_it(true, 3) == expected);
            CHECK(say_it(true, 3) == expected);
            CHECK(say_it(true, 4) != expected);
        }
    }
}

TEST_CASE("a turn is as long as its codes, to the sample") {
    SpeechDecoder decoder = make_decoder();
    for (const bool has_threads : {false, true}) {
        for (const bool is_whole : {false, true}) {
            for (const uint64_t seed : {1, 2, 3}) {
                SpeechTimings t;
                const std::vector<float> samples =
                    say(decoder, {.is_whole = is_whole, .has_threads = has_threads, .seed = seed},
                        is_whole ? 1 : 3, &t);
                CHECK(samples.size() == n_samples_of(t.n_code, !is_whole));
                CHECK(t.n_sample == std::ssize(samples));
                CHECK(t.codes_s > 0);
                CHECK(t.flow_s > 0);
                CHECK(t.vocoder_s > 0);
                CHECK(t.first_sample_s > 0);
                if (is_whole) CHECK(t.n_code >= 50);
            }
        }
    }
}

TEST_CASE("whoever only feeds is not kept waiting by sound that nobody takes") {
    SpeechDecoder decoder = make_decoder();
    SpeechStream stream(tiny_speaker(), decoder, {.seed = 1});
    // More than the queues between the threads hold.
    for (int i = 0; i < 60; ++i) stream.feed(random_tokens(10, static_cast<uint64_t>(i), i == 59));
    const std::vector<float> samples = rest(stream);
    CHECK(samples.size() == n_samples_of(stream.timings().n_code, true));
    CHECK(stream.timings().n_code > 60 * 5);
}

TEST_CASE("samples come before the text has ended, and poll does not wait for them") {
    for (const bool has_threads : {false, true}) {
        SpeechDecoder decoder = make_decoder();
        SpeechStream stream(tiny_speaker(), decoder, {.has_threads = has_threads, .seed = 1});
        CHECK_FALSE(stream.poll());
        std::optional<std::vector<float>> first;
        for (uint64_t i = 0; i < 1000 && !first; ++i) {
            stream.feed(random_tokens(10, i));
            first = stream.poll();
        }
        REQUIRE(first);
        CHECK(first->size() % 24000 == 0);
        CHECK_THROWS_AS(stream.next(), ArgumentError);  // it could wait for ever
        stream.feed(random_tokens(0, 0, true));
        const size_t n = rest(stream).size();
        CHECK(n > 0);
    }
}

TEST_CASE("an interruption ends whatever waits, soon, and the decoder speaks again") {
    SpeechDecoder decoder = make_decoder();
    const std::vector<float> expected = say(decoder, {.seed = 3}, 2);
    for (const bool has_threads : {false, true}) {
        for (const bool is_fed : {false, true}) {
            SpeechStream stream(tiny_speaker(), decoder, endless(has_threads));
            std::atomic<bool> has_begun = false;
            std::thread other([&] {
                while (!has_begun) std::this_thread::yield();
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
                stream.interrupt();
            });
            const auto go_on = [&] {
                has_begun = true;
                for (uint64_t i = 0;; ++i) {
                    stream.feed(random_tokens(10, i, is_fed));
                    while (is_fed && stream.next()) {
                    }
                }
            };
            CHECK_THROWS_AS(go_on(), Error);  // interrupted, or over before that and fed again
            other.join();
            CHECK_THROWS_AS(stream.poll(), InterruptedError);
            CHECK_THROWS_AS(stream.next(), InterruptedError);
            CHECK_THROWS_AS(stream.feed(random_tokens(1, 1)), InterruptedError);
        }
        CHECK(say(decoder, {.has_threads = has_threads, .seed = 3}, 2) == expected);
    }
}

TEST_CASE("a stream that is dropped, wherever it is, gives the decoder back") {
    SpeechDecoder decoder = make_decoder();
    const std::vector<float> expected = say(decoder, {.seed = 3}, 2);
    for (const bool has_threads : {false, true}) {
        for (int n = 0; n < 5; ++n) {
            SpeechStream stream(tiny_speaker(), decoder, {.has_threads = has_threads, .seed = 1});
            for (int i = 0; i < n; ++i) stream.feed(random_tokens(10, 1, i == 3));
            if (n > 2) stream.poll();
        }
        CHECK(say(decoder, {.has_threads = has_threads, .seed = 3}, 2) == expected);
    }
}

TEST_CASE("what fails in a thread comes out of the next call, and again") {
    for (const bool has_threads : {false, true}) {
        CAPTURE(has_threads);
        SpeechDecoder decoder = make_decoder();
        SpeechStreamOptions options{.has_threads = has_threads, .seed = 1};
        {
            SpeechStream stream(tiny_speaker(), decoder, options);
            SpokenTokens wrong = random_tokens(3, 1, true);
            wrong.ids[1] = 100000;
            const auto speak = [&] {
                stream.feed(wrong);
                rest(stream);
            };
            CHECK(message_of<ArgumentError>(speak).find("100000") != std::string::npos);
            CHECK_THROWS_AS(stream.next(), ArgumentError);
            CHECK_THROWS_AS(stream.poll(), ArgumentError);
            CHECK_THROWS_AS(stream.feed(random_tokens(1, 1)), ArgumentError);
        }
        SpeechStream stream(tiny_speaker(), decoder, options);
        decoder.push(random_codes(3), true);  // not how to treat what was lent: its vocoder takes no more
        const auto speak = [&] {
            stream.feed(random_tokens(10, 1, true));
            rest(stream);
        };
        CHECK_THROWS_AS(speak(), ArgumentError);
        CHECK_THROWS_AS(stream.next(), ArgumentError);
    }
}

TEST_CASE("sampling out of range and models without speech are refused") {
    SpeechDecoder decoder = make_decoder();
    SpeechStreamOptions options = endless();
    options.sampling->temperature = -1;
    CHECK_THROWS_AS(SpeechStream(tiny_speaker(), decoder, options), ArgumentError);
    const auto silent = load_tiny({.has_vision = false, .has_audio = false});
    CHECK_THROWS_AS(SpeechStream(silent, decoder, {}), UnsupportedModelError);
}
