#include "engine/duplex_stream.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "engine/tiny_duplex.h"

using namespace minicpmo;

namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point late() { return Clock::now() + std::chrono::seconds(60); }

InboxOptions patient() { return {.max_waiting = 30, .max_frames = 8, .n_behind = 1000}; }

std::vector<float> sound_of(int n_unit, uint64_t seed = 100) {
    std::vector<float> all;
    for (int i = 0; i < n_unit; ++i) {
        const std::vector<float> unit = unit_sound(i, seed);
        all.insert(all.end(), unit.begin(), unit.end());
    }
    return all;
}

std::vector<DuplexChunk> stepwise(const DuplexOptions& options, int n_unit) {
    TinyDuplex duplex(tiny_duplex(), options);
    std::vector<DuplexChunk> chunks;
    for (int i = 0; i < n_unit; ++i) chunks.push_back(duplex.hear(i));
    return chunks;
}

std::vector<StreamedChunk> take_all(DuplexStream& stream) {
    std::vector<StreamedChunk> chunks;
    while (auto chunk = stream.next()) chunks.push_back(std::move(*chunk));
    return chunks;
}

}  // namespace

TEST_CASE("a stream gives the units that steps give, bit by bit") {
    for (uint64_t seed = 1; seed <= 2; ++seed) {
        const std::vector<DuplexChunk> expected = stepwise(lively_options(true, seed), 8);
        TinyDuplex duplex(tiny_duplex(), lively_options(true, seed));
        DuplexStream stream(duplex.session, patient());
        for (int i = 0; i < 8; ++i) CHECK(stream.push_audio(unit_sound(i), late()));
        stream.finish();
        const std::vector<StreamedChunk> chunks = take_all(stream);
        REQUIRE(chunks.size() == 8);
        for (size_t i = 0; i < 8; ++i) {
            CAPTURE(i);
            CHECK(is_same(chunks[i].chunk, expected[i]));
            CHECK(chunks[i].latency_s > 0);
            CHECK(chunks[i].n_dropped_frames == 0);
        }
        CHECK_FALSE(stream.next());
        CHECK_FALSE(stream.poll());
    }
}

TEST_CASE("frames go with the second in which they arrive") {
    const Image image = random_image(60, 30);
    TinyDuplex steps(tiny_duplex(), lively_options(false));
    TinyDuplex duplex(tiny_duplex(), lively_options(false));
    DuplexStream stream(duplex.session, patient());
    for (int i = 0; i < 6; ++i) {
        const std::vector<float> sound = unit_sound(i);
        UnitInput input{.audio = sound, .frames = {}, .text = {}};
        for (int k = 0; k < i % 3; ++k) {
            input.frames.push_back({image.view(), k + 1});
            stream.push_frame({image, k + 1});
        }
        CHECK(stream.push_audio(sound, late()));
        const auto chunk = stream.next();
        REQUIRE(chunk);
        CHECK(is_same(chunk->chunk, steps.session.step(input)));
    }
}

TEST_CASE("how samples are cut changes neither units nor their order, and the rest is one more") {
    const std::vector<DuplexChunk> expected = stepwise(lively_options(false), 6);
    const std::vector<float> sound = sound_of(6);
    for (uint64_t seed = 0; seed < 4; ++seed) {
        TinyDuplex duplex(tiny_duplex(), lively_options(false));
        DuplexStream stream(duplex.session, patient());
        std::jthread pusher([&] {
            Rng rng{seed, 0};
            for (size_t at = 0; at < sound.size();) {
                const size_t n = std::min<size_t>(1 + rng.next() % 20000, sound.size() - at);
                CHECK(stream.push_audio(std::span(sound).subspan(at, n), late()));
                at += n;
            }
            CHECK(stream.push_audio(std::span(sound).first(10), late()));
            stream.finish();
        });
        const std::vector<StreamedChunk> chunks = take_all(stream);
        REQUIRE(chunks.size() == 7);
        for (size_t i = 0; i < 6; ++i) CHECK(is_same(chunks[i].chunk, expected[i]));
        CHECK(chunks[6].chunk.unit == 6);
    }
}

