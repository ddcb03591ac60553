#include "engine/session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <thread>

#include "base/error.h"
#include "engine/damaged_session.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

const std::shared_ptr<const Model>& model() {
    static const std::shared_ptr<const Model> shared = load_tiny({.n_ctx = 16384});
    return shared;
}

const std::vector<Message> kTalk = {say(Role::system, "Be brief."),
                                    say(Role::user, "hello there, how are you?")};

std::vector<int32_t> fresh_answer(const std::vector<Message>& messages,
                                  const GenerateOptions& options = greedy()) {
    Session session(model(), {});
    session.prefill(messages, {});
    return answer(session, options);
}

std::string long_text(int n_byte) {
    std::string text;
    for (int i = 0; i < n_byte; ++i) text += static_cast<char>('a' + (i * 7 + i / 26) % 26);
    return text;
}

}  // namespace

TEST_CASE("messages in one prefill and one by one give the same answer") {
    Session whole(model(), {});
    whole.prefill(kTalk, {});
    Session parts(model(), {});
    for (const Message& message : kTalk) parts.prefill(std::span(&message, 1), {});
    CHECK(parts.n_past() == whole.n_past());
    const std::vector<int32_t> expected = answer(whole);
    CHECK(expected.size() == 12);
    CHECK(answer(parts) == expected);
    CHECK(answer(whole) != expected);  // a second answer follows the first
}

TEST_CASE("user messages in a row are one turn") {
    PromptOptions joined;
    joined.omni = true;
    Session parts(model(), {});
    for (const std::string text : {"abc ", "def ", "ghi"}) {
        const Message message = say(Role::user, text);
        parts.prefill(std::span(&message, 1), joined);
    }
    Session whole(model(), {});
    whole.prefill(std::vector<Message>{say(Role::user, "abc def ghi")}, joined);
    CHECK(parts.n_past() == whole.n_past());
    CHECK(answer(parts) == answer(whole));
}

TEST_CASE("a picture in a message changes the answer, and is numbered across prefills") {
    const Image image = random_image(90, 40);
    const auto ask = [&](const Image& shown) {
        return Message{Role::user, {image_part(shown), text_part("what is this?")}};
    };
    const Message first = ask(image);
    const std::vector<int32_t> seen = fresh_answer({first});
    CHECK(seen == fresh_answer({first}));
    CHECK(seen != fresh_answer({ask(random_image(90, 40, 10))}));
    Session session(model(), {});
    session.prefill(std::span(&first, 1), {});
    CHECK(session.timings().media.n_slice > 1);
    CHECK(session.progress().n_slice_done == session.progress().n_slice);
    Session whole(model(), {});
    whole.prefill(std::vector<Message>{first, say(Role::assistant, "x"), first}, {});
    session.prefill(std::vector<Message>{say(Role::assistant, "x"), first}, {});
    CHECK(session.n_past() == whole.n_past());
    CHECK(answer(session) == answer(whole));
}

TEST_CASE("a whole conversation by the template is the same as its turns without thinking") {
    Session chat(model(), {});
    chat.prefill_chat(kTalk, {});
    Session turns(model(), {});
    turns.prefill(kTalk, {});
    CHECK(answer(chat) == answer(turns));
}

TEST_CASE("a conversation whose template closed its last turn does not close it again") {
    PromptOptions closed;
    closed.add_generation_prompt = false;
    Session chat(model(), {});
    chat.prefill_chat(kTalk, closed);
    Session turns(model(), {});
    turns.prefill(kTalk, {});
    CHECK(answer(chat) == answer(turns));
    CHECK(chat.n_past() == turns.n_past());
}

TEST_CASE("the seed decides what is sampled") {
    GenerateOptions options = greedy(16);
    options.sampling = {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .seed = 1};
    const std::vector<int32_t> first = fresh_answer(kTalk, options);
    CHECK(fresh_answer(kTalk, options) == first);
    options.sampling.seed = 2;
    CHECK(fresh_answer(kTalk, options) != first);
}

TEST_CASE("a full context refuses the prefill and leaves the conversation as it was") {
    Session session(model(), {.n_ctx = 96, .kv_type = {}});
    session.prefill(kTalk, {});
    const int n_past = session.n_past();
    const Message too_long = say(Role::user, long_text(200));
    CHECK_THROWS_AS(session.prefill(std::span(&too_long, 1), {}), ContextFullError);
    CHECK(session.n_past() == n_past);
    CHECK(answer(session) == fresh_answer(kTalk));
}

