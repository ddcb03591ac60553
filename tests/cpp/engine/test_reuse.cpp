// What a session holds already is not read again, and what it then says is what a fresh one says.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "core/temp_folder.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

// Rows read in batches of other sizes round otherwise: sums of float32 in another order, a few parts in 1e7
// each, over two layers of a model whose states are about 1.
constexpr double kRounding = 2e-5;

const std::shared_ptr<const Model>& model() {
    static const std::shared_ptr<const Model> shared = load_tiny({.n_ctx = 16384});
    return shared;
}

struct Said {
    std::vector<int32_t> ids;
    std::vector<float> hidden;
};

Said hear_out(Session& session, int n = 12) {
    GenerateOptions options = greedy(n);
    options.keep_hidden = true;
    Said said;
    said.ids = answer(session, options);
    said.hidden = session.answer_hidden().data;
    return said;
}

void check_same(const Said& got, const Said& expected) {
    CHECK(got.ids == expected.ids);
    REQUIRE(got.hidden.size() == expected.hidden.size());
    double difference = 0;
    for (size_t i = 0; i < got.hidden.size(); ++i) {
        difference = std::max(difference, std::abs(double{got.hidden[i]} - expected.hidden[i]));
    }
    CHECK(difference < kRounding);
}

Said said_afresh(const std::vector<Message>& messages, const PromptOptions& options = {}, int n = 12) {
    Session session(model(), {});
    session.prefill_chat(messages, options);
    CHECK(session.timings().n_reused == 0);
    return hear_out(session, n);
}

Prompt prompt_of(const std::vector<Message>& messages, const PromptOptions& options = {}) {
    return PromptBuilder(*model()).build(messages, options);
}

// Tokens that two prompts begin with.
int n_common(const Prompt& a, const Prompt& b) {
    return static_cast<int>(std::ranges::mismatch(a.ids, b.ids).in1 - a.ids.begin());
}

std::string text_of(const std::vector<int32_t>& ids) { return model()->tokenizer().decode(ids, true); }

// Reads messages into a session, and checks what was read and what is said next.
void check_reuse(Session& session, const std::vector<Message>& messages, int n_reused,
                 const PromptOptions& options = {}) {
    session.prefill_chat(messages, options);
    const auto n = static_cast<int>(prompt_of(messages, options).ids.size());
    CHECK(session.timings().n_reused == n_reused);
    CHECK(session.timings().n_prompt == n - n_reused);
    CHECK(session.n_past() == n);
    check_same(hear_out(session), said_afresh(messages, options));
}

}  // namespace

TEST_CASE("a conversation that goes on reads what is new") {
    const Image image = random_image(90, 40);
    std::vector<Message> talk = {say(Role::system, "Be brief."),
                                 {Role::user, {image_part(image), text_part("what is this?")}}};
    Session session(model(), {});
    session.prefill_chat(talk, {});
    CHECK(session.timings().n_reused == 0);
    const int n_slice = session.timings().media.n_slice;
    CHECK(n_slice > 1);
    for (int turn = 0; turn < 3; ++turn) {
        CAPTURE(turn);
        const Prompt before = prompt_of(talk);
        const std::string said = text_of(hear_out(session).ids);
        talk.push_back(say(Role::assistant, said));
        talk.push_back(say(Role::user, "and then? " + std::string(static_cast<size_t>(turn), 'x')));
        // An earlier answer stands without the empty thoughts that opened it, so it is read once more.
        const int n_reused = n_common(before, prompt_of(talk));
        CHECK(n_reused > static_cast<int>(before.ids.size()) - 10);
        session.prefill_chat(talk, {});
        CHECK(session.timings().n_reused == n_reused);
        CHECK(session.timings().n_prompt == static_cast<int>(prompt_of(talk).ids.size()) - n_reused);
        CHECK(session.timings().media.n_slice == 0);
        Session fresh(model(), {});
        fresh.prefill_chat(talk, {});
        CHECK(fresh.n_past() == session.n_past());
        check_same(hear_out(session), hear_out(fresh));
        session.prefill_chat(talk, {});
    }
}