TEST_CASE("interruptions at any moment lose no unit and the stream goes on") {
    for (uint64_t seed = 0; seed < 4; ++seed) {
        CAPTURE(seed);
        constexpr int kUnits = 15;
        TinyDuplex duplex(tiny_duplex(), lively_options(true, seed));
        DuplexStream stream(duplex.session, patient());
        std::jthread pusher([&] {
            for (int i = 0; i < kUnits; ++i) CHECK(stream.push_audio(unit_sound(i), late()));
            stream.finish();
        });
        std::atomic<bool> is_over = false;
        std::jthread interrupter([&] {
            Rng rng{seed, 0};
            while (!is_over) {
                std::this_thread::sleep_for(std::chrono::microseconds(rng.next() % 60000));
                stream.interrupt();
            }
        });
        const std::vector<StreamedChunk> chunks = take_all(stream);
        is_over = true;
        REQUIRE(chunks.size() == kUnits);
        const int32_t unit_end = duplex.model->config().tokens.unit_end;
        int n_past = 0;
        for (int i = 0; i < kUnits; ++i) {
            const DuplexChunk& chunk = chunks[static_cast<size_t>(i)].chunk;
            CHECK(chunk.unit == i);
            CHECK(chunk.words.ids.back() == unit_end);
            if (i > 0) CHECK(chunk.words.n_past == n_past + 11 + static_cast<int>(chunk.words.ids.size()));
            n_past = chunk.words.n_past;
            if (chunk.is_cut) CHECK(chunk.samples.empty());
        }
        CHECK(duplex.session.n_past() == n_past);
    }
}

TEST_CASE("a stage that fails is heard of after the units before it") {
    DuplexOptions options = lively_options();
    options.context.n_ctx = 200;
    int n_unit = 0;
    std::vector<DuplexChunk> expected;
    TinyDuplex steps(tiny_duplex(), options);
    const auto talk = [&] {
        for (;; ++n_unit) expected.push_back(steps.hear(n_unit));
    };
    CHECK_THROWS_AS(talk(), ContextFullError);
    TinyDuplex duplex(tiny_duplex(), options);
    {
        DuplexStream stream(duplex.session, patient());
        try {
            for (int i = 0; i < n_unit + 8; ++i) stream.push_audio(unit_sound(i), late());
        } catch (const ContextFullError&) {  // it may have got there already
        }
        for (int i = 0; i < n_unit; ++i) {
            const auto chunk = stream.next();
            REQUIRE(chunk);
            CHECK(is_same(chunk->chunk, expected[static_cast<size_t>(i)]));
        }
        CHECK_THROWS_AS(stream.next(), ContextFullError);
        CHECK_THROWS_AS(stream.next(), ContextFullError);
        CHECK_THROWS_AS(stream.poll(), ContextFullError);
        CHECK_THROWS_AS(stream.push_audio(unit_sound(0), late()), ContextFullError);
    }
    duplex.prepare();
    CHECK(is_same(duplex.hear(0), expected[0]));
}

TEST_CASE("a picture that is none ends the stream with its error") {
    TinyDuplex duplex(tiny_duplex(), lively_options());
    DuplexStream stream(duplex.session, patient());
    CHECK(stream.push_audio(unit_sound(0), late()));
    REQUIRE(stream.next());
    stream.push_frame({Image{}, 1});
    CHECK(stream.push_audio(unit_sound(1), late()));
    CHECK_THROWS_AS(stream.next(), ArgumentError);
}