TEST_CASE("an answer that fills the context ends with an error, and its tokens stay") {
    Session session(model(), {.n_ctx = 96, .kv_type = {}});
    session.prefill(kTalk, {});
    session.begin(greedy(1000));
    const int n_begin = session.n_past();
    int n_token = 0;
    const auto talk = [&] {
        while (session.next()) ++n_token;
    };
    CHECK_THROWS_AS(talk(), ContextFullError);
    CHECK(session.n_past() == 96);
    CHECK(n_token == 96 - n_begin + 1);  // the last one is shown and not in the cache
    CHECK_FALSE(session.next().has_value());
}

TEST_CASE("an interrupted prefill leaves the conversation as it was") {
    Session session(model(), {});
    session.prefill(kTalk, {});
    const int n_past = session.n_past();
    std::atomic<bool> is_over = false;
    std::jthread interrupter([&] {
        while (!is_over) session.interrupt();
    });
    const std::vector<Message> long_one = {say(Role::user, long_text(12000))};
    CHECK_THROWS_AS(session.prefill(long_one, {}), InterruptedError);
    is_over = true;
    interrupter.join();
    CHECK(session.n_past() == n_past);
    CHECK(answer(session) == fresh_answer(kTalk));
}

TEST_CASE("an interrupted answer ends, and the conversation goes on") {
    Session session(model(), {});
    session.prefill(kTalk, {});
    session.begin(greedy(12));
    for (int i = 0; i < 5; ++i) CHECK(session.next().has_value());
    session.interrupt();
    CHECK_FALSE(session.next().has_value());
    CHECK(session.stop_reason() == "interrupted");
    CHECK_FALSE(session.next().has_value());
    Session undisturbed(model(), {});
    undisturbed.prefill(kTalk, {});
    answer(undisturbed, greedy(5));
    CHECK(undisturbed.stop_reason() == "length");
    const Message more = say(Role::user, "and now?");
    session.prefill(std::span(&more, 1), {});
    undisturbed.prefill(std::span(&more, 1), {});
    CHECK(session.n_past() == undisturbed.n_past());
    CHECK(answer(session) == answer(undisturbed));
}

TEST_CASE("a stop token ends the answer and is not shown") {
    GenerateOptions options = greedy(400);
    options.sampling = {.temperature = 5.0F, .top_k = 0, .top_p = 1.0F, .seed = 3};
    options.ignore_stop = false;
    Session session(model(), {});
    session.prefill(kTalk, {});
    const std::vector<int32_t> ids = answer(session, options);
    CHECK(session.stop_reason() == "stop");
    CHECK(ids.size() < 400);
    const auto& stop = model()->config().tokens.stop;
    for (const int32_t id : ids) CHECK(std::find(stop.begin(), stop.end(), id) == stop.end());
}

TEST_CASE("reset forgets everything") {
    Session session(model(), {});
    session.prefill(std::vector<Message>{say(Role::user, "something else entirely")}, {});
    answer(session);
    session.reset();
    CHECK(session.n_past() == 0);
    CHECK_THROWS_AS(session.begin(greedy()), ArgumentError);
    session.prefill(kTalk, {});
    CHECK(answer(session) == fresh_answer(kTalk));
}

TEST_CASE("sessions on several threads answer as each would alone") {
    constexpr size_t kThreads = 4;
    std::vector<std::vector<Message>> talks;
    std::vector<std::vector<int32_t>> alone;
    const Image image = random_image(60, 60);
    for (size_t i = 0; i < kThreads; ++i) {
        talks.push_back({say(Role::user, long_text(static_cast<int>(300 + 170 * i)))});
        if (i % 2 == 1) talks.back()[0].content.push_back(image_part(image));
        alone.push_back(fresh_answer(talks.back(), greedy(40)));
    }
    std::vector<std::vector<int32_t>> together(kThreads);
    {
        std::vector<std::jthread> threads;
        for (size_t i = 0; i < kThreads; ++i) {
            threads.emplace_back([&, i] { together[i] = fresh_answer(talks[i], greedy(40)); });
        }
    }
    CHECK(together == alone);
    CHECK(alone[0] != alone[2]);
}

