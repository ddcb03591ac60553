#include "engine/unit_inbox.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/rng.h"

using namespace minicpmo;

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kUnit = 100;

Clock::time_point soon() { return Clock::now() + std::chrono::milliseconds(20); }
Clock::time_point late() { return Clock::now() + std::chrono::seconds(60); }

std::vector<float> ramp(size_t begin, size_t n) {
    std::vector<float> samples(n);
    for (size_t i = 0; i < n; ++i) samples[i] = static_cast<float>(begin + i);
    return samples;
}

OwnedFrame frame(int width) { return {Image(width, 1), 1}; }

std::vector<int> widths(const WaitingUnit& unit) {
    std::vector<int> found;
    for (const OwnedFrame& f : unit.frames) found.push_back(f.image.width);
    return found;
}

}  // namespace

TEST_CASE("samples come out in order however they are cut") {
    Rng rng{3, 0};
    for (int round = 0; round < 20; ++round) {
        UnitInbox inbox(kUnit, {.max_waiting = 1000});
        size_t at = 0;
        while (at < 2000) {
            const size_t n = std::min<size_t>(rng.next() % (round < 10 ? 30 : 350), 2000 - at);
            CHECK(inbox.push_audio(ramp(at, n), soon()));
            at += n;
            CHECK(inbox.n_waiting() == static_cast<int>(at / kUnit));
        }
        for (size_t i = 0; i < 20; ++i) CHECK(inbox.pop()->audio == ramp(i * kUnit, kUnit));
        inbox.finish();
        CHECK_FALSE(inbox.pop());
    }
}

TEST_CASE("finish fills the last unit with silence, once") {
    UnitInbox inbox(kUnit, {});
    CHECK(inbox.push_audio(ramp(1, 130), soon()));
    inbox.push_frame(frame(7));
    inbox.finish();
    inbox.finish();
    CHECK(inbox.n_waiting() == 2);
    CHECK(inbox.pop()->audio == ramp(1, kUnit));
    const auto last = inbox.pop();
    std::vector<float> expected = ramp(101, 30);
    expected.resize(kUnit, 0.0F);
    CHECK(last->audio == expected);
    CHECK(widths(*last) == std::vector<int>{7});
    CHECK_FALSE(inbox.pop());
    CHECK_THROWS_AS(inbox.push_audio(ramp(0, 1), soon()), ArgumentError);
    CHECK_THROWS_AS(inbox.push_frame(frame(1)), ArgumentError);
    UnitInbox whole(kUnit, {});
    CHECK(whole.push_audio(ramp(0, kUnit), soon()));
    whole.finish();
    CHECK(whole.pop().has_value());
    CHECK_FALSE(whole.pop());  // nothing was open
    UnitInbox seen(kUnit, {});
    seen.push_frame(frame(3));
    seen.finish();
    CHECK(seen.pop()->audio == std::vector<float>(kUnit, 0.0F));  // a frame alone is a unit too
}

TEST_CASE("where there is no room, all samples are taken or none") {
    UnitInbox inbox(kUnit, {.max_waiting = 3});
    CHECK(inbox.push_audio(ramp(0, 350), soon()));
    CHECK(inbox.push_audio(ramp(350, 49), soon()));  // completes nothing
    const auto begin = Clock::now();
    CHECK_FALSE(inbox.push_audio(ramp(399, 1), begin + std::chrono::milliseconds(30)));
    CHECK(Clock::now() - begin >= std::chrono::milliseconds(30));
    CHECK_FALSE(inbox.push_audio(ramp(399, 500), Clock::now()));
    CHECK(inbox.n_waiting() == 3);
    CHECK(inbox.pop()->audio == ramp(0, kUnit));
    CHECK(inbox.push_audio(ramp(399, 1), soon()));
    for (size_t i = 1; i < 4; ++i) CHECK(inbox.pop()->audio == ramp(i * kUnit, kUnit));
    // More than all the room there is, once nothing else is there.
    CHECK(inbox.push_audio(ramp(400, 1000), soon()));
    CHECK(inbox.n_waiting() == 10);
}

TEST_CASE("samples that are no numbers are refused, and none of them taken") {
    UnitInbox inbox(kUnit, {});
    std::vector<float> bad = ramp(0, 150);
    bad[149] = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH_AS(inbox.push_audio(bad, soon()), doctest::Contains("149"), ArgumentError);
    bad[149] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(inbox.push_audio(bad, soon()), ArgumentError);
    CHECK(inbox.n_waiting() == 0);
    CHECK(inbox.push_audio(ramp(0, kUnit), soon()));
    CHECK(inbox.pop()->audio == ramp(0, kUnit));
    CHECK_THROWS_AS(UnitInbox(kUnit, {.max_waiting = 0}), ArgumentError);
    CHECK_THROWS_AS(UnitInbox(kUnit, {.max_frames = 0}), ArgumentError);
    CHECK_THROWS_AS(UnitInbox(kUnit, {.n_behind = 0}), ArgumentError);
}