TEST_CASE("an answer whose thoughts stay is not read again") {
    // The template keeps the thoughts of answers behind the last question.
    PromptOptions closed;
    closed.add_generation_prompt = false;
    Session session(model(), {});
    const std::vector<Message> question = {say(Role::user, "hello")};
    session.prefill_chat(question, {});
    const std::vector<int32_t> ids = answer(session, greedy(8));
    const std::vector<Message> answered = {question[0], say(Role::assistant, text_of(ids))};
    const Prompt prompt = prompt_of(answered, closed);
    const Prompt opened = prompt_of(question);
    REQUIRE(n_common(opened, prompt) == static_cast<int>(opened.ids.size()));
    std::vector<int32_t> held = opened.ids;
    held.insert(held.end(), ids.begin(), ids.end() - 1);  // the last one was not read
    const auto n_held = static_cast<int>(std::ranges::mismatch(held, prompt.ids).in1 - held.begin());
    session.prefill_chat(answered, closed);
    CHECK(session.timings().n_reused == n_held);
    CHECK(n_held >= static_cast<int>(opened.ids.size()));
}

TEST_CASE("the same messages again read nothing, and say the same to the bit") {
    const Image image = random_image(60, 60);
    const std::vector<Message> talk = {{Role::user, {text_part("look"), image_part(image)}}};
    Session session(model(), {});
    session.prefill_chat(talk, {});
    const Said first = hear_out(session);
    const auto n = static_cast<int>(prompt_of(talk).ids.size());
    check_reuse(session, talk, n);
    check_same(first, said_afresh(talk));
    session.prefill_chat(talk, {});
    const Said again = hear_out(session);
    CHECK(again.ids == first.ids);
    CHECK(again.hidden == first.hidden);
    // Only the prompt that was read last is known to its end.
    PromptOptions closed;
    closed.add_generation_prompt = false;
    session.prefill_chat(talk, closed);
    CHECK(session.timings().n_prompt == 1);
    check_reuse(session, talk, static_cast<int>(prompt_of(talk, closed).ids.size()));
    GenerateOptions sampled = greedy(20);
    sampled.sampling = {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .seed = 4};
    session.prefill_chat(talk, {});
    Session fresh(model(), {});
    fresh.prefill_chat(talk, {});
    CHECK(answer(session, sampled) == answer(fresh, sampled));
}

TEST_CASE("a shorter conversation than before, and another one, keep what they share") {
    const std::vector<Message> talk = {say(Role::system, "Be brief."), say(Role::user, "one"),
                                       say(Role::assistant, "two"), say(Role::user, "three")};
    const std::vector<Message> shorter(talk.begin(), talk.begin() + 2);
    std::vector<Message> other = talk;
    other[0] = say(Role::system, "Be long.");
    Session session(model(), {});
    session.prefill_chat(talk, {});
    check_reuse(session, shorter, n_common(prompt_of(talk), prompt_of(shorter)));
    session.prefill_chat(talk, {});
    check_reuse(session, other, n_common(prompt_of(talk), prompt_of(other)));
}

TEST_CASE("a picture is the same if all of its pixels are") {
    const Image image = random_image(60, 60);
    Image other = image;
    other.pixels[60 * 60 + 7] ^= 0x80;
    const auto talk = [](const Image& shown) {
        return std::vector<Message>{{Role::user, {image_part(shown), text_part("what?")}}};
    };
    Session session(model(), {});
    session.prefill_chat(talk(image), {});
    const Prompt prompt = prompt_of(talk(image));
    REQUIRE(prompt.ids == prompt_of(talk(other)).ids);
    check_reuse(session, talk(other), prompt.runs[0].begin);
    CHECK(session.timings().media.n_slice == static_cast<int>(prompt.runs.size()));
    // The same bytes with other sides.
    Image turned(80, 45);
    std::copy(image.pixels.begin(), image.pixels.end(), turned.pixels.begin());
    session.prefill_chat(talk(image), {});
    check_reuse(session, talk(turned), prompt.runs[0].begin);
}

