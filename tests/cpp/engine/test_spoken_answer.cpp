#include "engine/spoken_answer.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/stopwatch.h"
#include "engine/speech_decoder.h"
#include "engine/tiny_speech.h"

using namespace minicpmo;

namespace {

struct Talk {
    explicit Talk(std::shared_ptr<const Model> of = tiny_speaker())
        : model(std::move(of)), session(model, {}), decoder(model, model->speech().voice(""), {.seed = 1}) {
        ask();
    }
    void ask() { session.prefill(std::vector<Message>{say(Role::user, "hello")}, {}); }

    std::shared_ptr<const Model> model;
    Session session;
    SpeechDecoder decoder;
};

struct Said {
    std::vector<int32_t> ids;
    std::string text;
    std::vector<float> samples;
    bool has_sound_before_end = false;
};

Said listen(SpokenAnswer& answer) {
    Said said;
    while (const auto piece = answer.next()) {
        if (piece->text) {
            CHECK(piece->samples.empty());
            if (piece->text->id >= 0) said.ids.push_back(piece->text->id);
            said.text += piece->text->text;
            said.has_sound_before_end |= !said.samples.empty();
        } else {
            CHECK_FALSE(piece->samples.empty());
            said.samples.insert(said.samples.end(), piece->samples.begin(), piece->samples.end());
        }
    }
    return said;
}

Said answer_aloud(Talk& talk, int n, const SpeechStreamOptions& options, SpeechTimings* timings = nullptr) {
    SpokenAnswer answer(talk.model, talk.session, talk.decoder, greedy(n), options);
    Said said = listen(answer);
    CHECK_FALSE(answer.next());
    if (timings != nullptr) *timings = answer.timings();
    return said;
}

}  // namespace

TEST_CASE("a spoken answer says what a written one says") {
    for (const bool is_whole : {false, true}) {
        for (const bool has_threads : {false, true}) {
            Talk talk;
            SpeechTimings t;
            const Said said =
                answer_aloud(talk, 45, {.is_whole = is_whole, .has_threads = has_threads, .seed = 2}, &t);
            CHECK(talk.session.stop_reason() == "length");
            CHECK(said.samples.size() == n_samples_of(t.n_code, !is_whole));
            CHECK((!is_whole && !has_threads) <= said.has_sound_before_end);
            Talk written;
            GenerateOptions options = greedy(45);
            options.use_tts = true;
            options.is_speakable = !is_whole;  // what is said at once avoids what no voice can say
            CHECK(answer(written.session, options) == said.ids);
        }
    }
}

TEST_CASE("threads change no sample of a spoken answer") {
    for (const bool is_whole : {false, true}) {
        Talk a;
        Talk b;
        const Said expected = answer_aloud(a, 45, {.is_whole = is_whole, .has_threads = false, .seed = 2});
        CHECK(answer_aloud(b, 45, {.is_whole = is_whole, .seed = 2}).samples == expected.samples);
        CHECK_FALSE(expected.samples.empty());
    }
}

TEST_CASE("an answer of one token, whose state is never known, still ends") {
    for (const bool is_whole : {false, true}) {
        for (const bool has_threads : {false, true}) {
            Talk talk;
            SpeechTimings t;
            const Said said =
                answer_aloud(talk, 1, {.is_whole = is_whole, .has_threads = has_threads, .seed = 2}, &t);
            CHECK(said.ids.size() == 1);
            CHECK(said.samples.size() == n_samples_of(t.n_code, !is_whole && t.n_code > 0));
        }
    }
}

TEST_CASE("tts_eos ends a spoken answer, and not a written one") {
    Talk talk;
    GenerateOptions options = greedy(12);
    options.ignore_stop = false;
    options.use_tts = true;
    const std::vector<int32_t> ids = answer(talk.session, options);
    REQUIRE(ids.size() > 4);
    TempFolder folder;
    GgufBuilder builder = tiny_model({.has_vision = false, .has_audio = false, .has_speech = true});
    builder.add("minicpmo.tokens.tts_eos", static_cast<uint32_t>(ids[4]));
    const auto n_before = static_cast<size_t>(std::find(ids.begin(), ids.end(), ids[4]) - ids.begin());
    const auto path = folder.write("eos.gguf", builder.build());
    Talk other(Model::load(path, {.backend = {.device = "cpu", .n_threads = 1}}));
    SpokenAnswer spoken(other.model, other.session, other.decoder, options, {.seed = 1});
    const Said said = listen(spoken);
    CHECK(said.ids == std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n_before)));
    CHECK(other.session.stop_reason() == "stop");
    other.session.reset();
    other.ask();
    CHECK(answer(other.session, options) == ids);
}

