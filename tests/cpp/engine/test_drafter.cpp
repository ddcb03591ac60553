#include "engine/drafter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "base/error.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

std::vector<RowSource> rows_of(const std::vector<int32_t>& ids) {
    std::vector<RowSource> rows;
    for (const int32_t id : ids) rows.push_back({id, -1, {}});
    return rows;
}

using Ids = std::vector<int32_t>;

// Answers that repeat themselves and their prompt, as those of small random models do.
const std::shared_ptr<const Model>& model(ggml_type type = GGML_TYPE_F32) {
    static const std::shared_ptr<const Model> f32 = load_tiny({.n_ctx = 8192});
    static const std::shared_ptr<const Model> q8 = load_tiny({.type = GGML_TYPE_Q8_0, .n_ctx = 8192});
    return type == GGML_TYPE_F32 ? f32 : q8;
}

std::vector<Message> talk(uint64_t seed = 1) {
    std::string text;
    Rng rng{seed, 0};
    for (int i = 0; i < 60; ++i) text += static_cast<char>('a' + rng.next() % 6);
    return {say(Role::system, "Be brief."), say(Role::user, text + text)};
}

GenerateOptions drafting(int n_draft, GenerateOptions options = greedy(120)) {
    options.n_draft = n_draft;
    options.keep_hidden = true;
    return options;
}

struct Said {
    Ids ids;
    std::string text;
    std::vector<float> hidden;
    std::string stop_reason;
    int n_past = 0;
    Timings timings;
};

Said said_in(Session& session, const GenerateOptions& options) {
    Said said;
    session.begin(options);
    while (const auto piece = session.next()) {
        if (piece->id >= 0) said.ids.push_back(piece->id);
        said.text += piece->text;
    }
    said.hidden = session.answer_hidden().data;
    said.stop_reason = session.stop_reason();
    said.n_past = session.n_past();
    said.timings = session.timings();
    return said;
}

Said said_by(const std::shared_ptr<const Model>& model, const GenerateOptions& options, uint64_t seed = 1,
             int n_ctx = 0) {
    Session session(model, {.n_ctx = n_ctx, .kv_type = {}});
    session.prefill_chat(talk(seed), {});
    return said_in(session, options);
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - b[i]));
    return most;
}

void check_same(const Said& got, const Said& expected) {
    CHECK(got.ids == expected.ids);
    CHECK(got.text == expected.text);
    CHECK(got.stop_reason == expected.stop_reason);
    CHECK(got.n_past == expected.n_past);
    // Rows in one pass are summed in another order than one by one: parts in 1e7 of states of about 1.
    CHECK(difference(got.hidden, expected.hidden) < 2e-5);
}

}  // namespace

TEST_CASE("a draft is what stood behind the last tokens before") {
    Drafter drafter(4);
    CHECK(drafter.draft(rows_of({1, 2, 3, 4, 5, 6, 7, 1}), 2, 10, {}) == Ids{3, 4, 5, 6});
    CHECK(Drafter(4).draft(rows_of({1, 2, 3, 4, 1}), 2, 2, {}) == Ids{3, 4});   // limited
    CHECK(Drafter(4).draft(rows_of({9, 2, 3, 4, 1}), 2, 4, {}).empty());        // one token is not enough
    CHECK(Drafter(4).draft(rows_of({1, 2, 3, 4, 1}), 2, 4, Ids{4}) == Ids{3});  // up to an end
    CHECK(Drafter(2).draft(rows_of({5, 1, 2, 8, 1, 2, 9, 5, 1}), 2, 4, {}) ==
          Ids{8, 1});                                                                   // the longest match
    CHECK(Drafter(2).draft(rows_of({1, 2, 8, 1, 2, 9, 5, 1}), 2, 4, {}) == Ids{9, 5});  // then the last one
    CHECK(Drafter(5).draft(rows_of({7, 1, 2, 1}), 2, 9, {}) == Ids{1, 2, 1, 2, 1});     // what repeats
    CHECK(Drafter(4).draft({}, 2, 4, {}).empty());
    CHECK(Drafter(4).draft(rows_of({2}), 2, 4, {}).empty());
    std::vector<RowSource> seen = rows_of({1, 2, 3, 0, 4, 1});
    seen[3] = {-1, 0, {}};
    CHECK(Drafter(4).draft(seen, 2, 4, {}) == Ids{3});  // a picture cannot be guessed
    seen = rows_of({0, 2, 3, 0});
    seen[0] = seen[3] = {-1, 0, {}};
    CHECK(Drafter(4).draft(seen, 2, 4, {}).empty());  // nor is it what two places have in common
}

