#include "engine/duplex_session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "engine/damaged_session.h"
#include "engine/tiny_duplex.h"

using namespace minicpmo;

namespace {

using Tokens = std::vector<std::string>;

// Sound alone: the model listens. After a text that ends in "s" it speaks.
const Script& talker() {
    static const Script script({{"sound", "<|listen|>"},
                                {"s", "<|speak|>"},
                                {"<|speak|>", "a"},
                                {"a", "b"},
                                {"b", "<|chunk_eos|>"},
                                {"t", "<|speak|>"},
                                {"q", "c"},
                                {"c", "<|turn_eos|>"},
                                {"<|turn_eos|>", "<|listen|>"},
                                {"<|tts_bos|>", "d"},
                                {"d", "<|chunk_tts_eos|>"},
                                {"x", "y"},
                                {"y", "x"}});
    return script;
}

void check_ids(const DuplexChunk& chunk, const Model& model, const Tokens& expected) {
    std::string got;
    for (const int32_t id : chunk.words.ids) got += std::string(model.tokenizer().bytes_of(id)) + " ";
    CAPTURE(got);
    CHECK(chunk.words.ids == ids_of(model, expected));
}

// A random second: sometimes with frames, sometimes forced to listen; the same for the same arguments.
DuplexChunk random_step(DuplexSession& session, int64_t unit, uint64_t seed = 100) {
    Rng rng{seed * 1000 + static_cast<uint64_t>(unit), 0};
    const std::vector<float> sound = unit_sound(unit, seed);
    const Image image = random_image(30, 30, seed + static_cast<uint64_t>(unit));
    UnitInput input{.audio = sound, .frames = {}, .text = {}};
    if (rng.next() % 3 == 0) input.frames.push_back({image.view(), 1});
    return session.step(input, rng.next() % 4 == 0);
}
DuplexChunk random_step(TinyDuplex& duplex, int64_t unit, uint64_t seed = 100) {
    return random_step(duplex.session, unit, seed);
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

// The rows that a conversation read, kept beside it, so that the whole model can read them at once.
class History {
public:
    explicit History(const Model& model) : model_(model), workspace_(model.backend()), encoder_(own(model)) {
        const DuplexPrompt prompt;
        add(model.tokenizer().encode(prompt.prefix, true));
        add(model.tokenizer().encode(prompt.suffix, true));
    }
    void add_input(const UnitInput& input) {
        Workspace& workspace = workspace_;
        const EncodedUnit unit = encoder_.encode(input);
        size_t at = 0;
        for (const EmbeddingRun& run : unit.prompt.runs) {
            add(std::span(unit.prompt.ids).subspan(at, static_cast<size_t>(run.begin) - at));
            const Array<float> rows = run.encode(workspace);
            rows_.insert(rows_.end(), rows.data.begin(), rows.data.end());
            at = static_cast<size_t>(run.begin + run.n);
        }
        add(std::span(unit.prompt.ids).subspan(at));
    }
    void add(std::span<const int32_t> ids) {
        if (ids.empty()) return;
        const Array<float> rows = model_.embedding().lookup(ids, workspace_);
        rows_.insert(rows_.end(), rows.data.begin(), rows.data.end());
    }
    int n_row() const { return static_cast<int>(rows_.size()) / kTinyEmbd; }
    std::vector<float> logits() const {
        const std::vector<float> all = model_.forward({.ids = {}, .embeds = rows_}).logits.data;
        return {all.begin(), all.begin() + model_.tokenizer().n_vocab()};
    }

private:
    static std::shared_ptr<const Model> own(const Model& model) {
        return {std::shared_ptr<const Model>(), &model};
    }
    const Model& model_;
    Workspace workspace_;
    UnitEncoder encoder_;
    std::vector<float> rows_;
};

// Logits of one pass over all rows and of many passes, each rounded in its own order.
constexpr double kManyPasses = 2e-4;

}  // namespace

TEST_CASE("a second of listening is thirteen tokens") {
    TinyDuplex duplex(talker().model(), obedient_options());
    const int n_prompt = duplex.session.n_past();
    for (int i = 0; i < 4; ++i) {
        const DuplexChunk chunk = duplex.hear(i);
        check_ids(chunk, *duplex.model, {"<|listen|>", "</unit>"});
        CHECK(chunk.unit == i);
        CHECK(chunk.words.is_listen);
        CHECK_FALSE(chunk.words.ends_turn);
        CHECK_FALSE(chunk.words.is_cut);
        CHECK(chunk.words.spoken.empty());
        CHECK(chunk.words.text.empty());
        CHECK(chunk.words.decision.listen > 0.9F);
        CHECK(chunk.samples.empty());
        CHECK(chunk.words.n_past == n_prompt + 13 * (i + 1));
        CHECK(duplex.session.n_past() == chunk.words.n_past);
    }
    CHECK(duplex.session.n_unit() == 4);
    CHECK_FALSE(duplex.session.is_speaking());
}

TEST_CASE("a frame is a group of its own before the sound, slices follow theirs") {
    TinyDuplex duplex(talker().model(), obedient_options());
    const std::vector<float> sound = unit_sound(0);
    const Image small = random_image(40, 40);
    const Image large = random_image(160, 80);
    const int group = kTinyQueries + 2;
    const auto n_token = [&](const UnitInput& input) {
        const int before = duplex.session.n_past();
        return duplex.session.step(input, true).words.n_past - before;
    };
    CHECK(n_token({.audio = sound, .frames = {{small.view(), 1}}, .text = {}}) == 13 + group);
    CHECK(n_token({.audio = sound, .frames = {{large.view(), 1}}, .text = {}}) == 13 + group);
    const int n_sliced = n_token({.audio = sound, .frames = {{large.view(), 4}}, .text = {}});
    CHECK(n_sliced > 13 + 2 * group);
    CHECK((n_sliced - 13) % group == 0);
    // Each frame has its own limit.
    CHECK(n_token({.audio = sound,
                   .frames = {{large.view(), 4}, {large.view(), 1}, {small.view(), 4}},
                   .text = {}}) == n_sliced + 2 * group);
    CHECK(n_token({.audio = {}, .frames = {{small.view(), 1}}, .text = {}}) == 3 + group);
    CHECK(n_token({.audio = {}, .frames = {}, .text = "abc"}) == 3 + 3);
    CHECK(n_token({.audio = sound, .frames = {{small.view(), 1}}, .text = "abc"}) == 13 + group + 3);
}

TEST_CASE("what is seen, heard and written changes what follows, in its order") {
    const auto logits = [](const UnitInput& input) {
        TinyDuplex duplex(tiny_duplex(), lively_options(false));
        return duplex.session.step(input).words.logits;
    };
    const std::vector<float> sound = unit_sound(0);
    const std::vector<float> other = unit_sound(1);
    const Image a = random_image(30, 30, 1);
    const Image b = random_image(30, 30, 2);
    const UnitInput input{.audio = sound, .frames = {{a.view(), 1}, {b.view(), 1}}, .text = "hi"};
    const std::vector<float> expected = logits(input);
    CHECK(logits(input) == expected);
    UnitInput changed = input;
    changed.audio = other;
    CHECK(logits(changed) != expected);
    changed = input;
    std::swap(changed.frames[0], changed.frames[1]);
    CHECK(logits(changed) != expected);
    changed = input;
    changed.text = "ho";
    CHECK(logits(changed) != expected);
}

TEST_CASE("a unit's logits are those of the whole model over all rows read so far") {
    TinyDuplex duplex(tiny_duplex(), lively_options(false));
    History history(*duplex.model);
    CHECK(history.n_row() == duplex.session.n_past());
    const Image image = random_image(100, 50);
    for (int64_t unit = 0; unit < 12; ++unit) {
        const std::vector<float> sound = unit_sound(unit);
        UnitInput input{.audio = sound, .frames = {}, .text = {}};
        if (unit % 3 == 1) input.frames = {{image.view(), 4}};
        if (unit % 4 == 2) input.text = "hello";
        history.add_input(input);
        const DuplexChunk chunk = duplex.session.step(input, unit % 5 == 4);
        CAPTURE(unit);
        CHECK(distance(history.logits(), chunk.words.logits) < kManyPasses);
        history.add(chunk.words.ids);
        CHECK(history.n_row() == chunk.words.n_past);
    }
}

TEST_CASE("a decision is not said, and chunk_eos ends a unit and not the turn") {
    TinyDuplex duplex(talker().model(), obedient_options());
    const DuplexChunk chunk = duplex.read("s");
    check_ids(chunk, *duplex.model, {"<|speak|>", "a", "b", "<|chunk_eos|>", "</unit>"});
    CHECK(chunk.words.spoken == ids_of(*duplex.model, {"a", "b"}));
    CHECK(chunk.words.hidden.dim(1) == 2);
    CHECK(chunk.words.text == "ab");
    CHECK_FALSE(chunk.words.is_listen);
    CHECK_FALSE(chunk.words.ends_turn);
    CHECK(chunk.words.decision.speak > 0.9F);
    CHECK(duplex.session.is_speaking());
}

TEST_CASE("the model may not fall silent inside a turn: listen becomes tts_bos") {
    TinyDuplex duplex(talker().model(), obedient_options());
    duplex.read("s");
    const DuplexChunk chunk = duplex.hear(0);  // the script says listen
    check_ids(chunk, *duplex.model, {"<|tts_bos|>", "d", "<|chunk_tts_eos|>", "</unit>"});
    CHECK_FALSE(chunk.words.is_listen);
    CHECK(chunk.words.text == "d");
    CHECK(duplex.session.is_speaking());
}

TEST_CASE("turn_eos ends the turn and is said, and words before a listen are not lost") {
    TinyDuplex duplex(talker().model(), obedient_options());
    duplex.read("s");
    const DuplexChunk chunk = duplex.read("q");
    check_ids(chunk, *duplex.model, {"c", "<|turn_eos|>", "<|listen|>", "</unit>"});
    CHECK(chunk.words.ends_turn);
    CHECK(chunk.words.is_listen);
    CHECK(chunk.words.spoken == ids_of(*duplex.model, {"<|turn_eos|>"}));
    CHECK(chunk.words.hidden.dim(1) == 1);
    CHECK_FALSE(duplex.session.is_speaking());
    check_ids(duplex.hear(0), *duplex.model, {"<|listen|>", "</unit>"});  // and so it listens again
    DuplexOptions official = obedient_options();
    official.rules.last_token_decides = true;
    TinyDuplex as_reference(talker().model(), official);
    as_reference.read("s");
    const DuplexChunk dropped = as_reference.read("q");
    CHECK(dropped.words.ids == chunk.words.ids);
    CHECK_FALSE(dropped.words.ends_turn);
    CHECK(dropped.words.is_listen);
    CHECK(dropped.words.spoken.empty());
    CHECK(dropped.words.hidden.dim(1) == 0);
}

TEST_CASE("at most nineteen tokens are written in a unit") {
    DuplexOptions options = obedient_options();
    options.rules.max_characters = 0;
    TinyDuplex duplex(talker().model(), options);
    const DuplexChunk chunk = duplex.read("x");
    REQUIRE(chunk.words.ids.size() == 21);
    Tokens expected;
    for (int i = 0; i < 19; ++i) expected.push_back(i % 2 == 0 ? "y" : "x");
    expected.insert(expected.end(), {"<|chunk_eos|>", "</unit>"});
    check_ids(chunk, *duplex.model, expected);
    CHECK(chunk.words.spoken.size() == 18);
    options.rules.max_tokens = 2;
    TinyDuplex brief(talker().model(), options);
    check_ids(brief.read("x"), *brief.model, {"y", "<|chunk_eos|>", "</unit>"});
}

TEST_CASE("a unit says fewer characters than its limit, and the turn goes on") {
    for (const int limit : {1, 2, 7, 28}) {
        CAPTURE(limit);
        DuplexOptions options = obedient_options();
        options.rules.max_characters = limit;
        TinyDuplex duplex(talker().model(), options);
        const DuplexChunk chunk = duplex.read("x");
        const int n_said = std::min(limit - 1, 18);
        CHECK(chunk.words.text.size() == static_cast<size_t>(n_said));
        CHECK(chunk.words.ids.size() == static_cast<size_t>(n_said) + 3);  // the decision, chunk_eos, </unit>
        CHECK(duplex.session.is_speaking());
    }
}

TEST_CASE("forced to listen, a turn that goes on ends first") {
    TinyDuplex duplex(talker().model(), obedient_options());
    const DuplexChunk idle = duplex.read("s", true);
    check_ids(idle, *duplex.model, {"<|listen|>", "</unit>"});
    CHECK(idle.words.is_listen);
    CHECK_FALSE(idle.words.ends_turn);
    CHECK_FALSE(idle.words.is_cut);
    duplex.read("s");
    const DuplexChunk cut = duplex.read("s", true);
    check_ids(cut, *duplex.model, {"<|turn_eos|>", "<|listen|>", "</unit>"});
    CHECK(cut.words.is_listen);
    CHECK(cut.words.ends_turn);
    CHECK(cut.words.is_cut);
    CHECK(cut.words.spoken.empty());
    CHECK_FALSE(duplex.session.is_speaking());
    check_ids(duplex.read("s"), *duplex.model, {"<|speak|>", "a", "b", "<|chunk_eos|>", "</unit>"});
}

TEST_CASE("the first units of a conversation may be made to listen") {
    DuplexOptions options = obedient_options();
    options.rules.force_listen = 3;
    TinyDuplex duplex(talker().model(), options);
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 3; ++i) CHECK(duplex.read("s").words.is_listen);
        CHECK_FALSE(duplex.read("s").words.is_listen);
        duplex.prepare();
    }
}