TEST_CASE("frames belong to the unit whose sound arrives, and the oldest of too many go") {
    UnitInbox inbox(kUnit, {.max_waiting = 30, .max_frames = 3, .n_behind = 10});
    inbox.push_frame(frame(1));
    CHECK(inbox.push_audio(ramp(0, 99), soon()));
    inbox.push_frame(frame(2));
    CHECK(inbox.push_audio(ramp(99, 1), soon()));
    for (int width = 3; width <= 7; ++width) inbox.push_frame(frame(width));
    CHECK(inbox.push_audio(ramp(100, 100), soon()));
    const auto first = inbox.pop();
    CHECK(widths(*first) == std::vector<int>{1, 2});
    CHECK(first->n_dropped_frames == 0);
    const auto second = inbox.pop();
    CHECK(widths(*second) == std::vector<int>{5, 6, 7});
    CHECK(second->n_dropped_frames == 2);
}

TEST_CASE("an engine that falls behind loses frames and no sample") {
    UnitInbox inbox(kUnit, {.max_waiting = 30, .max_frames = 8, .n_behind = 3});
    const auto second = [&](size_t i) {
        for (int k = 0; k < 3; ++k) inbox.push_frame(frame(static_cast<int>(10 * i) + k));
        CHECK(inbox.push_audio(ramp(i * kUnit, kUnit), soon()));
    };
    for (size_t i = 1; i <= 4; ++i) second(i);
    std::vector<WaitingUnit> units;
    for (int i = 0; i < 4; ++i) units.push_back(*inbox.pop());
    for (size_t i = 0; i < 4; ++i) {
        CAPTURE(i);
        CHECK(units[i].audio == ramp((i + 1) * kUnit, kUnit));
        CHECK(units[i].n_dropped_frames == (i < 3 ? 3 : 2));
    }
    CHECK(widths(units[3]) == std::vector<int>{42});
    second(5);  // nothing waits any more
    CHECK(widths(*inbox.pop()) == std::vector<int>{50, 51, 52});
}

TEST_CASE("sound from several threads is whole, and each one's own in order") {
    constexpr size_t kThreads = 4;
    constexpr size_t kPieces = 300;
    UnitInbox inbox(kUnit, {.max_waiting = 2});
    std::vector<std::jthread> threads;
    std::atomic<size_t> n_done = 0;
    for (size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            Rng rng{t, 0};
            for (size_t piece = 0; piece < kPieces; ++piece) {
                // One number a piece, so that a piece that is torn shows.
                const std::vector<float> samples(1 + rng.next() % 40,
                                                 static_cast<float>(t * kPieces + piece));
                while (!inbox.push_audio(samples, soon())) {
                }
            }
            if (++n_done == kThreads) inbox.finish();
        });
    }
    std::vector<float> all;
    while (const auto unit = inbox.pop()) {
        CHECK(unit->audio.size() == kUnit);
        CHECK(inbox.n_waiting() <= 3);  // the last one, which finish() fills up, needs no room
        all.insert(all.end(), unit->audio.begin(), unit->audio.end());
    }
    threads.clear();
    std::vector<Rng> rngs;
    std::vector<size_t> next(kThreads, 0);
    for (size_t t = 0; t < kThreads; ++t) rngs.push_back({t, 0});
    const auto is_all = [&] {
        return std::all_of(next.begin(), next.end(), [](size_t n) { return n == kPieces; });
    };
    size_t at = 0;
    while (at < all.size() && !is_all()) {
        const auto value = static_cast<size_t>(all[at]);
        const size_t t = value / kPieces;
        REQUIRE(t < kThreads);
        REQUIRE(value % kPieces == next[t]++);
        const size_t n = 1 + rngs[t].next() % 40;
        REQUIRE(at + n <= all.size());
        for (size_t i = 0; i < n; ++i) REQUIRE(all[at + i] == static_cast<float>(value));
        at += n;
    }
    CHECK(is_all());
    CHECK(std::all_of(all.begin() + static_cast<std::ptrdiff_t>(at), all.end(),
                      [](float x) { return x == 0.0F; }));
    CHECK(all.size() - at < kUnit);
}

TEST_CASE("closing wakes who waits") {
    UnitInbox inbox(kUnit, {.max_waiting = 1});
    CHECK(inbox.push_audio(ramp(0, kUnit), soon()));
    std::jthread pusher([&] { CHECK_FALSE(inbox.push_audio(ramp(0, kUnit), late())); });
    UnitInbox empty(kUnit, {});
    std::jthread popper([&] { CHECK_FALSE(empty.pop()); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    inbox.close();
    empty.close();
    pusher.join();
    popper.join();
    CHECK_FALSE(inbox.pop());
    CHECK_FALSE(inbox.push_audio(ramp(0, 1), late()));
    UnitInbox full(kUnit, {.max_waiting = 1});
    CHECK(full.push_audio(ramp(0, kUnit), soon()));
    std::jthread late_pusher(
        [&] { CHECK_THROWS_AS(full.push_audio(ramp(0, kUnit), late()), ArgumentError); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    full.finish();
}