TEST_CASE("drafts are shorter while they are wrong, and longer again when they are right") {
    const std::vector<RowSource> rows = rows_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1});
    Drafter drafter(8);
    const auto n_draft = [&] { return drafter.draft(rows, 2, 100, {}).size(); };
    const auto confirm = [&](int n) {
        for (int i = 0; i < n; ++i) drafter.confirm();
    };
    CHECK(n_draft() == 8);
    confirm(2);
    CHECK(n_draft() == 4);
    CHECK(n_draft() == 1);
    CHECK(n_draft() == 1);
    confirm(1);
    CHECK(n_draft() == 2);
    confirm(2);
    CHECK(n_draft() == 4);
    confirm(4);
    CHECK(n_draft() == 8);
    confirm(8);
    CHECK(n_draft() == 8);
}

TEST_CASE("an answer is the same with drafts, and takes fewer passes") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
        for (uint64_t seed = 1; seed < 6; ++seed) {
            CAPTURE(seed);
            const Said plain = said_by(model(type), drafting(0), seed);
            CHECK(plain.timings.n_drafted == 0);
            for (const int n_draft : {1, 2, 7, 64}) {
                CAPTURE(n_draft);
                const Said drafted = said_by(model(type), drafting(n_draft), seed);
                if (type == GGML_TYPE_F32) {
                    check_same(drafted, plain);
                } else {
                    CHECK(drafted.ids == plain.ids);
                }
                const Timings& t = drafted.timings;
                CHECK(t.n_decoded == plain.timings.n_decoded);
                CHECK(t.n_confirmed <= t.n_drafted);
                CHECK(t.n_confirmed > 0);
                if (n_draft == 7) CHECK(t.n_decoded - t.n_confirmed < t.n_decoded * 3 / 4);
            }
        }
    }
}

TEST_CASE("a seed samples the same answer with drafts") {
    GenerateOptions options = greedy(150);
    options.sampling = {.temperature = 0.4F,
                        .top_k = 20,
                        .top_p = 0.9F,
                        .min_p = 0.05F,
                        .repetition_penalty = 1.05F,
                        .repetition_window = 32};
    int n_confirmed = 0;
    for (uint64_t seed = 0; seed < 8; ++seed) {
        CAPTURE(seed);
        options.sampling.seed = seed;
        const Said plain = said_by(model(), drafting(0, options));
        const Said drafted = said_by(model(), drafting(6, options));
        check_same(drafted, plain);
        n_confirmed += drafted.timings.n_confirmed;
    }
    CHECK(n_confirmed > 0);
}

TEST_CASE("stop tokens and limits end an answer inside a draft where they would without") {
    GenerateOptions options = greedy(400);
    options.ignore_stop = false;
    options.sampling = {.temperature = 3.0F, .top_k = 0, .top_p = 1.0F};
    int n_stopped = 0;
    for (uint64_t seed = 0; seed < 12; ++seed) {
        CAPTURE(seed);
        options.sampling.seed = seed;
        const Said plain = said_by(model(), drafting(0, options));
        check_same(said_by(model(), drafting(9, options)), plain);
        n_stopped += plain.stop_reason == "stop" ? 1 : 0;
    }
    CHECK(n_stopped > 0);
    for (const int n : {1, 2, 3, 10, 37}) {
        CAPTURE(n);
        const Said drafted = said_by(model(), drafting(16, greedy(n)));
        check_same(drafted, said_by(model(), drafting(0, greedy(n))));
        CHECK(drafted.stop_reason == "length");
    }
}

TEST_CASE("an answer with drafts fills the context to its last cell") {
    const int n_prompt = static_cast<int>(PromptBuilder(*model()).build(talk(), {}).ids.size());
    for (const int n_draft : {0, 3, 64}) {
        CAPTURE(n_draft);
        Session session(model(), {.n_ctx = n_prompt + 50, .kv_type = {}});
        session.prefill_chat(talk(), {});
        session.begin(drafting(n_draft, greedy(1000)));
        int n_token = 0;
        const auto run = [&] {
            while (session.next()) ++n_token;
        };
        CHECK_THROWS_AS(run(), ContextFullError);
        CHECK(n_token == 51);
        CHECK(session.n_past() == n_prompt + 50);
    }
}