TEST_CASE("a conversation that outgrows the first cache answers as one prefill does") {
    Session growing(model(), {});
    std::vector<Message> all;
    for (int i = 0; i < 6; ++i) {
        all.push_back(say(i % 2 == 0 ? Role::user : Role::assistant, long_text(150 + i)));
        growing.prefill(std::span(all).last(1), {});
    }
    CHECK(growing.n_past() > 512);
    CHECK(answer(growing) == fresh_answer(all));
}

TEST_CASE("caches of every type answer, and options out of range are refused") {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0}) {
        CAPTURE(ggml_type_name(type));
        Session session(model(), {.n_ctx = 0, .kv_type = type});
        session.prefill(kTalk, {});
        CHECK(answer(session).size() == 12);
        CHECK(session.n_ctx() == 16384);
    }
    CHECK_THROWS_AS(Session(model(), {.n_ctx = -1, .kv_type = {}}), ArgumentError);
    CHECK_THROWS_AS(Session(model(), {.n_ctx = 16385, .kv_type = {}}), ArgumentError);
    CHECK_THROWS_AS(Session(model(), {.n_ctx = 0, .kv_type = GGML_TYPE_Q4_0}), ArgumentError);
    Session session(model(), {});
    session.prefill(kTalk, {});
    CHECK_THROWS_AS(session.begin(greedy(0)), ArgumentError);
    GenerateOptions bad = greedy();
    bad.sampling.top_p = 2;
    CHECK_THROWS_AS(session.begin(bad), ArgumentError);
    CHECK_FALSE(session.next().has_value());
}

TEST_CASE("rows of the head beyond the last token are never an error") {
    const auto padded = load_tiny({.n_spare_rows = 200});
    GenerateOptions options = greedy(200);
    options.sampling = {.temperature = 20.0F, .top_k = 0, .top_p = 1.0F, .seed = 1};
    Session session(padded, {});
    session.prefill(kTalk, {});
    std::vector<int32_t> ids;
    REQUIRE_NOTHROW(ids = answer(session, options));
    CHECK(std::all_of(ids.begin(), ids.end(), [](int32_t id) { return id < tiny_n_token(); }));
}

TEST_CASE("models of every weight type answer") {
    const Image image = random_image(50, 50);
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
        CAPTURE(ggml_type_name(type));
        Session session(load_tiny({.type = type}), {});
        session.prefill(std::vector<Message>{{Role::user, {image_part(image), text_part("hello")}}}, {});
        CHECK(answer(session).size() == 12);
    }
}

TEST_CASE("a spoken question opens a spoken answer, and its sound is counted") {
    const std::vector<float> sound = random_sound(32000);
    const Message question{Role::user, {text_part("listen"), audio_part(sound)}};
    Session chat(model(), {});
    chat.prefill_chat(std::span(&question, 1), {});
    Session turns(model(), {});
    turns.prefill(std::span(&question, 1), {});
    CHECK(turns.timings().media.n_audio == 20);
    CHECK(turns.timings().heard_s == doctest::Approx(2.0));
    CHECK(turns.progress().n_audio_done == 20);
    turns.begin(greedy());
    CHECK(turns.n_past() == chat.n_past());
    CHECK(answer(chat) == answer(turns));
    turns.reset();
    const Message text = say(Role::user, "listen");
    turns.prefill(std::span(&text, 1), {});
    const int n_text = turns.n_past();
    turns.begin(greedy());
    const auto n_opening = model()
                               ->tokenizer()
                               .encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", true)
                               .size();
    CHECK(turns.n_past() == n_text + static_cast<int>(n_opening));
}

TEST_CASE("sound longer than the context is refused before it is encoded, with numbers") {
    Session session(model(), {.n_ctx = 64, .kv_type = std::nullopt});
    const std::vector<float> sound = random_sound(16000 * 30);
    const Message question{Role::user, {audio_part(sound)}};
    CHECK_THROWS_WITH_AS(session.prefill(std::span(&question, 1), {}), doctest::Contains("64"),
                         ContextFullError);
    CHECK(session.n_past() == 0);
    CHECK(session.progress().n_audio_done == 0);
    const Message short_question = say(Role::user, "hello");
    CHECK_NOTHROW(session.prefill(std::span(&short_question, 1), {}));
}

