#include <doctest/doctest.h>
#include <minicpmo_speech.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/c_handle.h"
#include "api/usage_in_c.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

using ModelHandle = Handle<minicpmo_model, minicpmo_model_free>;
using SessionHandle = Handle<minicpmo_session, minicpmo_session_free>;
using VoiceHandle = Handle<minicpmo_voice, minicpmo_voice_free>;
using DecoderHandle = Handle<minicpmo_speech_decoder, minicpmo_speech_decoder_free>;
using AnswerHandle = Handle<minicpmo_spoken_answer, minicpmo_spoken_answer_free>;

ModelHandle load(bool has_speech = true, bool has_books = false) {
    const TinyModelFile file(
        {.has_vision = false, .has_audio = false, .has_speech = has_speech, .has_books = has_books});
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    params.n_threads = 1;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(file.path().string().c_str(), &params, &model) == MINICPMO_OK);
    return ModelHandle(model);
}

VoiceHandle voice_of(const ModelHandle& model, const char* name) {
    minicpmo_voice* voice = nullptr;
    REQUIRE(minicpmo_voice_of_model(model.get(), name, &voice) == MINICPMO_OK);
    return VoiceHandle(voice);
}

DecoderHandle decoder_of(const ModelHandle& model, const char* name = nullptr) {
    minicpmo_speech_decoder* decoder = nullptr;
    REQUIRE(minicpmo_speech_decoder_create(model.get(), voice_of(model, name).get(), nullptr, &decoder) ==
            MINICPMO_OK);
    return DecoderHandle(decoder);
}

void ask(const SessionHandle& session) {
    const std::string text = "hello";
    auto part = sized<minicpmo_part>();
    part.kind = MINICPMO_PART_TEXT;
    part.text = text.data();
    part.n_text = text.size();
    const minicpmo_message message = {sizeof message, MINICPMO_ROLE_USER, &part, 1};
    REQUIRE(minicpmo_session_reset(session.get()) == MINICPMO_OK);
    REQUIRE(minicpmo_session_prefill(session.get(), &message, 1, nullptr) == MINICPMO_OK);
}

SessionHandle open_session(const ModelHandle& model) {
    minicpmo_session* session = nullptr;
    REQUIRE(minicpmo_session_create(model.get(), nullptr, &session) == MINICPMO_OK);
    SessionHandle handle(session);
    ask(handle);
    return handle;
}

AnswerHandle begin(const SessionHandle& session, const DecoderHandle& decoder, int n, bool has_threads = true,
                   bool is_whole = false) {
    minicpmo_generate_params text;
    REQUIRE(minicpmo_generate_params_default(&text, sizeof text) == MINICPMO_OK);
    text.temperature = 0;
    text.max_new_tokens = n;
    text.ignore_stop = 1;
    minicpmo_speech_params speech;
    REQUIRE(minicpmo_speech_params_default(&speech, sizeof speech) == MINICPMO_OK);
    speech.seed = 2;
    speech.has_threads = has_threads ? 1 : 0;
    speech.is_whole = is_whole ? 1 : 0;
    minicpmo_spoken_answer* answer = nullptr;
    REQUIRE(minicpmo_spoken_answer_begin(session.get(), decoder.get(), &text, &speech, &answer) ==
            MINICPMO_OK);
    return AnswerHandle(answer);
}

struct Said {
    int n_token = 0;
    std::vector<float> samples;
    int32_t end = MINICPMO_END_NOT_YET;
};

Said listen(const AnswerHandle& answer) {
    Said said;
    auto piece = sized<minicpmo_spoken_piece>();
    while (minicpmo_spoken_answer_next(answer.get(), &piece) == MINICPMO_OK &&
           piece.end == MINICPMO_END_NOT_YET) {
        CHECK((piece.samples != nullptr) == (piece.n_sample > 0));
        CHECK((piece.n_text == 0 || piece.n_sample == 0));
        CHECK(piece.text[piece.n_text] == '\0');
        said.n_token += piece.token >= 0 ? 1 : 0;
        if (piece.n_sample > 0)
            said.samples.insert(said.samples.end(), piece.samples, piece.samples + piece.n_sample);
    }
    CHECK(piece.n_text == 0);
    CHECK(piece.samples == nullptr);
    CHECK(piece.token == -1);
    said.end = piece.end;
    return said;
}