TEST_CASE("a heavy weight on listening makes the model listen, a light one speak") {
    const auto n_listen = [](float scale) {
        DuplexOptions options = lively_options(false);
        options.sampling.listen_scale = scale;
        TinyDuplex duplex(tiny_duplex(), options);
        int n = 0;
        for (int i = 0; i < 12; ++i) n += duplex.hear(i).words.is_listen ? 1 : 0;
        return n;
    };
    CHECK(n_listen(1e6F) == 12);
    CHECK(n_listen(1e-6F) == 0);
}

TEST_CASE("prepare twice is prepare once, whatever was before") {
    TinyDuplex once(tiny_duplex(), lively_options());
    TinyDuplex again(tiny_duplex(), lively_options());
    for (int i = 0; i < 4; ++i) random_step(again, i, 7);
    again.session.interrupt();
    again.prepare();
    again.prepare();
    CHECK(again.session.n_unit() == 0);
    for (int i = 0; i < 5; ++i) CHECK(is_same(random_step(once, i), random_step(again, i)));
}

TEST_CASE("a reference sound is heard between the parts of the prompt") {
    const auto model = tiny_duplex();
    DuplexSession session(model, lively_options(false));
    const std::vector<float> voice = random_sound(2 * kUnitSamples);
    session.prepare({});
    const int n_plain = session.n_past();
    DuplexPrompt prompt;
    prompt.reference = voice;
    session.prepare(prompt);
    CHECK(session.n_past() == n_plain + 20);
}