namespace {

SessionOptions windowed(int high, int low, int n_ctx = 0) {
    SessionOptions options;
    options.n_ctx = n_ctx;
    options.window = RoundWindow{high, low};
    return options;
}

PromptOptions joined() {
    PromptOptions options;
    options.omni = true;
    return options;
}

void hear(Session& session, std::span<const float> sound, bool is_last = false) {
    const Message message{Role::user, {audio_part(sound)}};
    session.prefill_stream(std::span(&message, 1), joined(), is_last);
}

void tell(Session& session, Role role, const std::string& text) {
    const Message message = say(role, text);
    session.prefill(std::span(&message, 1), {});
}

// The tokens of an answer and the states behind them, which show every bit of what was read.
struct Answer {
    std::vector<int32_t> ids;
    std::vector<float> hidden;
    bool operator==(const Answer&) const = default;
};

Answer full_answer(Session& session, int n = 12) {
    GenerateOptions options = greedy(n);
    options.keep_hidden = true;
    Answer said;
    said.ids = answer(session, options);
    said.hidden = session.answer_hidden().data;
    return said;
}

constexpr int kSecond = 16000;
int n_opening() {  // tokens of a user's turn before anything is said
    return static_cast<int>(model()->tokenizer().encode("<|im_start|>user\n", true).size());
}

// A conversation with all that one can have: rounds, pictures, and a sound that goes on.
void talk(Session& session) {
    const Image image = random_image(60, 60);
    tell(session, Role::system, "Be brief.");
    const Message shown{Role::user, {image_part(image), text_part("what?")}};
    session.prefill(std::span(&shown, 1), {});
    answer(session, greedy(5));
    hear(session, random_sound(kSecond + 5000, 3));
}

}  // namespace

TEST_CASE("streamed sound is the same however it is cut") {
    const std::vector<float> sound = random_sound(4 * kSecond + 3210);
    const std::span<const float> all = sound;
    // The first piece tells how the stream opens: with silence, or with as much sound more.
    for (const size_t first : {size_t{8000}, size_t{16559}, size_t{16560}, size_t{30000}}) {
        std::optional<Answer> expected;
        int n_past = 0;
        for (uint64_t seed = 0; seed < 4; ++seed) {
            CAPTURE(first);
            CAPTURE(seed);
            Rng rng{seed, 0};
            Session session(model(), {});
            hear(session, all.first(first));
            size_t at = first;
            while (at < all.size()) {
                const size_t n =
                    seed == 0 ? all.size() - at : std::min<size_t>(rng.next() % 20000, all.size() - at);
                hear(session, all.subspan(at, n), at + n == all.size());
                at += n;
            }
            if (!expected) {
                n_past = session.n_past();
                expected = full_answer(session);
                continue;
            }
            CHECK(session.n_past() == n_past);
            CHECK(full_answer(session) == *expected);
        }
    }
}

TEST_CASE("a first piece of 16560 samples opens the stream by itself, a shorter one behind silence") {
    std::vector<float> sound(560, 0.0F);
    const std::vector<float> heard = random_sound(2 * kSecond);
    sound.insert(sound.end(), heard.begin(), heard.end());
    Session own(model(), {});  // brings the silence along
    hear(own, std::span(sound).first(16560));
    hear(own, std::span(sound).subspan(16560));
    Session filled(model(), {});
    hear(filled, std::span(heard).first(kSecond));
    hear(filled, std::span(heard).subspan(kSecond));
    CHECK(own.n_past() == filled.n_past());
    CHECK(full_answer(own) == full_answer(filled));
    Session shifted(model(), {});
    hear(shifted, std::span(sound).first(kSecond));
    hear(shifted, std::span(sound).subspan(kSecond));
    CHECK(full_answer(shifted) != full_answer(own));
}

TEST_CASE("the rest of a sound is read with the last piece, and the next sound begins anew") {
    const std::vector<float> sound = random_sound(kSecond + 8000);
    Session session(model(), {});
    hear(session, std::span(sound).first(kSecond));
    const int n_second = session.n_past();
    hear(session, std::span(sound).subspan(kSecond));
    CHECK(session.n_past() == n_second);  // half a second waits
    hear(session, {}, true);
    CHECK(session.n_past() > n_second);
    CHECK_THROWS_AS(session.prefill_stream(std::vector<Message>{say(Role::user, "x")}, {}, true),
                    ArgumentError);
    // What was heard before has no part in what follows the last piece.
    const auto n_past = session.n_past();
    hear(session, std::span(sound).first(kSecond));
    CHECK(session.n_past() == n_past + n_second - n_opening());
}

