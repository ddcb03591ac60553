#include "engine/unit_window.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "base/error.h"
#include "engine/tiny_duplex.h"

using namespace minicpmo;

namespace {

std::vector<int32_t> random_ids(int n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.next() % 256);
    return ids;
}

// A context with a window, and the tokens that it should hold.
struct Kept {
    Kept(const WindowOptions& options, int n_ctx = 1024)
        : context(tiny_duplex(), {n_ctx, GGML_TYPE_F32}), window(options, *tiny_duplex()) {
        context.read(prefix);
        context.read(suffix);
        window.begin(context, suffix);
    }
    int close(int n, const std::vector<int32_t>& spoken = {}) {
        context.read(random_ids(n, static_cast<uint64_t>(++n_closed)));
        return window.close_unit(context, n, spoken);
    }
    std::vector<float> probe() {
        context.read_token(17, false);
        return {context.logits().begin(), context.logits().end()};
    }
    std::string archived() {
        std::ostringstream out;
        Archive archive(out);
        window.archive(archive);
        return out.str();
    }

    std::vector<int32_t> prefix = random_ids(9, 901);
    std::vector<int32_t> suffix = random_ids(4, 902);
    Context context;
    UnitWindow window;
    int n_closed = 0;
};

std::vector<int32_t> marker() { return tiny_duplex()->tokenizer().encode("\np:", false); }

WindowOptions context_window(int max_units, int max_previous = 500) {
    return {.mode = WindowMode::context,
            .max_units = max_units,
            .max_previous = max_previous,
            .previous_marker = "\np:"};
}

std::vector<int32_t> previous(const Kept& kept) {
    return {kept.window.previous().begin(), kept.window.previous().end()};
}

double distance(std::span<const float> a, std::span<const float> b) {
    REQUIRE(a.size() == b.size());
    double difference = 0;
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference = std::max(difference, std::abs(double{a[i]} - b[i]));
        largest = std::max(largest, std::abs(double{a[i]}));
    }
    return difference / largest;
}

}  // namespace

TEST_CASE("without a window nothing is forgotten") {
    Kept kept({.mode = WindowMode::off});
    for (int i = 0; i < 40; ++i) CHECK(kept.close(13, {1, 2}) == 0);
    CHECK(kept.window.n_unit() == 40);
    CHECK(kept.window.n_kept() == kept.context.n_past());
    CHECK(kept.window.n_newest() == 13);
    CHECK(kept.window.previous().empty());
    CHECK_FALSE(kept.window.is_full(1 << 20));
}

TEST_CASE("beyond the high mark the oldest units leave down to the low one") {
    Kept kept({.mode = WindowMode::basic, .high = 100, .low = 60});
    for (int i = 0; i < 8; ++i) CHECK(kept.close(10) == 0);
    CHECK(kept.context.n_past() == 93);
    CHECK(kept.close(7) == 0);  // 100 is not beyond
    CHECK(kept.close(1) == 5);  // 101, 91, 81, 71, 61, 51
    CHECK(kept.context.n_past() == 51);
    CHECK(kept.window.n_kept() == 51);
    CHECK(kept.window.n_unit() == 5);
    CHECK(kept.close(90) == 5);  // the newest always stays
    CHECK(kept.window.n_unit() == 1);
    CHECK(kept.context.n_past() == 103);
    CHECK(kept.close(3) == 1);
    CHECK(kept.context.n_past() == 16);
}

TEST_CASE("what stays are the prompt's rows and the newest ones, keys at their new places") {
    Kept kept({.mode = WindowMode::basic, .high = 60, .low = 40});
    for (int i = 0; i < 5; ++i) kept.close(10);  // the fifth makes 63
    CHECK(kept.context.n_past() == 33);
    // The same by hand: forgetting one by one or all at once turns the keys in one or three steps.
    Kept other({.mode = WindowMode::off});
    for (int i = 0; i < 5; ++i) other.close(10);
    other.context.forget(13, 43);
    CHECK(distance(kept.probe(), other.probe()) < 1e-5);
    // The prompt's rows saw nothing of what left: they are those of a new context.
    kept.context.forget(13, kept.context.n_past());
    Kept fresh({.mode = WindowMode::off});
    CHECK(kept.probe() == fresh.probe());
}

TEST_CASE("with context what was said in units that left is text behind the prompt") {
    Kept kept(context_window(2));
    CHECK(kept.close(10) == 0);
    CHECK(kept.close(10, {65, 66}) == 0);
    CHECK(kept.close(10) == 1);  // which had said nothing: no marker yet
    CHECK(previous(kept).empty());
    CHECK(kept.context.n_past() == 13 + 20);
    CHECK(kept.close(10, {67}) == 1);
    std::vector<int32_t> expected = marker();
    const auto n_marker = static_cast<int>(expected.size());
    expected.insert(expected.end(), {65, 66});
    CHECK(previous(kept) == expected);
    CHECK(kept.context.n_past() == 13 + n_marker + 2 + 20);
    kept.close(10);
    kept.close(10);
    expected.push_back(67);
    CHECK(previous(kept) == expected);  // one marker for all
    CHECK(kept.context.n_past() == 13 + n_marker + 3 + 20);
    CHECK(kept.window.n_kept() == kept.context.n_past());
}