TEST_CASE("a unit without prepare, speech without a voice and options out of range are refused") {
    const auto model = tiny_duplex();
    const std::vector<float> sound = unit_sound(0);
    for (const bool has_speech : {false, true}) {
        DuplexSession session(model, lively_options(has_speech));
        CHECK_THROWS_AS(session.step({.audio = sound, .frames = {}, .text = {}}), ArgumentError);
        if (has_speech) CHECK_THROWS_AS(session.prepare({}), ArgumentError);
    }
    const auto refuses = [&](auto change) {
        DuplexOptions options = lively_options(false);
        change(options);
        CHECK_THROWS_AS(DuplexSession(model, options), ArgumentError);
    };
    refuses([](DuplexOptions& o) { o.rules.max_tokens = 1; });
    refuses([](DuplexOptions& o) { o.rules.max_tokens = 1001; });
    refuses([](DuplexOptions& o) { o.rules.max_characters = -1; });
    refuses([](DuplexOptions& o) { o.rules.force_listen = -1; });
    refuses([](DuplexOptions& o) { o.context.n_ctx = -1; });
    refuses([](DuplexOptions& o) { o.sampling.top_p = 0; });
    refuses([](DuplexOptions& o) { o.window = {.mode = WindowMode::basic, .high = 10, .low = 20}; });
    refuses([](DuplexOptions& o) { o.window = {.mode = WindowMode::context, .max_units = 0}; });
    CHECK_THROWS_AS(DuplexSession(load_tiny(), lively_options(false)), UnsupportedModelError);
    const auto books = load_tiny({.has_books = true, .has_duplex = true});
    CHECK_THROWS_WITH_AS(DuplexSession(books, lively_options(true)),
                         doctest::Contains("that speaks answers, as its prompt sounds"),
                         UnsupportedModelError);
    CHECK(DuplexSession(books, lively_options(false)).n_past() == 0);
}