std::string text_of(const std::function<minicpmo_status(char*, size_t, size_t*)>& store) {
    size_t n = 0;
    REQUIRE(store(nullptr, 0, &n) == MINICPMO_OK);
    std::string text(n + 1, '?');
    CHECK(store(text.data(), n, &n) == MINICPMO_ERROR_BUFFER_TOO_SMALL);
    REQUIRE(store(text.data(), text.size(), &n) == MINICPMO_OK);
    CHECK(text.back() == '\0');
    text.pop_back();
    return text;
}

std::string name_of(const VoiceHandle& voice) {
    return text_of([&](char* buffer, size_t n_buffer, size_t* n) {
        return minicpmo_voice_name(voice.get(), buffer, n_buffer, n);
    });
}

std::vector<float> samples_of(const VoiceHandle& voice) {
    size_t n = 0;
    REQUIRE(minicpmo_voice_samples(voice.get(), nullptr, 0, &n) == MINICPMO_OK);
    std::vector<float> samples(n, 7.0F);
    if (n == 0) return samples;
    CHECK(minicpmo_voice_samples(voice.get(), samples.data(), n - 1, &n) == MINICPMO_ERROR_BUFFER_TOO_SMALL);
    CHECK(samples[0] == 7.0F);
    REQUIRE(minicpmo_voice_samples(voice.get(), samples.data(), n, &n) == MINICPMO_OK);
    return samples;
}

std::vector<float> recording(size_t n) {
    std::vector<float> samples(n);
    for (size_t i = 0; i < n; ++i) samples[i] = static_cast<float>((i * 37) % 1024) / 2048.0F - 0.25F;
    return samples;
}