TEST_CASE("what follows an answer with drafts that was left is what follows one without") {
    for (const int n_shown : {1, 5, 20, 40}) {
        CAPTURE(n_shown);
        std::vector<Said> next;
        for (const int n_draft : {0, 12}) {
            Session session(model(), {});
            session.prefill_chat(talk(), {});
            session.begin(drafting(n_draft));
            for (int i = 0; i < n_shown; ++i) CHECK(session.next().has_value());
            const auto place = session.snapshot();
            session.interrupt();
            while (const auto piece = session.next()) CHECK(piece->id == -1);  // a character's rest
            CHECK(session.stop_reason() == "interrupted");
            const Message more = say(Role::user, "and now?");
            session.prefill(std::span(&more, 1), {});
            next.push_back(said_in(session, drafting(0, greedy(20))));
            session.restore(*place);
            next.push_back(said_in(session, drafting(n_draft, greedy(20))));
        }
        check_same(next[2], next[0]);
        check_same(next[3], next[1]);
    }
}

TEST_CASE("guesses are no part of a context") {
    Context context(model(), {1024, GGML_TYPE_F32});
    Context plain(model(), {1024, GGML_TYPE_F32});
    const Ids ids = {40, 41, 42, 43, 44, 45};
    const auto logits = [](Context& c) { return std::vector<float>(c.logits().begin(), c.logits().end()); };
    for (Context* c : {&context, &plain}) c->read(std::span(ids).first(3));
    plain.read_token(50, true);
    context.read_token(50, true, Ids{51, 52, 53});
    CHECK(context.n_past() == 4);
    CHECK(difference(logits(context), logits(plain)) < 2e-5);
    CHECK(context.has_guessed(51));
    CHECK_FALSE(context.has_guessed(52));
    context.read_token(51, true);
    plain.read_token(51, true);
    CHECK(context.n_past() == 5);
    CHECK(difference(logits(context), logits(plain)) < 2e-5);
    const Context::Mark mark = context.mark();
    CHECK(context.has_guessed(52));
    context.read_token(60, true);  // another one than was guessed
    plain.read_token(60, true);
    CHECK_FALSE(context.has_guessed(52));
    CHECK_FALSE(context.has_guessed(53));
    CHECK(difference(logits(context), logits(plain)) < 2e-5);
    // Whatever else happens to the context makes what was guessed wrong.
    const std::vector<std::function<void()>> changes = {
        [&] { context.read(std::span(ids).first(2)); }, [&] { context.forget(1, 2); },
        [&] { context.forget(context.n_past() - 1, context.n_past()); }, [&] { context.reset(); }};
    context.rewind(mark);
    for (const auto& change : changes) {
        context.read_token(50, false, Ids{51, 52});
        CHECK(context.has_guessed(51));
        change();
        CHECK_FALSE(context.has_guessed(51));
    }
}

TEST_CASE("drafts out of range are refused") {
    Session session(model(), {});
    session.prefill_chat(talk(), {});
    CHECK_THROWS_WITH_AS(session.begin(drafting(-1)), doctest::Contains("0 to 64"), ArgumentError);
    CHECK_THROWS_AS(session.begin(drafting(65)), ArgumentError);
    CHECK_NOTHROW(session.begin(drafting(64)));
}

TEST_CASE("conversations whose tokens run in one pass draft beside it") {
    const TinyModelFile file;
    const auto batching =
        Model::load(file.path(), {.backend = {.device = "cpu", .n_threads = 1}, .batches_sessions = true});
    std::vector<Said> alone;
    for (uint64_t seed = 0; seed < 3; ++seed) alone.push_back(said_by(batching, drafting(0), seed));
    std::vector<Said> together(3);
    {
        std::vector<std::jthread> threads;
        for (uint64_t seed = 0; seed < 3; ++seed) {
            const int n_draft = seed == 1 ? 0 : 8;
            threads.emplace_back([&, seed, n_draft] {
                Session session(batching, {});
                session.prefill_chat(talk(seed), {});
                together[seed] = said_in(session, drafting(n_draft));
            });
        }
    }
    for (size_t i = 0; i < 3; ++i) CHECK(together[i].ids == alone[i].ids);
}