TEST_CASE("a unit that fails leaves the conversation as it was, bit by bit") {
    DuplexOptions options = lively_options();
    options.context.n_ctx = 420;
    TinyDuplex tried(tiny_duplex(), options);
    TinyDuplex untouched(tiny_duplex(), options);
    const Image image = random_image(30, 30);
    const Image huge = random_image(200, 200);
    for (int64_t unit = 0; unit < 7; ++unit) {
        CAPTURE(unit);
        const std::vector<float> sound = unit_sound(unit);
        std::vector<float> broken = sound;
        broken[77] = std::nanf("");
        const int n_past = tried.session.n_past();
        const auto refuses = [&](const UnitInput& input) {
            CHECK_THROWS_AS(tried.session.step(input), ArgumentError);
        };
        refuses({.audio = {}, .frames = {}, .text = {}});
        refuses(
            {.audio = std::span(sound).first(kUnitSamples - 1), .frames = {{image.view(), 1}}, .text = {}});
        refuses({.audio = broken, .frames = {{image.view(), 1}}, .text = {}});
        refuses({.audio = sound, .frames = {{image.view(), 1}, {ImageView{}, 1}}, .text = {}});
        refuses({.audio = sound, .frames = {{image.view(), -1}}, .text = {}});
        // Encoded and heard, and then there is no room for it.
        const UnitInput too_long{.audio = sound, .frames = {{huge.view(), 1}}, .text = std::string(400, 'z')};
        CHECK_THROWS_AS(tried.session.step(too_long), ContextFullError);
        CHECK(tried.session.n_past() == n_past);
        CHECK(tried.session.n_unit() == unit);
        CHECK(is_same(random_step(tried, unit), random_step(untouched, unit)));
    }
}