TEST_CASE("sound that an answer left behind is not part of the next turn") {
    const std::vector<float> sound = random_sound(2 * kSecond);
    const std::vector<float> rest = random_sound(9000, 7);
    Session with(model(), {});
    Session without(model(), {});
    for (Session* session : {&with, &without}) hear(*session, std::span(sound).first(kSecond));
    hear(with, rest);  // less than a second, and no last piece
    CHECK(full_answer(with) == full_answer(without));
    for (Session* session : {&with, &without}) hear(*session, sound, true);
    CHECK(with.n_past() == without.n_past());
    CHECK(full_answer(with) == full_answer(without));
}

TEST_CASE("a streamed prefill that fails changes nothing, the stream neither") {
    Session tried(model(), {.n_ctx = 120, .kv_type = {}});
    Session untouched(model(), {.n_ctx = 120, .kv_type = {}});
    const std::vector<float> sound = random_sound(4 * kSecond);
    const std::span<const float> all = sound;
    const std::vector<float> too_long = random_sound(20 * kSecond);
    std::vector<float> broken = random_sound(kSecond);
    broken.back() = std::numeric_limits<float>::infinity();
    for (Session* session : {&tried, &untouched}) tell(*session, Role::system, "Be brief.");
    CHECK_THROWS_AS(hear(tried, too_long), ContextFullError);  // before the first sound
    for (size_t second = 0; second < 4; ++second) {
        const auto piece = all.subspan(second * kSecond, second % 2 == 0 ? 12345 : kSecond);
        for (Session* session : {&tried, &untouched}) hear(*session, piece);
        CHECK_THROWS_AS(hear(tried, too_long), ContextFullError);
        CHECK_THROWS_AS(hear(tried, too_long, true), ContextFullError);
        CHECK_THROWS_AS(hear(tried, broken), ArgumentError);
        CHECK(tried.n_past() == untouched.n_past());
        CHECK(tried.n_round() == untouched.n_round());
    }
    for (Session* session : {&tried, &untouched}) hear(*session, {}, true);
    CHECK(full_answer(tried, 5) == full_answer(untouched, 5));
}

TEST_CASE("a snapshot before an answer comes back bit by bit, with the sound that goes on") {
    const std::vector<float> sound = random_sound(5 * kSecond);
    const std::span<const float> all = sound;
    Session session(model(), {});
    Session straight(model(), {});
    for (Session* s : {&session, &straight}) {
        tell(*s, Role::system, "Be brief.");
        hear(*s, all.first(2 * kSecond + 7000));
    }
    const auto place = session.snapshot();
    const int n_past = session.n_past();
    for (int round = 0; round < 3; ++round) {
        if (round > 0) full_answer(session, 10 * round);
        if (round > 1) hear(session, random_sound(kSecond, 30));
        session.restore(*place);
        CHECK(session.n_past() == n_past);
        CHECK_FALSE(session.next().has_value());
    }
    for (Session* s : {&session, &straight}) hear(*s, all.subspan(2 * kSecond + 7000), true);
    const Answer expected = full_answer(straight);
    CHECK(full_answer(session) == expected);
    session.restore(*place);
    hear(session, all.subspan(2 * kSecond + 7000), true);
    CHECK(full_answer(session) == expected);
}

TEST_CASE("a snapshot in the middle of an answer ends it, and its last token is not lost") {
    Session session(model(), {});
    session.prefill(kTalk, {});
    session.begin(greedy(20));
    for (int i = 0; i < 6; ++i) REQUIRE(session.next());
    const auto place = session.snapshot();
    for (int i = 0; i < 6; ++i) REQUIRE(session.next());
    session.restore(*place);
    CHECK_FALSE(session.next().has_value());
    Session other(model(), {});
    other.prefill(kTalk, {});
    answer(other, greedy(6));
    for (Session* s : {&session, &other}) tell(*s, Role::user, "and?");
    CHECK(session.n_past() == other.n_past());
    CHECK(full_answer(session) == full_answer(other));
}