TEST_CASE("of several slices those before the first other one stay") {
    const Image image = random_image(140, 60);
    Image other = image;
    other.pixels.back() ^= 0xff;  // in the last slice, and in the overview
    const std::vector<Message> talk = {{Role::user, {image_part(image)}}};
    const std::vector<Message> changed = {{Role::user, {image_part(other)}}};
    Session session(model(), {});
    session.prefill_chat(talk, {});
    REQUIRE(prompt_of(talk).runs.size() > 2);
    check_reuse(session, changed, prompt_of(talk).runs[0].begin);
    // Read into the middle of a slice's rows: that slice is encoded again, and only it.
    PromptOptions plain;
    plain.add_generation_prompt = false;
    session.prefill_chat(talk, {});
    session.prefill_chat(talk, plain);
    CHECK(session.timings().media.n_slice == 0);
}

TEST_CASE("a sound is the same if all of its piece is") {
    std::vector<float> sound = random_sound(16000 * 31);
    const auto talk = [&](const PromptOptions& options = {}) {
        const std::vector<Message> messages = {{Role::user, {text_part("listen"), audio_part(sound)}}};
        return std::pair(messages, options);
    };
    const auto [messages, options] = talk();
    Session session(model(), {});
    session.prefill_chat(messages, options);
    const Prompt prompt = prompt_of(messages);
    REQUIRE(prompt.runs.size() == 2);
    sound.back() += 0.1F;  // in the second piece
    check_reuse(session, messages, prompt.runs[1].begin);
    CHECK(session.timings().media.n_audio == prompt.runs[1].n);
    sound.front() += 0.1F;
    check_reuse(session, messages, prompt.runs[0].begin);
    // Other blocks of attention make other embeddings of the same samples.
    PromptOptions whole;
    whole.hears_whole = true;
    check_reuse(session, messages, prompt.runs[0].begin, whole);
}

TEST_CASE("turn by turn and whole, a session holds the same rows") {
    const std::vector<float> sound = random_sound(20000);
    const Image image = random_image(60, 60);
    const std::vector<Message> talk = {say(Role::system, "Be brief."),
                                       {Role::user, {image_part(image), audio_part(sound)}}};
    Session session(model(), {});
    session.prefill(talk, {});
    const int n_held = session.n_past();
    check_reuse(session, talk, n_held);
    // Streamed sound is heard otherwise.
    Session streamed(model(), {});
    streamed.prefill_stream(talk, {}, true);
    check_reuse(streamed, talk, prompt_of(talk).runs.back().begin);
}

TEST_CASE("what a window has moved is read again, and what a file held too") {
    std::vector<Message> talk = {say(Role::system, "Be brief.")};
    Session session(model(), {.n_ctx = 0, .kv_type = {}, .window = RoundWindow{150, 100}});
    session.prefill(talk, {});
    const int n_prefix = session.n_past();
    int n_before = 0;
    do {
        n_before = session.n_past();
        const Message message = say(Role::user, "hello");
        session.prefill(std::span(&message, 1), {});
        talk.push_back(message);
        answer(session, greedy(3));
    } while (session.n_past() > n_before);
    check_reuse(session, {talk[0], talk[1]}, n_prefix + 2);  // what ends that turn stays, too

    const TempFolder folder;
    Session saved(model(), {});
    saved.prefill(talk, {});
    saved.save(folder.path() / "talk.session");
    Session loaded(model(), {});
    loaded.load(folder.path() / "talk.session");
    check_reuse(loaded, talk, 0);
}

TEST_CASE("messages that are refused leave a session as it was, a failure leaves it empty") {
    const std::vector<Message> talk = {say(Role::user, "hello there")};
    const std::string text(17000, 'a');
    Session session(model(), {});
    session.prefill(talk, {});
    const int n_past = session.n_past();
    CHECK_THROWS_AS(session.prefill_chat(std::vector<Message>{say(Role::user, text)}, {}), ContextFullError);
    CHECK_THROWS_AS(session.prefill_chat(std::vector<Message>{say(Role::assistant, "x")}, {}), ArgumentError);
    CHECK_THROWS_AS(session.prefill_chat({}, {}), ArgumentError);
    CHECK(session.n_past() == n_past);
    CHECK(answer(session).size() == 12);

    const std::vector<Message> long_one = {say(Role::user, text.substr(0, 12000))};
    std::atomic<bool> has_begun = false;
    std::atomic<bool> is_over = false;
    std::jthread interrupter([&] {
        while (!is_over) {
            session.interrupt();
            has_begun = true;
            has_begun.notify_one();
        }
    });
    has_begun.wait(false);
    CHECK_THROWS_AS(session.prefill_chat(long_one, {}), InterruptedError);
    is_over = true;
    interrupter.join();
    CHECK(session.n_past() == 0);
    CHECK_THROWS_AS(session.begin(greedy()), ArgumentError);
    check_reuse(session, talk, 0);
}