TEST_CASE("a context that fills up refuses the unit, and nothing has changed") {
    DuplexOptions options = lively_options();
    options.context.n_ctx = 200;
    TinyDuplex duplex(tiny_duplex(), options);
    int64_t unit = 0;
    const auto talk = [&] {
        for (;; ++unit) duplex.hear(unit);
    };
    CHECK_THROWS_AS(talk(), ContextFullError);
    CHECK(unit > 2);
    const int n_past = duplex.session.n_past();
    CHECK(n_past <= 200);
    const auto place = duplex.session.snapshot();
    CHECK_THROWS_AS(duplex.hear(unit), ContextFullError);
    CHECK_THROWS_AS(duplex.hear(unit), ContextFullError);
    CHECK(duplex.session.n_past() == n_past);
    CHECK_NOTHROW(duplex.session.restore(*place));
    duplex.prepare();
    CHECK_NOTHROW(duplex.hear(0));
}

TEST_CASE("a snapshot comes back bit by bit, in the middle of a turn too") {
    TinyDuplex duplex(tiny_duplex(), lively_options());
    bool was_speaking = false;
    bool was_listening = false;
    for (int64_t unit = 0; unit < 9; ++unit) {
        random_step(duplex, unit);
        if (unit % 2 == 0) continue;
        CAPTURE(unit);
        const auto place = duplex.session.snapshot();
        was_speaking |= duplex.session.is_speaking();
        was_listening |= !duplex.session.is_speaking();
        std::vector<DuplexChunk> expected;
        for (int64_t i = 1; i <= 3; ++i) expected.push_back(random_step(duplex, unit + i));
        for (int round = 0; round < 2; ++round) {
            duplex.session.restore(*place);
            CHECK(duplex.session.n_unit() == unit + 1);
            for (int64_t i = 0; i < 3 * round; ++i) random_step(duplex, i, 31);  // something else
            duplex.session.restore(*place);
            for (int64_t i = 1; i <= 3; ++i) {
                CHECK(is_same(random_step(duplex, unit + i), expected[static_cast<size_t>(i - 1)]));
            }
        }
        duplex.session.restore(*place);
    }
    CHECK(was_speaking);
    CHECK(was_listening);
}

TEST_CASE("a snapshot of another session, or of what is over, is refused") {
    TinyDuplex a(tiny_duplex(), lively_options(false));
    TinyDuplex b(tiny_duplex(), lively_options(false));
    for (int i = 0; i < 3; ++i) CHECK(is_same(random_step(a, i), random_step(b, i)));
    const auto place = a.session.snapshot();
    CHECK_THROWS_AS(b.session.restore(*place), ArgumentError);
    CHECK(is_same(random_step(a, 3), random_step(b, 3)));
    a.prepare();
    CHECK_THROWS_AS(a.session.restore(*place), ArgumentError);
    DuplexOptions narrow = lively_options(false);
    narrow.window = {.mode = WindowMode::basic, .high = 160, .low = 100};
    TinyDuplex c(tiny_duplex(), narrow);
    c.hear(0);
    const auto old = c.session.snapshot();
    int n_forgotten = 0;
    for (int i = 1; n_forgotten == 0; ++i) n_forgotten = c.hear(i).words.n_forgotten;
    CHECK_THROWS_AS(c.session.restore(*old), ArgumentError);
    CHECK_NOTHROW(c.hear(50));
}

