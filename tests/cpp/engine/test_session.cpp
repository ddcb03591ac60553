#include "engine/session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
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
    CHECK_THROWS_AS(chat.prefill_chat(kTalk, {}), ArgumentError);
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