TEST_CASE("a snapshot of what is gone, or of another session, is refused and changes nothing") {
    Session session(model(), windowed(200, 120));
    Session untouched(model(), windowed(200, 120));
    const auto both = [&](const auto& act) {
        act(session);
        act(untouched);
    };
    both([](Session& s) {
        tell(s, Role::system, "Be brief.");
        tell(s, Role::user, long_text(60));
    });
    const auto place = session.snapshot();
    CHECK_THROWS_AS(untouched.restore(*place), ArgumentError);
    both([](Session& s) {
        answer(s, greedy(20));
        for (int i = 0; i < 3; ++i) {
            tell(s, Role::user, long_text(60));
            answer(s, greedy(20));
        }
    });
    CHECK(session.n_past() < 200 + 60);
    CHECK_THROWS_AS(session.restore(*place), ArgumentError);
    CHECK(session.n_past() == untouched.n_past());
    CHECK(session.n_round() == untouched.n_round());
    both([](Session& s) { tell(s, Role::user, "x"); });
    CHECK(full_answer(session) == full_answer(untouched));
    session.reset();
    CHECK_THROWS_AS(session.restore(*place), ArgumentError);
}

TEST_CASE("beyond the window whole rounds leave, the oldest first, and the prompt stays") {
    Session session(model(), windowed(300, 200));
    tell(session, Role::system, long_text(50));
    const int n_system = session.n_past();
    std::vector<int> begins;  // of the rounds since the begin, in tokens that were ever read
    int n_read = n_system;
    size_t n_gone = 0;
    for (int round = 0; round < 25; ++round) {
        const int n_before = session.n_past();
        const int rounds_before = session.n_round();
        tell(session, Role::user, long_text(20 + 7 * (round % 5)));
        CAPTURE(round);
        // What was read is what the timings count; what left is the difference.
        n_read += session.timings().n_prompt;
        const int n_left = n_before + session.timings().n_prompt - session.n_past();
        begins.push_back(n_read);
        CHECK(n_left >= 0);
        const int rounds_gone = rounds_before + 1 - session.n_round();
        CHECK((n_left > 0) == (rounds_gone > 0));
        n_gone += static_cast<size_t>(rounds_gone);
        CHECK(session.n_round() >= 1);
        CHECK(session.n_past() <= 300);
        const int n_begin = session.n_past();
        CHECK(answer(session, greedy(10)).size() == 10);
        CHECK(session.n_past() > n_begin);
        n_read += session.n_past() - n_begin;
    }
    CHECK(n_gone > 10);
    CHECK(session.n_round() < 10);
    CHECK_THROWS_AS(Session(model(), windowed(100, 200)), ArgumentError);
    CHECK_THROWS_AS(Session(model(), windowed(100, -1)), ArgumentError);
    CHECK_THROWS_AS(Session(model(), windowed(200, 100, 100)), ArgumentError);
}

TEST_CASE("a round that goes on never leaves, nor does a window that is never reached change anything") {
    Session narrow(model(), windowed(60, 0));
    tell(narrow, Role::system, "Be brief.");
    const int n_system = narrow.n_past();
    tell(narrow, Role::user, long_text(100));
    CHECK(narrow.n_past() > n_system + 100);
    CHECK(narrow.n_round() == 1);
    answer(narrow, greedy(8));
    const int n_first = narrow.n_past();
    tell(narrow, Role::user, "second");
    CHECK(narrow.n_round() == 1);
    // Of what was read the answer's last token and the end of its turn belong to the round that left, and the
    // end of the system's turn stayed.
    const int n_end = static_cast<int>(model()->tokenizer().encode("<|im_end|>\n", true).size());
    CHECK(narrow.n_past() == n_system + n_end + narrow.timings().n_prompt - n_end - 1);
    CHECK(narrow.n_past() < n_first);
    Session wide(model(), windowed(5000, 10));
    Session none(model(), {});
    for (Session* s : {&wide, &none}) {
        talk(*s);
        hear(*s, random_sound(kSecond), true);
    }
    CHECK(full_answer(wide) == full_answer(none));
}

