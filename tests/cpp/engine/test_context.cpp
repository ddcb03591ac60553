#include "engine/context.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <sstream>

#include "base/error.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

const std::shared_ptr<const Model>& model() {
    static const std::shared_ptr<const Model> tiny = load_tiny({.has_vision = false, .has_audio = false});
    return tiny;
}

std::vector<int32_t> random_ids(int n, uint64_t seed = 5) {
    Rng rng{seed, 0};
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.next() % 256);
    return ids;
}

// A context that has read some.
struct Reader : Context {
    explicit Reader(std::span<const int32_t> ids, int n_ctx = 1024)
        : Context(::model(), {n_ctx, GGML_TYPE_F32}) {
        if (!ids.empty()) read(ids);
    }
};

std::vector<float> logits(Context& context) { return {context.logits().begin(), context.logits().end()}; }

// What the context expects after one token more: it looks at every row.
std::vector<float> probe(Context& context, int32_t id = 17) {
    context.read_token(id, false);
    return logits(context);
}

std::string archived(Context& context) {
    std::ostringstream out;
    Archive archive(out);
    context.archive(archive);
    return out.str();
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

std::vector<int32_t> joined(std::initializer_list<std::span<const int32_t>> parts) {
    std::vector<int32_t> all;
    for (const auto part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace

TEST_CASE("a marked place comes back bit by bit, as often as wanted") {
    const std::vector<int32_t> ids = random_ids(80);
    const std::span<const int32_t> all = ids;
    Reader context(all.first(40));
    const Context::Mark mark = context.mark();
    const std::vector<float> before = logits(context);
    context.read(all.subspan(40, 40));
    const std::vector<float> expected = logits(context);
    for (int i = 0; i < 3; ++i) {
        context.rewind(mark);
        CHECK(context.n_past() == 40);
        CHECK(logits(context) == before);
        if (i == 1) context.read(random_ids(600, 9));  // the cache grows and moves
        context.rewind(mark);
        context.read(all.subspan(40, 40));
        CHECK(logits(context) == expected);
    }
}

TEST_CASE("places are nested, and going back to an outer one ends the inner ones") {
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    Reader context(all.first(20));
    const Context::Mark outer = context.mark();
    context.read(all.subspan(20, 20));
    const Context::Mark inner = context.mark();
    context.read(all.subspan(40, 20));
    context.rewind(inner);
    context.rewind(outer);
    CHECK_THROWS_AS(context.rewind(inner), ArgumentError);
    // The very same tokens, read again, are other cells.
    context.read(all.subspan(20, 20));
    CHECK(context.n_past() == 40);
    CHECK_THROWS_AS(context.rewind(inner), ArgumentError);
    CHECK(context.n_past() == 40);
    CHECK(logits(context) == inner.logits);
    context.rewind(outer);
    CHECK(context.n_past() == 20);
}

TEST_CASE("what a window, a reset or another context has is no place to come back to") {
    const std::vector<int32_t> ids = random_ids(50);
    const auto refuses = [&](const std::function<void(Context&)>& change) {
        Reader context(ids);
        const Context::Mark mark = context.mark();
        change(context);
        const std::vector<float> before = logits(context);
        const int n_past = context.n_past();
        CHECK_THROWS_AS(context.rewind(mark), ArgumentError);
        CHECK(context.n_past() == n_past);
        CHECK(logits(context) == before);
    };
    refuses([](Context& c) { c.forget(10, 20); });
    refuses([&](Context& c) {
        c.forget(10, 20);
        c.read(random_ids(30));
    });
    refuses([&](Context& c) { c.replace(10, 20, random_ids(10)); });
    refuses([&](Context& c) { c.replace(49, 50, random_ids(1, 8)); });
    refuses([](Context& c) { c.reset(); });
    refuses([&](Context& c) {
        c.reset();
        c.read(ids);
    });
    Reader context(ids);
    Reader other(ids);
    CHECK_THROWS_AS(other.rewind(context.mark()), ArgumentError);
    // A change behind a place leaves it alone.
    Reader longer{std::span(ids).first(20)};
    const Context::Mark mark = longer.mark();
    longer.read(std::span(ids).subspan(20));
    longer.forget(25, 30);
    longer.rewind(mark);
    CHECK(longer.n_past() == 20);
    CHECK(logits(longer) == mark.logits);
}

TEST_CASE("forgetting and replacing keep count of the rows, and the logits") {
    const std::vector<int32_t> ids = random_ids(100);
    Reader context(ids);
    const std::vector<float> before = logits(context);
    context.forget(10, 30);
    CHECK(context.n_past() == 80);
    context.forget(10, 10);
    CHECK(context.n_past() == 80);
    context.replace(5, 15, random_ids(3));
    CHECK(context.n_past() == 73);
    context.replace(5, 8, random_ids(30));
    CHECK(context.n_past() == 100);
    context.replace(5, 5, random_ids(4));
    CHECK(context.n_past() == 104);
    context.replace(5, 15, random_ids(10));
    CHECK(context.n_past() == 104);
    CHECK(logits(context) == before);
    for (const float logit : probe(context)) CHECK(std::isfinite(logit));
    CHECK(context.n_past() == 105);
    for (const auto& [begin, end] : std::vector<std::pair<int, int>>{{-1, 3}, {5, 4}, {0, 106}, {106, 106}}) {
        CHECK_THROWS_AS(context.forget(begin, end), ArgumentError);
        CHECK_THROWS_AS(context.replace(begin, end, ids), ArgumentError);
    }
    CHECK(context.n_past() == 105);
}

TEST_CASE("replacing the last rows equals a fresh read") {
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    for (const int n_new : {1, 7, 20, 33}) {
        CAPTURE(n_new);
        const std::vector<int32_t> others = random_ids(n_new, 21);
        Reader replaced(all.first(40));
        replaced.read(all.subspan(40, 20));
        replaced.replace(40, 60, others);
        Reader fresh(all.first(40));
        fresh.read(others, false);
        CHECK(replaced.n_past() == fresh.n_past());
        CHECK(probe(replaced) == probe(fresh));  // the same batches of the same tokens
    }
}

TEST_CASE("forgetting all that is before a tail leaves its values, and its keys at their new places") {
    // With one row left the new token's attention can be told: the row's own value is what it was.
    const std::vector<int32_t> ids = random_ids(30);
    Reader context(ids);
    context.forget(0, 29);
    CHECK(context.n_past() == 1);
    const std::vector<float> kept = probe(context);
    Reader fresh{std::span(ids).last(1)};
    // The kept row had seen 29 others, which stays in what it passes on.
    CHECK(distance(kept, probe(fresh)) > 1e-4);
    // Forgetting all is a new beginning.
    Reader empty(ids);
    empty.forget(0, 30);
    CHECK(empty.n_past() == 0);
    Reader never(std::span<const int32_t>{});
    CHECK(probe(empty) == probe(never));
}

TEST_CASE("a row in the middle that is replaced by itself changes nothing") {
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    Reader context(all);
    Reader untouched(all);
    context.replace(20, 30, all.subspan(20, 10));
    // Ten rows in a graph of their own round otherwise than among sixty.
    CHECK(distance(probe(context), probe(untouched)) < 1e-5);
    // And so does a detour through a longer context: the tail's keys turn there and back.
    context.replace(20, 20, random_ids(45));
    context.forget(20, 65);
    CHECK(distance(probe(context), probe(untouched)) < 1e-4);  // and turned keys round twice more
}

TEST_CASE("rows before what is replaced are seen by what replaces it, rows behind are not") {
    const std::vector<int32_t> ids = random_ids(60);
    const std::span<const int32_t> all = ids;
    const std::vector<int32_t> others = random_ids(10, 33);
    Reader context(all);
    context.replace(20, 30, others);
    context.forget(30, 60);
    Reader fresh(joined({all.first(20), others}));
    CHECK(distance(probe(context), probe(fresh)) < 1e-5);  // batches of other sizes round otherwise
}

TEST_CASE("more tokens than there is room for replace nothing") {
    const std::vector<int32_t> ids = random_ids(250);
    Reader context(ids, 256);
    const std::string before = archived(context);
    const Context::Mark mark = context.mark();
    CHECK_THROWS_AS(context.replace(100, 110, random_ids(17)), ContextFullError);
    CHECK_THROWS_AS(context.replace(0, 0, random_ids(7)), ContextFullError);
    CHECK_THROWS_AS(context.replace(249, 250, random_ids(8)), ContextFullError);
    CHECK_THROWS_AS(context.read(random_ids(7)), ContextFullError);
    CHECK(context.n_past() == 250);
    CHECK(archived(context) == before);
    CHECK_NOTHROW(context.rewind(mark));
    context.replace(100, 110, random_ids(16));  // just fits
    CHECK(context.n_past() == 256);
    CHECK_THROWS_AS(context.read_token(1, false), ContextFullError);
    context.replace(100, 116, random_ids(10));
    CHECK(probe(context).size() > 0);
    CHECK(context.n_past() == 251);
}

TEST_CASE("an archived context goes on bit by bit, and hostile ones are refused") {
    const std::vector<int32_t> ids = random_ids(50);
    Reader context(ids);
    const std::string bytes = archived(context);
    const auto read = [](Context& into, std::string_view from) {
        Archive archive(std::as_bytes(std::span(from)));
        into.archive(archive);
    };
    Reader other(random_ids(7));
    const Context::Mark mark = other.mark();
    read(other, bytes);
    CHECK(other.n_past() == 50);
    CHECK(logits(other) == logits(context));
    CHECK(probe(other) == probe(context));
    CHECK_THROWS_AS(other.rewind(mark), ArgumentError);
    Reader small(std::span<const int32_t>{}, 49);
    CHECK_THROWS_AS(read(small, bytes), ModelFileError);
    // One logit less than the model has.
    std::string lie = bytes.substr(0, bytes.size() - sizeof(float));
    const auto n_logit = static_cast<uint64_t>(model()->config().llm.n_vocab);
    const uint64_t n_lie = n_logit - 1;
    std::memcpy(lie.data() + lie.size() - n_lie * sizeof(float) - sizeof n_lie, &n_lie, sizeof n_lie);
    CHECK_THROWS_WITH_AS(read(other, lie), doctest::Contains("logits"), ModelFileError);
}