TEST_CASE("an interruption from another thread ends text and sound, and both speak again") {
    Talk reference;
    const std::vector<float> expected = answer_aloud(reference, 20, {.seed = 2}).samples;
    for (const bool has_threads : {false, true}) {
        for (const int wait_ms : {0, 5, 40}) {
            Talk talk;
            {
                SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(3000),
                                    {.has_threads = has_threads, .seed = 1});
                std::thread other([&] {
                    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
                    spoken.interrupt();
                });
                CHECK_THROWS_AS(listen(spoken), InterruptedError);
                other.join();
                CHECK_THROWS_AS(spoken.next(), InterruptedError);
            }
            talk.session.reset();
            talk.ask();
            CHECK(answer_aloud(talk, 20, {.has_threads = has_threads, .seed = 2}).samples == expected);
        }
    }
}

TEST_CASE("an interruption of the session alone ends the answer too, and does not hang") {
    Talk talk;
    SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(3000), {.seed = 1});
    for (int i = 0; i < 15; ++i) REQUIRE(spoken.next());
    talk.session.interrupt();
    CHECK_THROWS_AS(listen(spoken), InterruptedError);
    CHECK_THROWS_AS(spoken.next(), InterruptedError);
}

TEST_CASE("an answer that is dropped in the middle leaves session and decoder usable") {
    Talk reference;
    const std::vector<float> expected = answer_aloud(reference, 20, {.seed = 2}).samples;
    for (const bool has_threads : {false, true}) {
        for (const int n_piece : {0, 1, 25, 60}) {
            Talk talk;
            {
                SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(3000),
                                    {.has_threads = has_threads, .seed = 1});
                for (int i = 0; i < n_piece; ++i) REQUIRE(spoken.next());
            }
            talk.session.reset();
            talk.ask();
            CHECK(answer_aloud(talk, 20, {.has_threads = has_threads, .seed = 2}).samples == expected);
        }
    }
}

TEST_CASE("a caller slower than the speech gets all of it") {
    Talk talk;
    SpeechTimings t;
    SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(200), {.seed = 2});
    size_t n_sample = 0;
    for (int i = 0; const auto piece = spoken.next(); ++i) {
        n_sample += piece->samples.size();
        if (i % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(n_sample == n_samples_of(spoken.timings().n_code, true));
}

TEST_CASE("what fails while speaking comes out of next(), and again") {
    const auto model =
        load_tiny({.has_vision = false, .has_audio = false, .has_speech = true, .n_ctx_speech = 64});
    for (const bool has_threads : {false, true}) {
        Talk talk(model);
        SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(100),
                            {.is_whole = true, .has_threads = has_threads});
        CHECK_THROWS_AS(listen(spoken), ArgumentError);  // more tokens than its context holds
        CHECK_THROWS_AS(spoken.next(), ArgumentError);
    }
}

TEST_CASE("a session that begins again under an answer is noticed") {
    Talk talk;
    SpokenAnswer spoken(talk.model, talk.session, talk.decoder, greedy(3000), {.seed = 1});
    for (int n = 0; n < 25;) n += spoken.next()->text ? 1 : 0;
    talk.session.begin(greedy(3000));
    CHECK_THROWS_AS(listen(spoken), ArgumentError);
}

TEST_CASE("a full context ends the text with an error, and what was written is still said") {
    Talk talk;
    Session small(talk.model, {64, std::nullopt});
    small.prefill(std::vector<Message>{say(Role::user, "hello")}, {});
    SpokenAnswer spoken(talk.model, small, talk.decoder, greedy(3000), {.seed = 1});
    CHECK_THROWS_AS(listen(spoken), ContextFullError);
    CHECK_FALSE(listen(spoken).samples.empty());
    CHECK(small.stop_reason() == "length");
}

TEST_CASE("an answer needs a prefill, and leaves the decoder alone without one") {
    Talk talk;
    talk.session.reset();
    CHECK_THROWS_AS(SpokenAnswer(talk.model, talk.session, talk.decoder, greedy(3), {}), ArgumentError);
    talk.ask();
    CHECK_FALSE(answer_aloud(talk, 20, {.seed = 2}).samples.empty());
}