TEST_CASE("a stream that is dropped at any moment ends, and the session can be prepared anew") {
    const std::vector<DuplexChunk> expected = stepwise(lively_options(), 2);
    TinyDuplex duplex(tiny_duplex(), lively_options());
    for (const int wait_ms : {0, 1, 5, 20, 60}) {
        for (const int n_taken : {0, 2}) {
            CAPTURE(wait_ms);
            duplex.prepare();
            {
                DuplexStream stream(duplex.session, patient());
                for (int i = 0; i < 6; ++i) CHECK(stream.push_audio(unit_sound(i), late()));
                for (int i = 0; i < n_taken; ++i) CHECK(stream.next());
                if (wait_ms == 5) stream.finish();
                std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
            }
            duplex.prepare();
            for (int i = 0; i < 2; ++i) CHECK(is_same(duplex.hear(i), expected[static_cast<size_t>(i)]));
        }
    }
    {
        DuplexStream unused(duplex.session);
    }
}

TEST_CASE("who never takes units is told, and does not wait for ever") {
    DuplexOptions options = obedient_options();
    options.rules.force_listen = 1000000;  // as fast as can be
    TinyDuplex duplex(tiny_duplex(), options);
    DuplexStream stream(duplex.session, {.max_waiting = 2, .max_frames = 8, .n_behind = 1000});
    const std::vector<float> sound = unit_sound(0);
    const auto push = [&] {
        while (stream.push_audio(sound, Clock::now() + std::chrono::seconds(20))) {
        }
    };
    CHECK_THROWS_WITH_AS(push(), doctest::Contains("64"), Error);
    int n_taken = 0;
    while (stream.next()) {  // and what was done is still there
        if (++n_taken == 64) break;
    }
    CHECK(n_taken == 64);
    CHECK_NOTHROW(stream.push_audio(std::vector<float>(1), late()));
}

TEST_CASE("waiting for room ends at its deadline") {
    TinyDuplex duplex(tiny_duplex(), lively_options());
    DuplexStream stream(duplex.session, {.max_waiting = 1, .max_frames = 8, .n_behind = 1000});
    int n_pushed = 0;
    int n_refused = 0;
    for (int i = 0; i < 30; ++i) {
        const bool is_taken = stream.push_audio(unit_sound(0), Clock::now() + std::chrono::milliseconds(1));
        ++(is_taken ? n_pushed : n_refused);
    }
    stream.finish();
    CHECK(n_refused > 0);  // a unit takes longer than that
    CHECK(static_cast<int>(take_all(stream).size()) == n_pushed);
}

TEST_CASE("a stream that finished leaves the session as steps do") {
    TinyDuplex steps(tiny_duplex(), lively_options());
    TinyDuplex duplex(tiny_duplex(), lively_options());
    {
        DuplexStream stream(duplex.session, {.max_waiting = 30, .max_frames = 8, .n_behind = 1000});
        for (int i = 0; i < 4; ++i)
            stream.push_audio(unit_sound(i), std::chrono::steady_clock::now() + std::chrono::seconds(9));
        stream.finish();
        while (stream.next()) {
        }
    }
    for (int i = 0; i < 4; ++i) steps.hear(i);
    CHECK(is_same(steps.hear(4), duplex.hear(4)));
}

TEST_CASE("poll throws no earlier than next") {
    for (int n = 0; n < 20; ++n) {
        TinyDuplex duplex(tiny_duplex(), lively_options());
        DuplexStream stream(duplex.session, {.max_waiting = 30, .max_frames = 8, .n_behind = 1000});
        for (int i = 0; i < 2; ++i)
            stream.push_audio(unit_sound(i), std::chrono::steady_clock::now() + std::chrono::seconds(9));
        stream.push_frame({Image{}, 1});
        stream.push_audio(unit_sound(2), std::chrono::steady_clock::now() + std::chrono::seconds(9));
        int n_taken = 0;
        try {
            for (;;) n_taken += stream.poll() ? 1 : 0;
        } catch (const ArgumentError&) {
        }
        CHECK(n_taken == 2);
    }
}