TEST_CASE("a saved conversation goes on in another session bit by bit, with the sound that goes on") {
    const TempFolder folder;
    const auto path = folder.path() / "talk.session";
    Session session(model(), {});
    talk(session);
    session.save(path);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);  // no draft stays
    session.save(path);                                                                 // over what is there
    const std::vector<float> rest = random_sound(2 * kSecond, 8);
    Session fresh(model(), {});
    Session used(model(), {.n_ctx = 2048, .kv_type = {}});
    tell(used, Role::user, "something else");
    hear(used, random_sound(3 * kSecond, 21));
    answer(used, greedy(20));
    hear(used, random_sound(5000, 22));
    for (Session* other : {&fresh, &used}) {
        other->load(path);
        CHECK(other->n_past() == session.n_past());
        CHECK(other->n_round() == session.n_round());
        CHECK(saved(*other) == saved(session));
    }
    for (Session* s : {&session, &fresh, &used}) hear(*s, rest, true);
    const Answer expected = full_answer(session);
    for (Session* other : {&fresh, &used}) CHECK(full_answer(*other) == expected);
    const Image image = random_image(60, 60);
    const Message more{Role::user, {image_part(image), text_part("and this?")}};
    for (Session* s : {&session, &fresh}) s->prefill(std::span(&more, 1), {});  // numbered after the first
    CHECK(full_answer(session) == full_answer(fresh));
}

TEST_CASE("an answer that was cut is saved with the token that was not read") {
    Session session(model(), {});
    session.prefill(kTalk, {});
    session.begin(greedy(20));
    for (int i = 0; i < 6; ++i) REQUIRE(session.next());
    CHECK_THROWS_AS(saved(session), ArgumentError);  // it goes on
    session.interrupt();
    CHECK_FALSE(session.next().has_value());
    Session other(model(), {});
    load_bytes(other, saved(session));
    for (Session* s : {&session, &other}) tell(*s, Role::user, "well?");
    CHECK(session.n_past() == other.n_past());
    CHECK(full_answer(session) == full_answer(other));
}

TEST_CASE("files that cannot be written or read are refused with their path, and the session with them") {
    const TempFolder folder;
    Session session(model(), {});
    session.prefill(kTalk, {});
    CHECK_THROWS_WITH_AS(session.save(folder.path() / "nowhere" / "x.session"),
                         doctest::Contains("x.session"), Error);
    CHECK(answer(session) == fresh_answer(kTalk));
    CHECK_THROWS_AS(session.load(folder.path() / "missing.session"), ModelFileError);
    CHECK_THROWS_AS(session.load(folder.path()), ModelFileError);
    CHECK_THROWS_AS(session.load(folder.write("empty.session", "")), ModelFileError);
    CHECK_THROWS_WITH_AS(session.load(folder.write("short.session", "12345678")),
                         doctest::Contains("short.session"), ModelFileError);
    CHECK_THROWS_WITH_AS(session.load(folder.write("other.session", std::string(100, 'x'))),
                         doctest::Contains("another file"), ModelFileError);
    CHECK(session.n_past() == 0);
    session.prefill(kTalk, {});
    CHECK(answer(session) == fresh_answer(kTalk));
}

TEST_CASE("a conversation of another model, kind or version is refused by name") {
    Session session(model(), {});
    session.prefill(kTalk, {});
    const std::string bytes = saved(session);
    Session other(load_tiny({.has_audio = false, .n_ctx = 16384}), {});
    CHECK_THROWS_WITH_AS(load_bytes(other, bytes), doctest::Contains("expected a conversation with Tiny"),
                         ModelFileError);
    for (const size_t at : {size_t{8}, size_t{12}}) {  // version, kind
        std::string lie = bytes;
        lie[at] = 2;
        sign(lie);
        CHECK_THROWS_WITH_AS(load_bytes(session, lie), doctest::Contains("version 1 and kind 1"),
                             ModelFileError);
    }
    Session small(model(), {.n_ctx = session.n_ctx() / 1000, .kv_type = {}});
    CHECK_THROWS_AS(load_bytes(small, bytes), ModelFileError);
    Session half(model(), {.n_ctx = 0, .kv_type = GGML_TYPE_F16});
    CHECK_THROWS_AS(load_bytes(half, bytes), ModelFileError);
    std::string longer = bytes;
    longer.insert(longer.size() - kSumBytes, 5, '\0');
    sign(longer);
    CHECK_THROWS_WITH_AS(load_bytes(session, longer), doctest::Contains("5 bytes more"), ModelFileError);
}