TEST_CASE("a saved conversation goes on in another session bit by bit, in the middle of a turn too") {
    const TempFolder folder;
    TinyDuplex duplex(tiny_duplex(), lively_options());
    bool was_speaking = false;
    for (int64_t unit = 0; unit < 8; ++unit) {
        CAPTURE(unit);
        const auto path = folder.path() / "talk.session";
        duplex.session.save(path);
        was_speaking |= duplex.session.is_speaking() && unit > 0;
        DuplexSession other(duplex.model, lively_options());
        other.keep_logits(true);
        other.load(path);
        CHECK(other.n_unit() == unit);
        CHECK(other.n_past() == duplex.session.n_past());
        CHECK(other.is_speaking() == duplex.session.is_speaking());
        const auto place = duplex.session.snapshot();
        TinyDuplex used(duplex.model, lively_options(true, 9));  // which had something else on its mind
        used.session.prepare(voiced_prompt(*duplex.model, "Bob"));
        random_step(used, 0, 5);
        random_step(used, 1, 5);
        used.session.load(path);
        std::vector<DuplexChunk> expected;
        for (int64_t i = 0; i < 2; ++i) expected.push_back(random_step(duplex, unit + i));
        for (int64_t i = 0; i < 2; ++i) {
            const DuplexChunk& chunk = expected[static_cast<size_t>(i)];
            CHECK(is_same(random_step(other, unit + i), chunk));
            CHECK(is_same(random_step(used, unit + i), chunk));
        }
        duplex.session.restore(*place);
        random_step(duplex, unit);
    }
    CHECK(was_speaking);
}

TEST_CASE("two conversations at once are each what it would be alone") {
    std::vector<DuplexChunk> alone[2];
    for (uint64_t which = 0; which < 2; ++which) {
        TinyDuplex duplex(tiny_duplex(), lively_options(true, which));
        for (int i = 0; i < 5; ++i) alone[which].push_back(random_step(duplex, i, 40 + which));
    }
    TinyDuplex a(tiny_duplex(), lively_options(true, 0));
    TinyDuplex b(tiny_duplex(), lively_options(true, 1));
    for (size_t i = 0; i < 5; ++i) {
        CHECK(is_same(random_step(a, static_cast<int64_t>(i), 40), alone[0][i]));
        CHECK(is_same(random_step(b, static_cast<int64_t>(i), 41), alone[1][i]));
    }
}

TEST_CASE("what is said is a second a unit, and the last unit of a turn what is left") {
    TinyDuplex duplex(talker().model(), [] {
        DuplexOptions options = obedient_options(true);
        options.speech.n_step = 2;
        return options;
    }());
    CHECK(duplex.hear(0).samples.empty());
    CHECK(duplex.session.sample_rate() == kSpokenSamples);
    for (int i = 0; i < 3; ++i) {
        const DuplexChunk chunk = duplex.read("s");
        CHECK((chunk.samples.empty() || chunk.samples.size() >= kSpokenSamples));
        CHECK_FALSE(chunk.is_cut);
        if (i > 0) CHECK_FALSE(chunk.samples.empty());
    }
    const DuplexChunk last = duplex.read("q");
    CHECK(last.words.ends_turn);
    CHECK_FALSE(last.samples.empty());
    CHECK(duplex.hear(1).samples.empty());
}

TEST_CASE("an interruption between units ends the turn in the next one, and nothing of it is said") {
    DuplexOptions options = obedient_options(true);
    options.speech.n_step = 2;
    for (int n_said = 0; n_said < 4; ++n_said) {
        CAPTURE(n_said);
        TinyDuplex duplex(talker().model(), options);
        TinyDuplex forced(talker().model(), options);
        for (TinyDuplex* one : {&duplex, &forced}) {
            for (int i = 0; i < n_said; ++i) one->read("s");
        }
        duplex.session.interrupt();
        duplex.session.interrupt();  // as good as once
        const DuplexChunk cut = duplex.read("s");
        const DuplexChunk expected = forced.read("s", true);
        CHECK(cut.words.ids == expected.words.ids);
        CHECK(cut.words.is_cut);
        CHECK(cut.is_cut);
        CHECK(cut.samples.empty());
        CHECK(cut.words.ends_turn == (n_said > 0));
        // The turn after it is a turn like any other, from its first sample on.
        for (const char* text : {"s", "s", "q"}) {
            const DuplexChunk next = duplex.read(text);
            const DuplexChunk same = forced.read(text);
            CHECK(next.words.ids == same.words.ids);
            CHECK(next.words.logits == same.words.logits);
            CHECK_FALSE(next.is_cut);
            // An interruption of nobody still begins another turn, whose voice draws other numbers.
            if (n_said > 0) CHECK(next.samples == same.samples);
        }
    }
}