TEST_CASE("a place from before cannot come back when its rows went") {
    const std::vector<Message> talk = {say(Role::user, "one"), say(Role::assistant, "two"),
                                       say(Role::user, "three")};
    Session session(model(), {});
    session.prefill_chat(talk, {});
    const auto place = session.snapshot();
    answer(session);
    session.restore(*place);
    session.prefill_chat(std::vector<Message>{talk[0]}, {});
    CHECK_THROWS_AS(session.restore(*place), ArgumentError);
    const auto early = session.snapshot();
    hear_out(session);
    session.restore(*early);
    check_same(hear_out(session), said_afresh({talk[0]}));
}

TEST_CASE("after a whole conversation the turns go on") {
    const std::vector<Message> talk = {say(Role::user, "one")};
    const Message more = say(Role::user, "two");
    Session session(model(), {});
    session.prefill_chat(std::vector<Message>{say(Role::user, "one and a half")}, {});
    answer(session);
    Session fresh(model(), {});
    for (Session* each : {&session, &fresh}) {
        each->prefill_chat(talk, {});
        answer(*each, greedy(4));
        each->prefill(std::span(&more, 1), {});
    }
    CHECK(session.n_past() == fresh.n_past());
    check_same(hear_out(session), hear_out(fresh));
}

TEST_CASE("a conversation that goes on has the speaker's state of a fresh one") {
    const auto speaks = load_tiny({.has_vision = false, .has_audio = false, .has_books = true});
    PromptOptions aloud;
    aloud.use_tts = true;
    const auto close = [](const std::vector<float>& a, const std::vector<float>& b) {
        REQUIRE(a.size() == b.size());
        double difference = 0;
        for (size_t i = 0; i < a.size(); ++i)
            difference = std::max(difference, std::abs(double{a[i]} - b[i]));
        return difference < kRounding;
    };
    std::vector<Message> talk = {say(Role::user, "hello")};
    Session session(speaks, {});
    session.prefill_chat(talk, aloud);
    const std::vector<float> first = session.speaker();
    CHECK(first.size() == kTinyEmbd);
    // The state is that of the token <|spk|>, as reading the whole prompt at once computes it.
    const Prompt prompt = PromptBuilder(*speaks).build(talk, aloud);
    const auto at = std::ranges::find(prompt.ids, speaks->config().tokens.spk) - prompt.ids.begin();
    REQUIRE(at + 2 == std::ssize(prompt.ids));
    const auto whole = speaks->forward({.ids = prompt.ids, .embeds = {}});
    const std::span<const float> row = whole.hidden.row(at);
    CHECK(close(first, {row.begin(), row.end()}));

    answer(session, greedy(6));
    talk.push_back(say(Role::assistant, "well then"));
    talk.push_back(say(Role::user, "and now?"));
    session.prefill_chat(talk, aloud);
    CHECK(session.timings().n_reused > 0);
    CHECK(session.n_past() == std::ssize(PromptBuilder(*speaks).build(talk, aloud).ids));
    Session fresh(speaks, {});
    fresh.prefill_chat(talk, aloud);
    CHECK(fresh.timings().n_reused == 0);
    CHECK(close(session.speaker(), fresh.speaker()));
    CHECK_FALSE(close(session.speaker(), first));
    CHECK(answer(session, greedy(6)) == answer(fresh, greedy(6)));

    // The same once more is the same to the bit; only the speaker's token and what follows it are read.
    const std::vector<float> before = session.speaker();
    session.prefill_chat(talk, aloud);
    CHECK(session.timings().n_prompt == 2);
    CHECK(session.speaker() == before);
    session.prefill_chat(talk, {});  // an answer that is not said has no voice
    CHECK(session.speaker().empty());
}