TEST_CASE("a saved conversation that is cut or damaged anywhere is refused") {
    Session session(model(), {});
    talk(session);
    const std::string bytes = saved(session);
    Session other(model(), {});
    for (size_t n = 0; n < bytes.size(); n += n < 60 ? 1 : 509) {
        CAPTURE(n);
        CHECK_THROWS_AS(load_bytes(other, std::string_view(bytes).substr(0, n)), ModelFileError);
        if (n <= kSumBytes) continue;
        std::string cut = bytes.substr(0, n);  // and one that was cut before it was summed
        sign(cut);
        CHECK_THROWS_AS(load_bytes(other, cut), ModelFileError);
    }
    for (size_t at = 0; at < bytes.size(); at += 97) {
        CAPTURE(at);
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
        CHECK_THROWS_AS(load_bytes(other, flipped), ModelFileError);
    }
    CHECK(other.n_past() == 0);
    load_bytes(other, bytes);
    CHECK(saved(other) == bytes);
}

TEST_CASE("damaged conversations with a right checksum are refused or work, and a session outlives them") {
    Session session(model(), {});
    talk(session);
    const std::string bytes = saved(session);
    // Behind title, cells and logits: where the numbers are.
    const size_t n_cell_bytes = kTinyLayers * 2 * kTinyHead * kTinyHeadsKv * sizeof(float);
    const size_t n_title = 8 + 4 + 4 + 8 + 8 + model()->config().name.size();
    const size_t begin = n_title + 4 + static_cast<size_t>(session.n_past()) * n_cell_bytes + 8 +
                         static_cast<size_t>(model()->config().llm.n_vocab) * sizeof(float);
    Rng rng{12, 0};
    Session other(model(), {});
    const std::vector<int32_t> expected = fresh_answer(kTalk);
    const std::vector<float> more = random_sound(kSecond);
    int n_refused = 0;
    for (int i = 0; i < 500; ++i) {
        CAPTURE(i);
        bool is_loaded = false;
        try {
            const std::string now = damaged(bytes, begin, rng);
            load_bytes(other, now);
            is_loaded = true;
        } catch (const ModelFileError&) {
            ++n_refused;
            REQUIRE(other.n_past() == 0);
        } catch (const std::exception& e) {
            FAIL_CHECK(std::string(e.what()));
        }
        try {
            if (is_loaded) {
                hear(other, more);
                answer(other, greedy(3));
            }
        } catch (const Error&) {  // numbers that are none compute none
        }
        if (i % 50 != 0) continue;
        other.reset();
        other.prefill(kTalk, {});
        CHECK(answer(other) == expected);
    }
    CHECK(n_refused > 50);
    CHECK(n_refused < 490);
}

TEST_CASE("a stream of sound in a file for a model without ears is refused as a file") {
    const auto deaf = load_tiny({.has_audio = false});
    Session session(deaf, {});
    session.prefill(kTalk, {});
    std::string bytes = saved(session);
    bytes[bytes.size() - kSumBytes - 1] = 1;  // there is a stream
    sign(bytes);
    CHECK_THROWS_AS(load_bytes(session, bytes), ModelFileError);
}

TEST_CASE("an interrupted prefill can be given again when a window forgets, too") {
    const auto ask = [](Session& session) {
        tell(session, Role::system, "Be brief.");
        for (int i = 0; i < 10; ++i) {
            tell(session, Role::user, long_text(160));
            answer(session, greedy(2));
        }
    };
    const std::string more = long_text(300);
    Session whole(model(), windowed(2000, 100));
    ask(whole);
    tell(whole, Role::user, more);
    const Answer expected = full_answer(whole);
    int n_interrupted = 0;
    for (int wait_us = 0; wait_us < 4000; wait_us += 250) {
        CAPTURE(wait_us);
        Session session(model(), windowed(2000, 100));
        ask(session);
        std::jthread interrupter([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(wait_us));
            session.interrupt();
        });
        try {
            tell(session, Role::user, more);
        } catch (const InterruptedError&) {
            ++n_interrupted;
            interrupter.join();
            tell(session, Role::user, more);
        }
        if (interrupter.joinable()) interrupter.join();
        CHECK(full_answer(session) == expected);
    }
    WARN(n_interrupted > 0);  // how many there are is chance
}