TEST_CASE("an interruption from another thread at any moment leaves a conversation that adds up") {
    int n_cut = 0;
    for (uint64_t seed = 0; seed < 6; ++seed) {
        DuplexOptions options = lively_options(seed % 2 == 0, seed);
        options.sampling.listen_scale = 0.1F;
        TinyDuplex duplex(tiny_duplex(), options);
        History history(*duplex.model);
        std::atomic<bool> is_over = false;
        std::jthread interrupter([&] {
            Rng rng{seed, 0};
            while (!is_over) {
                std::this_thread::sleep_for(
                    std::chrono::microseconds(rng.next() % (seed < 3 ? 20000 : 3000)));
                duplex.session.interrupt();
            }
        });
        for (int64_t unit = 0; unit < 14; ++unit) {
            const std::vector<float> sound = unit_sound(unit, 60 + seed);
            const UnitInput input{.audio = sound, .frames = {}, .text = {}};
            history.add_input(input);
            const bool was_in_turn = duplex.session.is_speaking();
            const DuplexChunk chunk = duplex.session.step(input);
            CAPTURE(seed);
            CAPTURE(unit);
            CHECK(distance(history.logits(), chunk.words.logits) < kManyPasses);
            history.add(chunk.words.ids);
            CHECK(history.n_row() == chunk.words.n_past);
            const auto& ids = chunk.words.ids;
            const TokenRoles& t = duplex.model->config().tokens;
            REQUIRE(ids.size() >= 2);
            CHECK(ids.back() == t.unit_end);
            CHECK(chunk.words.is_listen == (ids[ids.size() - 2] == t.listen));
            if (chunk.words.is_cut) {
                ++n_cut;
                CHECK_FALSE(duplex.session.is_speaking());
                CHECK(chunk.samples.empty());
                CHECK(chunk.is_cut);
                if (was_in_turn || ids.size() > 3) {
                    CHECK(std::find(ids.begin(), ids.end(), t.turn_eos) != ids.end());
                }
            }
        }
        is_over = true;
    }
    CHECK(n_cut > 0);
}

TEST_CASE("a window keeps the prompt, and the tokens add up after every unit") {
    for (const WindowMode mode : {WindowMode::basic, WindowMode::context}) {
        CAPTURE(static_cast<int>(mode));
        DuplexOptions options = lively_options(false);
        options.window = {.mode = mode,
                          .high = 300,
                          .low = 200,
                          .max_units = 6,
                          .max_previous = 25,
                          .previous_marker = "\np:"};
        options.context.n_ctx = 512;
        TinyDuplex duplex(tiny_duplex(), options);
        const int n_prompt = duplex.session.n_past();
        std::vector<int> lengths;
        std::vector<int> said;
        int n_previous = 0;
        int n_forgotten = 0;
        for (int64_t unit = 0; unit < 100; ++unit) {
            const int before = duplex.session.n_past();
            const DuplexChunk chunk = random_step(duplex, unit);
            const UnitWords& words = chunk.words;
            Rng rng{100 * 1000 + static_cast<uint64_t>(unit), 0};
            const int n_frame = rng.next() % 3 == 0 ? kTinyQueries + 2 : 0;
            lengths.push_back(11 + n_frame + static_cast<int>(words.ids.size()));
            const auto n_said = std::count_if(words.spoken.begin(), words.spoken.end(), [&](int32_t id) {
                return !duplex.model->tokenizer().is_special(id);
            });
            said.push_back(static_cast<int>(n_said));
            for (int i = 0; i < words.n_forgotten; ++i) {
                const auto k = static_cast<size_t>(n_forgotten + i);
                if (mode == WindowMode::basic || said[k] == 0) continue;
                const int n_marker = 3;
                n_previous = std::min(std::max(n_previous - n_marker, 0) + said[k], 25) + n_marker;
            }
            n_forgotten += words.n_forgotten;
            int expected = n_prompt + n_previous;
            for (size_t i = static_cast<size_t>(n_forgotten); i < lengths.size(); ++i) expected += lengths[i];
            CAPTURE(unit);
            REQUIRE(words.n_past == expected);
            CHECK(duplex.session.n_past() == expected);
            const int n_left = static_cast<int>(unit) + 1 - n_forgotten;
            if (mode == WindowMode::context) {
                CHECK(n_left == std::min(static_cast<int>(unit) + 1, 6));
            } else {
                CHECK(words.n_past <= 300);
                CHECK((words.n_forgotten > 0) == (before + lengths.back() > 300));
                if (words.n_forgotten > 0) {
                    CHECK(words.n_past <= 200);
                    // No more than needed: with the last one that left it would be above.
                    CHECK(words.n_past + lengths[static_cast<size_t>(n_forgotten) - 1] > 200);
                }
            }
            for (const float logit : words.logits) REQUIRE(std::isfinite(logit));
        }
        CHECK(n_forgotten > 30);
        CHECK((n_previous > 3) == (mode == WindowMode::context));
    }
}

