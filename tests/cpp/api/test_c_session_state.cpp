#include <doctest/doctest.h>
#include <minicpmo_session_state.h>
#include <minicpmo_speech.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "api/c_handle.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

using ModelHandle = Handle<minicpmo_model, minicpmo_model_free>;
using SessionHandle = Handle<minicpmo_session, minicpmo_session_free>;
using SnapshotHandle = Handle<minicpmo_session_snapshot, minicpmo_session_snapshot_free>;

ModelHandle load(const std::string& path) {
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    params.n_threads = 1;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_OK);
    return ModelHandle(model);
}
ModelHandle load(const TinyModelOptions& options = {}) {
    return load(TinyModelFile(options).path().string());
}

SessionHandle open_session(const ModelHandle& model) {
    minicpmo_session* session = nullptr;
    REQUIRE(minicpmo_session_create(model.get(), nullptr, &session) == MINICPMO_OK);
    return SessionHandle(session);
}

minicpmo_status hear(const SessionHandle& session, std::span<const float> sound, bool is_last) {
    auto part = sized<minicpmo_part>();
    part.kind = MINICPMO_PART_AUDIO;
    part.samples = sound.data();
    part.n_sample = sound.size();
    const minicpmo_message message = {sizeof message, MINICPMO_ROLE_USER, &part, 1};
    return minicpmo_session_prefill_stream(session.get(), &message, 1, nullptr, is_last ? 1 : 0);
}

void ask(const SessionHandle& session, const std::string& text) {
    auto part = sized<minicpmo_part>();
    part.kind = MINICPMO_PART_TEXT;
    part.text = text.data();
    part.n_text = text.size();
    const minicpmo_message message = {sizeof message, MINICPMO_ROLE_USER, &part, 1};
    REQUIRE(minicpmo_session_prefill(session.get(), &message, 1, nullptr) == MINICPMO_OK);
}

void begin(const SessionHandle& session) {
    minicpmo_generate_params params;
    REQUIRE(minicpmo_generate_params_default(&params, sizeof params) == MINICPMO_OK);
    params.temperature = 0;
    params.max_new_tokens = 12;
    params.ignore_stop = 1;
    REQUIRE(minicpmo_session_begin(session.get(), &params) == MINICPMO_OK);
}

std::vector<int32_t> answer(const SessionHandle& session) {
    begin(session);
    std::vector<int32_t> ids;
    auto piece = sized<minicpmo_piece>();
    while (minicpmo_session_next(session.get(), &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET) {
        if (piece.token >= 0) ids.push_back(piece.token);
    }
    return ids;
}

int32_t n_past(const SessionHandle& session) {
    int32_t n = -1;
    REQUIRE(minicpmo_session_n_past(session.get(), &n) == MINICPMO_OK);
    return n;
}

SnapshotHandle snapshot_of(const SessionHandle& session) {
    minicpmo_session_snapshot* snapshot = nullptr;
    REQUIRE(minicpmo_session_snapshot_take(session.get(), &snapshot) == MINICPMO_OK);
    return SnapshotHandle(snapshot);
}

}  // namespace

TEST_CASE("sound streamed through C is read as a Session reads it") {
    const TinyModelFile file;
    const SessionHandle session = open_session(load(file.path().string()));
    Session expected(load_tiny(), {});
    const std::vector<float> sound = random_sound(40000);
    for (size_t at = 0; at < sound.size(); at += 8000) {
        const auto piece = std::span(sound).subspan(at, 8000);
        const bool is_last = at + 8000 == sound.size();
        REQUIRE(hear(session, piece, is_last) == MINICPMO_OK);
        const Message message{Role::user, {audio_part(piece)}};
        expected.prefill_stream({&message, 1}, {}, is_last);
        CHECK(n_past(session) == expected.n_past());
    }
    CHECK(answer(session) == answer(expected));
    const int32_t n_before = n_past(session);
    const std::vector<float> bad(100, NAN);
    CHECK(hear(session, bad, false) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill_stream(session.get(), nullptr, 0, nullptr, 1) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill_stream(session.get(), nullptr, 1, nullptr, 0) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill_stream(nullptr, nullptr, 0, nullptr, 0) == MINICPMO_ERROR_ARGUMENT);
    CHECK(n_past(session) == n_before);
}