bool last_error_has(const std::string& text) {
    return std::string(minicpmo_last_error()).find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("the example of the speech header works when compiled as C") {
    const TinyModelFile file({.has_vision = false, .has_audio = false, .has_speech = true});
    size_t n_sample = 0;
    CHECK(speak_in_c(file.path().string().c_str(), &n_sample) == 20);
    CHECK(n_sample > 0);  // how many codes a random model says before it ends is chance
    CHECK(n_sample % 960 == 0);
}

TEST_CASE("models describe their speech, those without it too") {
    const ModelHandle model = load();
    auto info = sized<minicpmo_speech_info>();
    REQUIRE(minicpmo_speech_describe(model.get(), &info) == MINICPMO_OK);
    CHECK(info.has_speech == 1);
    CHECK(info.can_clone == 1);
    CHECK(info.sample_rate == 24000);
    CHECK(info.n_voice == 2);
    CHECK(info.min_s == doctest::Approx(0.5));
    CHECK(info.max_s > 5);
    const ModelHandle silent = load(false);
    REQUIRE(minicpmo_speech_describe(silent.get(), &info) == MINICPMO_OK);
    CHECK(info.has_speech == 0);
    CHECK(info.sample_rate == 0);
    minicpmo_voice* voice = nullptr;
    CHECK(minicpmo_voice_of_model(silent.get(), "", &voice) == MINICPMO_ERROR_UNSUPPORTED_MODEL);
    const std::vector<float> samples = recording(16000);
    CHECK(minicpmo_voice_encode(silent.get(), samples.data(), samples.size(), "", &voice) ==
          MINICPMO_ERROR_UNSUPPORTED_MODEL);
    minicpmo_speech_decoder* decoder = nullptr;
    CHECK(minicpmo_speech_decoder_create(silent.get(), voice_of(model, "Ann").get(), nullptr, &decoder) ==
          MINICPMO_ERROR_UNSUPPORTED_MODEL);
    CHECK(decoder == nullptr);
}

TEST_CASE("voices have names, in the model and by themselves") {
    const ModelHandle model = load();
    std::vector<std::string> names;
    for (int32_t i = 0; i < 2; ++i) {
        names.push_back(text_of([&](char* buffer, size_t n_buffer, size_t* n) {
            return minicpmo_voice_name_of_model(model.get(), i, buffer, n_buffer, n);
        }));
    }
    CHECK(names == std::vector<std::string>{"Ann", "Bob"});
    size_t n = 0;
    for (const int32_t i : {-1, 2})
        CHECK(minicpmo_voice_name_of_model(model.get(), i, nullptr, 0, &n) == MINICPMO_ERROR_ARGUMENT);
    CHECK(name_of(voice_of(model, "Bob")) == "Bob");
    CHECK(name_of(voice_of(model, nullptr)) == "Ann");
    CHECK(name_of(voice_of(model, "")) == "Ann");
    CHECK(samples_of(voice_of(model, "")).empty());
    minicpmo_voice* voice = nullptr;
    CHECK(minicpmo_voice_of_model(model.get(), "Eve", &voice) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("Ann, Bob"));
}

TEST_CASE("a recording becomes a voice, a file, and the same voice again") {
    const ModelHandle model = load();
    const std::vector<float> samples = recording(20000);
    minicpmo_voice* made = nullptr;
    REQUIRE(minicpmo_voice_encode(model.get(), samples.data(), samples.size(), "me", &made) == MINICPMO_OK);
    const VoiceHandle voice(made);
    CHECK(name_of(voice) == "me");
    CHECK(samples_of(voice) == samples);  // 16 bits hold these
    const TempFolder folder;
    const std::string path = folder.write("voice.gguf", "").string();
    REQUIRE(minicpmo_voice_save(voice.get(), path.c_str()) == MINICPMO_OK);
    minicpmo_voice* loaded = nullptr;
    REQUIRE(minicpmo_voice_load(path.c_str(), &loaded) == MINICPMO_OK);
    const VoiceHandle again(loaded);
    CHECK(name_of(again) == "me");
    CHECK(samples_of(again) == samples);
    std::vector<std::vector<float>> waves;
    for (const VoiceHandle* each : {&voice, &again}) {
        minicpmo_speech_decoder* decoder = nullptr;
        REQUIRE(minicpmo_speech_decoder_create(model.get(), each->get(), nullptr, &decoder) == MINICPMO_OK);
        const DecoderHandle handle(decoder);
        waves.push_back(listen(begin(open_session(model), handle, 12)).samples);
    }
    CHECK(waves[0].size() > 1000);
    CHECK(waves[0] == waves[1]);

    CHECK(minicpmo_voice_load("/nowhere/voice.gguf", &loaded) == MINICPMO_ERROR_MODEL_FILE);
    CHECK(minicpmo_voice_save(voice.get(), "/nowhere/voice.gguf") == MINICPMO_ERROR_INTERNAL);
    CHECK(minicpmo_voice_encode(model.get(), samples.data(), 7999, "", &made) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_encode(model.get(), nullptr, 16000, "", &made) == MINICPMO_ERROR_ARGUMENT);
    std::vector<float> bad = samples;
    bad[100] = NAN;
    CHECK(minicpmo_voice_encode(model.get(), bad.data(), bad.size(), "", &made) == MINICPMO_ERROR_ARGUMENT);
}

TEST_CASE("a spoken answer gives text and sound, the same with threads and without") {
    ModelHandle model = load();
    const SessionHandle session = open_session(model);
    const DecoderHandle decoder = decoder_of(model);
    model.reset();  // sessions and decoders outlive it
    for (const bool is_whole : {false, true}) {
        std::vector<std::vector<float>> waves;
        for (const bool has_threads : {false, true}) {
            ask(session);
            const AnswerHandle answer = begin(session, decoder, 25, has_threads, is_whole);
            const Said said = listen(answer);
            CHECK(said.end == MINICPMO_END_LENGTH);
            CHECK(said.n_token == 25);
            auto timings = sized<minicpmo_speech_timings>();
            REQUIRE(minicpmo_spoken_answer_timings(answer.get(), &timings) == MINICPMO_OK);
            CHECK(timings.n_sample == static_cast<int64_t>(said.samples.size()));
            CHECK(timings.n_code > 0);
            CHECK(timings.codes_s > 0);
            auto piece = sized<minicpmo_spoken_piece>();
            CHECK(minicpmo_spoken_answer_next(answer.get(), &piece) == MINICPMO_OK);
            CHECK(piece.end == MINICPMO_END_LENGTH);
            waves.push_back(said.samples);
        }
        CHECK(waves[0].size() > 1000);
        CHECK(waves[0] == waves[1]);
    }
}

TEST_CASE("an interrupted spoken answer ends as such, and gives back what it was lent") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    const DecoderHandle decoder = decoder_of(model);
    const std::vector<float> expected = listen(begin(session, decoder, 12)).samples;
    for (const bool is_session : {false, true}) {
        ask(session);
        const AnswerHandle answer = begin(session, decoder, 3000);
        std::thread other([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            is_session ? minicpmo_session_interrupt(session.get())
                       : minicpmo_spoken_answer_interrupt(answer.get());
        });
        CHECK(listen(answer).end == MINICPMO_END_INTERRUPTED);
        other.join();
        CHECK(listen(answer).end == MINICPMO_END_INTERRUPTED);
    }
    ask(session);
    CHECK(listen(begin(session, decoder, 12)).samples == expected);
}