TEST_CASE("prompt and previous text are those of a context that just read them") {
    Kept kept(context_window(1));
    kept.close(10, {65, 66, 67});
    kept.close(10, {68});
    kept.close(10);
    std::vector<int32_t> rows = kept.prefix;
    const std::vector<int32_t> said = previous(kept);
    rows.insert(rows.end(), said.begin(), said.end());
    rows.insert(rows.end(), kept.suffix.begin(), kept.suffix.end());
    REQUIRE(kept.context.n_past() == static_cast<int>(rows.size()) + 10);
    kept.context.forget(static_cast<int>(rows.size()), kept.context.n_past());
    Context fresh(tiny_duplex(), {1024, GGML_TYPE_F32});
    fresh.read(rows);
    fresh.read_token(17, false);
    // Read in two parts and in one: sums of other sizes.
    CHECK(distance(kept.probe(), {fresh.logits().data(), fresh.logits().size()}) < 1e-5);
}

TEST_CASE("previous text is cut at its begin, behind the marker, and special tokens are no text") {
    Kept kept(context_window(1, 5));
    const TokenRoles& t = tiny_duplex()->config().tokens;
    kept.close(20, {70, t.turn_eos, 71, t.tts_bos, 72});
    kept.close(10);
    std::vector<int32_t> expected = marker();
    expected.insert(expected.end(), {70, 71, 72});
    CHECK(previous(kept) == expected);
    kept.close(20, {80, 81, 82, 83});
    kept.close(10);
    expected = marker();
    expected.insert(expected.end(), {72, 80, 81, 82, 83});
    CHECK(previous(kept) == expected);
    kept.close(30, {1, 2, 3, 4, 5, 6, 7, 8});
    kept.close(10, {t.turn_eos});
    expected = marker();
    expected.insert(expected.end(), {4, 5, 6, 7, 8});
    CHECK(previous(kept) == expected);
    kept.close(10);  // specials alone: nothing was said
    CHECK(previous(kept) == expected);
    CHECK(kept.window.n_kept() == kept.context.n_past());
}

TEST_CASE("whether the next unit makes others leave is known before it is closed") {
    Kept basic({.mode = WindowMode::basic, .high = 60, .low = 20});
    CHECK_FALSE(basic.window.is_full(1000));  // there is none to leave
    for (int i = 0; i < 40; ++i) {
        const bool is_full = basic.window.is_full(basic.context.n_past() + 11);
        CHECK((basic.close(11) > 0) == is_full);
    }
    Kept context(context_window(3));
    for (int i = 0; i < 10; ++i) {
        const bool is_full = context.window.is_full(context.context.n_past() + 11);
        CHECK((context.close(11) > 0) == is_full);
    }
}

TEST_CASE("a window begins anew with every prompt") {
    Kept kept(context_window(1));
    kept.close(10, {65});
    kept.close(10, {66});
    CHECK_FALSE(kept.window.previous().empty());
    kept.context.reset();
    kept.context.read(kept.suffix);
    kept.window.begin(kept.context, kept.suffix);
    CHECK(kept.window.previous().empty());
    CHECK(kept.window.n_unit() == 0);
    CHECK(kept.window.n_kept() == 4);
    CHECK(kept.close(10) == 0);
}

TEST_CASE("an archived window goes on, and numbers that are none are refused") {
    Kept kept(context_window(2));
    for (int i = 0; i < 5; ++i) kept.close(12, {65 + i});
    const std::string bytes = kept.archived();
    const auto read = [](Kept& into, std::string_view from) {
        Archive archive(std::as_bytes(std::span(from)));
        into.window.archive(archive);
        return archive.n_left();
    };
    Kept other(context_window(2));
    CHECK(read(other, bytes) == 0);
    CHECK(other.archived() == bytes);
    CHECK(other.window.n_kept() == kept.window.n_kept());
    CHECK(previous(other) == previous(kept));
    for (size_t n = 0; n < bytes.size(); ++n) {
        CHECK_THROWS_AS(read(other, std::string_view(bytes).substr(0, n)), ModelFileError);
    }
    const auto lies = [&](size_t at, int32_t value) {
        std::string lie = bytes;
        std::memcpy(lie.data() + at, &value, sizeof value);
        CHECK_THROWS_AS(read(other, lie), ModelFileError);
    };
    lies(0, -1);                          // tokens of the prefix
    lies(4 + 8, -1);                      // an id of the suffix
    lies(4 + 8 + 4, tiny_n_token(true));  // the same
    lies(4 + 8 + 4 * 4 + 8, -7);          // an id of what was said
    const size_t n_text = kept.window.previous().size();
    const size_t units = 4 + 8 + 4 * 4 + 8 + 4 * n_text + 8;
    lies(units, 0);  // tokens of a unit
    lies(units, -5);
    lies(units, 1 << 24);
    lies(units + 4 + 8, tiny_n_token(true));  // an id it said
}

TEST_CASE("names of modes and options out of range are refused") {
    CHECK(parse_window_mode("off") == WindowMode::off);
    CHECK(parse_window_mode("basic") == WindowMode::basic);
    CHECK(parse_window_mode("context") == WindowMode::context);
    CHECK_THROWS_WITH_AS(parse_window_mode("on"), doctest::Contains("on"), ArgumentError);
    const auto refuses = [](const WindowOptions& o) { CHECK_THROWS_AS(check_window(o, 100), ArgumentError); };
    refuses({.mode = WindowMode::basic, .high = 101, .low = 1});
    refuses({.mode = WindowMode::basic, .high = 50, .low = 51});
    refuses({.mode = WindowMode::basic, .high = 50, .low = -1});
    refuses({.mode = WindowMode::context, .max_units = 0, .max_previous = 10});
    refuses({.mode = WindowMode::context, .max_units = 5, .max_previous = -1});
    refuses({.mode = WindowMode::context, .max_units = 5, .max_previous = 100});
    CHECK_NOTHROW(check_window({.mode = WindowMode::off, .high = -7}, 100));
    CHECK_NOTHROW(check_window({.mode = WindowMode::basic, .high = 100, .low = 100}, 100));
}