TEST_CASE("a restored and a loaded session answer as if nothing had been between") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    ask(session, "hello");
    const SnapshotHandle snapshot = snapshot_of(session);
    const TempFolder folder;
    const std::string path = (folder.path() / "turns.session").string();
    REQUIRE(minicpmo_session_save(session.get(), path.c_str()) == MINICPMO_OK);
    const std::vector<int32_t> expected = answer(session);
    CHECK(expected.size() == 12);
    ask(session, "and now?");
    const SessionHandle other = open_session(model);
    for (int round = 0; round < 2; ++round) {
        REQUIRE(minicpmo_session_restore(session.get(), snapshot.get()) == MINICPMO_OK);
        CHECK(answer(session) == expected);
        REQUIRE(minicpmo_session_load(other.get(), path.c_str()) == MINICPMO_OK);
        CHECK(answer(other) == expected);
    }
    begin(session);
    auto piece = sized<minicpmo_piece>();
    REQUIRE(minicpmo_session_next(session.get(), &piece) == MINICPMO_OK);
    CHECK(minicpmo_session_save(session.get(), path.c_str()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_restore(other.get(), snapshot.get()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_restore(other.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_restore(nullptr, snapshot.get()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_snapshot_take(session.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_save(nullptr, path.c_str()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_load(other.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    const std::string junk = folder.write("junk", "no conversation at all").string();
    CHECK(minicpmo_session_load(other.get(), junk.c_str()) == MINICPMO_ERROR_MODEL_FILE);
    CHECK(n_past(other) == 0);
    minicpmo_session_snapshot_free(nullptr);
}

TEST_CASE("a session that is lent to a spoken answer keeps its state to itself") {
    const ModelHandle model = load({.has_vision = false, .has_audio = false, .has_speech = true});
    const SessionHandle session = open_session(model);
    ask(session, "hello");
    const SnapshotHandle snapshot = snapshot_of(session);
    minicpmo_voice* voice = nullptr;
    REQUIRE(minicpmo_voice_of_model(model.get(), nullptr, &voice) == MINICPMO_OK);
    const Handle<minicpmo_voice, minicpmo_voice_free> voice_handle(voice);
    minicpmo_speech_decoder* decoder = nullptr;
    REQUIRE(minicpmo_speech_decoder_create(model.get(), voice, nullptr, &decoder) == MINICPMO_OK);
    const Handle<minicpmo_speech_decoder, minicpmo_speech_decoder_free> decoder_handle(decoder);
    minicpmo_spoken_answer* spoken = nullptr;
    REQUIRE(minicpmo_spoken_answer_begin(session.get(), decoder, nullptr, nullptr, &spoken) == MINICPMO_OK);
    const Handle<minicpmo_spoken_answer, minicpmo_spoken_answer_free> answer_handle(spoken);
    minicpmo_session_snapshot* none = nullptr;
    CHECK(minicpmo_session_snapshot_take(session.get(), &none) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_restore(session.get(), snapshot.get()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_load(session.get(), "x") == MINICPMO_ERROR_ARGUMENT);
}

TEST_CASE("params of the header before max_sessions are still taken") {
    constexpr size_t kOld = offsetof(minicpmo_model_params, max_sessions);
    const TinyModelFile file;
    const std::string path = file.path().string();
    minicpmo_model_params params;
    params.max_sessions = -99;  // beyond the old struct: neither written nor read
    REQUIRE(minicpmo_model_params_default(&params, kOld) == MINICPMO_OK);
    CHECK(params.struct_size == kOld);
    CHECK(params.max_sessions == -99);
    params.device = "cpu";
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_OK);
    const ModelHandle old(model);
    params.struct_size = sizeof params;
    params.batches_sessions = 1;
    CHECK(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_ERROR_ARGUMENT);
    params.max_sessions = 1;
    REQUIRE(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_OK);
    const ModelHandle batched(model);
    SessionHandle session = open_session(batched);
    ask(session, "hello");
    CHECK(answer(session).size() == 12);
    minicpmo_session* more = nullptr;
    CHECK(minicpmo_session_create(batched.get(), nullptr, &more) == MINICPMO_ERROR_SESSION_LIMIT);
    session.reset();
    open_session(batched);
    params.struct_size = kOld + 4;
    CHECK(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_ERROR_ARGUMENT);
}