TEST_CASE("until it first forgets a window changes nothing") {
    DuplexOptions options = lively_options(false);
    TinyDuplex plain(tiny_duplex(), options);
    options.window = {.mode = WindowMode::basic, .high = 220, .low = 100};
    TinyDuplex basic(tiny_duplex(), options);
    options.window = {.mode = WindowMode::context, .max_units = 6};
    TinyDuplex context(tiny_duplex(), options);
    bool has_forgotten = false;
    for (int64_t unit = 0; unit < 6; ++unit) {
        const DuplexChunk expected = random_step(plain, unit);
        if (!has_forgotten) {
            const DuplexChunk chunk = random_step(basic, unit);
            has_forgotten = chunk.words.n_forgotten > 0;
            if (!has_forgotten) CHECK(is_same(chunk, expected));
        }
        CHECK(is_same(random_step(context, unit), expected));
    }
    CHECK(random_step(context, 6).words.n_forgotten == 1);
}

TEST_CASE("units after a restore are said, whatever was interrupted before it") {
    TinyDuplex duplex(tiny_duplex(), lively_options());
    for (int i = 0; i < 3; ++i) duplex.hear(i);
    const auto place = duplex.session.snapshot();
    std::vector<DuplexChunk> expected;
    for (int i = 3; i < 7; ++i) expected.push_back(duplex.hear(i));
    duplex.session.interrupt();
    duplex.hear(7);  // the interruption has had its unit
    duplex.session.restore(*place);
    for (int i = 3; i < 7; ++i) {
        const DuplexChunk chunk = duplex.hear(i);
        CAPTURE(i);
        CHECK(chunk.words.ids == expected[static_cast<size_t>(i - 3)].words.ids);
        CHECK_FALSE(chunk.is_cut);
        CHECK(chunk.samples == expected[static_cast<size_t>(i - 3)].samples);
    }
}

TEST_CASE("previous text that finds no room leaves the conversation as it was") {
    DuplexOptions options = lively_options(false);
    options.window = {.mode = WindowMode::context,
                      .max_units = 2,
                      .max_previous = 100,
                      .previous_marker = std::string(100, 'p')};
    options.context.n_ctx = 180;
    TinyDuplex duplex(tiny_duplex(), options);
    for (int i = 0; i < 12; ++i) {
        const int n_past = duplex.session.n_past();
        const int64_t n_unit = duplex.session.n_unit();
        bool is_full = false;
        try {
            duplex.hear(i);
        } catch (const ContextFullError&) {
            is_full = true;
        }
        if (is_full) {
            CHECK(duplex.session.n_past() == n_past);
            CHECK(duplex.session.n_unit() == n_unit);
            break;
        }
    }
}

TEST_CASE("damaged duplex conversations with a right checksum are refused or work") {
    TinyDuplex duplex(tiny_duplex(), lively_options());
    for (int i = 0; i < 4 || !duplex.session.is_speaking(); ++i) duplex.hear(i);
    const std::string bytes = saved(duplex.session);
    const size_t n_cells = static_cast<size_t>(duplex.session.n_past()) * 512;
    Rng rng{5, 0};
    int n_refused = 0;
    for (int i = 0; i < 300; ++i) {
        CAPTURE(i);
        DuplexSession other(duplex.model, lively_options());
        std::string now = damaged(bytes, i % 2 == 0 ? n_cells : bytes.size() - 1500, rng);
        bool is_loaded = false;
        try {
            load_bytes(other, now);
            is_loaded = true;
        } catch (const ModelFileError&) {
            ++n_refused;
        } catch (const std::exception& e) {
            FAIL_CHECK(std::string(e.what()));
        }
        try {
            const std::vector<float> sound = unit_sound(3);
            if (is_loaded) other.step({.audio = sound, .frames = {}, .text = {}});
        } catch (const Error&) {
        }
    }
    CHECK(n_refused > 20);
}