TEST_CASE("session and decoder are lent to one answer at a time, and are of one model") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    const SessionHandle second = open_session(model);
    const DecoderHandle decoder = decoder_of(model);
    const DecoderHandle spare = decoder_of(model);
    minicpmo_spoken_answer* answer = nullptr;
    AnswerHandle first = begin(session, decoder, 3000);
    const auto refused = [&](const SessionHandle& s, const DecoderHandle& d) {
        const auto status = minicpmo_spoken_answer_begin(s.get(), d.get(), nullptr, nullptr, &answer);
        return status == MINICPMO_ERROR_ARGUMENT && answer == nullptr;
    };
    CHECK(refused(second, decoder));
    CHECK(refused(session, spare));
    first.reset();  // in the middle
    const ModelHandle other = load();
    CHECK(refused(open_session(other), decoder));
    const SessionHandle empty = open_session(model);
    REQUIRE(minicpmo_session_reset(empty.get()) == MINICPMO_OK);
    CHECK(refused(empty, decoder));
    CHECK(last_error_has("prefill"));
    CHECK_FALSE(listen(begin(second, decoder, 12)).samples.empty());
}

TEST_CASE("speech refuses null pointers, other structs and numbers out of range") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    const DecoderHandle decoder = decoder_of(model);
    auto info = sized<minicpmo_speech_info>();
    CHECK(minicpmo_speech_describe(nullptr, &info) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_speech_describe(model.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    info.struct_size -= 1;
    CHECK(minicpmo_speech_describe(model.get(), &info) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_of_model(model.get(), "Ann", nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_load(nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_save(nullptr, "x") == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_name(nullptr, nullptr, 0, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_voice_samples(nullptr, nullptr, 0, nullptr) == MINICPMO_ERROR_ARGUMENT);
    minicpmo_speech_decoder_params params;
    CHECK(minicpmo_speech_decoder_params_default(&params, 3) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_speech_decoder_params_default(&params, sizeof params) == MINICPMO_OK);
    params.n_step = -1;
    minicpmo_speech_decoder* made = nullptr;
    const VoiceHandle voice = voice_of(model, "Ann");
    CHECK(minicpmo_speech_decoder_create(model.get(), voice.get(), &params, &made) ==
          MINICPMO_ERROR_ARGUMENT);
    params.n_step = 0;
    params.struct_size += 1;
    CHECK(minicpmo_speech_decoder_create(model.get(), voice.get(), &params, &made) ==
          MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_speech_decoder_create(model.get(), nullptr, nullptr, &made) == MINICPMO_ERROR_ARGUMENT);
    CHECK(made == nullptr);
    minicpmo_spoken_answer* answer = nullptr;
    auto speech = sized<minicpmo_speech_params>();
    speech.struct_size = 1;
    CHECK(minicpmo_spoken_answer_begin(session.get(), decoder.get(), nullptr, &speech, &answer) ==
          MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_spoken_answer_begin(nullptr, decoder.get(), nullptr, nullptr, &answer) ==
          MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_spoken_answer_begin(session.get(), nullptr, nullptr, nullptr, &answer) ==
          MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_spoken_answer_next(nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_spoken_answer_timings(nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    minicpmo_spoken_answer_interrupt(nullptr);
    minicpmo_spoken_answer_free(nullptr);
    minicpmo_speech_decoder_free(nullptr);
    minicpmo_voice_free(nullptr);
}

TEST_CASE("a model that speaks as its prompt sounds takes no voice") {
    const ModelHandle model = load(false, true);
    auto info = sized<minicpmo_speech_info>();
    REQUIRE(minicpmo_speech_describe(model.get(), &info) == MINICPMO_OK);
    CHECK(info.has_speech == 1);
    CHECK(info.sample_rate == 24000);
    CHECK(info.can_clone == 0);
    CHECK(info.n_voice == 0);
    minicpmo_voice* voice = nullptr;
    CHECK(minicpmo_voice_of_model(model.get(), nullptr, &voice) == MINICPMO_ERROR_UNSUPPORTED_MODEL);
    minicpmo_speech_decoder* made = nullptr;
    const VoiceHandle other = voice_of(load(), "Ann");
    CHECK(minicpmo_speech_decoder_create(model.get(), other.get(), nullptr, &made) ==
          MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_speech_decoder_create(model.get(), nullptr, nullptr, &made) == MINICPMO_OK);
    const DecoderHandle decoder(made);
    const SessionHandle session = open_session(model);
    for (const bool is_whole : {false, true}) {
        const Said said = listen(begin(session, decoder, 9, true, is_whole));
        CHECK(said.n_token == 9);
        CHECK(said.end == MINICPMO_END_LENGTH);
        CHECK(!said.samples.empty());
        ask(session);
    }
}
