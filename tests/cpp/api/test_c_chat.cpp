#include <doctest/doctest.h>
#include <minicpmo_chat.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "api/c_handle.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

using ModelHandle = Handle<minicpmo_model, minicpmo_model_free>;
using SessionHandle = Handle<minicpmo_session, minicpmo_session_free>;

ModelHandle load(uint64_t media_cache_bytes = 1 << 20) {
    const TinyModelFile file;
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    CHECK(params.media_cache_bytes > 0);
    params.device = "cpu";
    params.n_threads = 1;
    params.media_cache_bytes = media_cache_bytes;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(file.path().string().c_str(), &params, &model) == MINICPMO_OK);
    return ModelHandle(model);
}

SessionHandle open_session(const ModelHandle& model) {
    minicpmo_session* session = nullptr;
    REQUIRE(minicpmo_session_create(model.get(), nullptr, &session) == MINICPMO_OK);
    return SessionHandle(session);
}

minicpmo_status read_chat(const SessionHandle& session, const std::vector<std::string>& texts,
                          const Image* image = nullptr, const minicpmo_chat_params* params = nullptr) {
    std::vector<minicpmo_part> parts;
    for (const std::string& text : texts) {
        auto part = sized<minicpmo_part>();
        part.kind = MINICPMO_PART_TEXT;
        part.text = text.data();
        part.n_text = text.size();
        parts.push_back(part);
    }
    if (image != nullptr) {
        auto part = sized<minicpmo_part>();
        part.kind = MINICPMO_PART_IMAGE;
        part.pixels = image->pixels.data();
        part.width = image->width;
        part.height = image->height;
        parts.push_back(part);
    }
    const minicpmo_message message = {sizeof message, MINICPMO_ROLE_USER, parts.data(), parts.size()};
    return minicpmo_session_prefill_chat(session.get(), &message, 1, params);
}

std::vector<int32_t> said(const SessionHandle& session, int64_t draft_tokens = 0) {
    minicpmo_generate_params params;
    REQUIRE(minicpmo_generate_params_default(&params, sizeof params) == MINICPMO_OK);
    CHECK(params.draft_tokens == 0);
    params.temperature = 0;
    params.max_new_tokens = 60;
    params.ignore_stop = 1;
    params.draft_tokens = draft_tokens;
    REQUIRE(minicpmo_session_begin(session.get(), &params) == MINICPMO_OK);
    std::vector<int32_t> ids;
    auto piece = sized<minicpmo_piece>();
    while (minicpmo_session_next(session.get(), &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET) {
        if (piece.token >= 0) ids.push_back(piece.token);
    }
    return ids;
}

minicpmo_savings savings(const SessionHandle& session) {
    auto found = sized<minicpmo_savings>();
    REQUIRE(minicpmo_session_savings(session.get(), &found) == MINICPMO_OK);
    return found;
}

}  // namespace

TEST_CASE("a conversation that is read again in C is not computed again") {
    const ModelHandle model = load();
    const Image image = random_image(60, 60);
    const SessionHandle session = open_session(model);
    REQUIRE(read_chat(session, {"what?"}, &image) == MINICPMO_OK);
    CHECK(savings(session).n_reused == 0);
    const std::vector<int32_t> first = said(session);
    CHECK(first.size() == 60);
    auto timings = sized<minicpmo_timings>();
    REQUIRE(minicpmo_session_timings(session.get(), &timings) == MINICPMO_OK);
    const int n_prompt = timings.n_prompt;
    const int n_slice = timings.n_slice;
    CHECK(n_slice > 0);
    REQUIRE(read_chat(session, {"what?"}, &image) == MINICPMO_OK);
    REQUIRE(minicpmo_session_timings(session.get(), &timings) == MINICPMO_OK);
    CHECK(timings.n_prompt == 0);
    CHECK(savings(session).n_reused == n_prompt);
    CHECK(said(session, 8) == first);
    CHECK(savings(session).n_drafted >= savings(session).n_confirmed);
    CHECK(savings(session).n_confirmed > 0);
    // Another session of the model has the picture from the cache.
    const SessionHandle other = open_session(model);
    REQUIRE(read_chat(other, {"what?"}, &image) == MINICPMO_OK);
    CHECK(savings(other).n_slice_found == n_slice);
    CHECK(savings(other).n_reused == 0);
    CHECK(said(other) == first);
    const SessionHandle apart = open_session(load(0));
    for (int i = 0; i < 2; ++i) {
        REQUIRE(minicpmo_session_reset(apart.get()) == MINICPMO_OK);
        REQUIRE(read_chat(apart, {"what?"}, &image) == MINICPMO_OK);
        CHECK(savings(apart).n_slice_found == 0);
    }
}

TEST_CASE("thoughts and speech open an answer in C") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    minicpmo_chat_params params;
    REQUIRE(minicpmo_chat_params_default(&params, sizeof params) == MINICPMO_OK);
    const auto n_past = [&] {
        int32_t n = 0;
        REQUIRE(read_chat(session, {"a", "b"}, nullptr, &params) == MINICPMO_OK);
        REQUIRE(minicpmo_session_n_past(session.get(), &n) == MINICPMO_OK);
        return n;
    };
    const int plain = n_past();
    params.use_tts = 1;
    CHECK(n_past() > plain);
    params.use_tts = 0;
    CHECK(n_past() == plain);
    params.enable_thinking = 1;
    CHECK(n_past() < plain);
    params.enable_thinking = 0;
    params.omni = 1;
    CHECK(n_past() < plain);
}

TEST_CASE("whole conversations that make no sense are refused in C") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    CHECK(minicpmo_session_prefill_chat(nullptr, nullptr, 0, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill_chat(session.get(), nullptr, 0, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill_chat(session.get(), nullptr, 1, nullptr) == MINICPMO_ERROR_ARGUMENT);
    minicpmo_chat_params params;
    CHECK(minicpmo_chat_params_default(&params, sizeof params - 1) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_chat_params_default(nullptr, sizeof params) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_chat_params_default(&params, sizeof params) == MINICPMO_OK);
    params.struct_size += 8;
    CHECK(read_chat(session, {"a"}, nullptr, &params) == MINICPMO_ERROR_ARGUMENT);
    params.struct_size -= 8;
    params.max_slices = 65;
    const Image image = random_image(60, 60);
    CHECK(read_chat(session, {"a"}, &image, &params) == MINICPMO_ERROR_ARGUMENT);
    auto found = sized<minicpmo_savings>();
    CHECK(minicpmo_session_savings(nullptr, &found) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_savings(session.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(read_chat(session, {"a"}) == MINICPMO_OK);
    minicpmo_generate_params generate;
    REQUIRE(minicpmo_generate_params_default(&generate, sizeof generate) == MINICPMO_OK);
    for (const int64_t n : {int64_t{-1}, int64_t{65}, int64_t{1} << 32}) {
        generate.draft_tokens = n;
        CHECK(minicpmo_session_begin(session.get(), &generate) == MINICPMO_ERROR_ARGUMENT);
    }
}

TEST_CASE("structs of older headers still work") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    REQUIRE(read_chat(session, {"a"}) == MINICPMO_OK);
    minicpmo_generate_params params;
    constexpr size_t kOld = offsetof(minicpmo_generate_params, draft_tokens);
    std::memset(&params, 0x7f, sizeof params);
    REQUIRE(minicpmo_generate_params_default(&params, kOld) == MINICPMO_OK);
    CHECK(params.struct_size == kOld);
    CHECK(params.draft_tokens != 0);  // is no field of theirs
    CHECK(minicpmo_session_begin(session.get(), &params) == MINICPMO_OK);
    minicpmo_model_params load_params;
    for (const size_t old : {offsetof(minicpmo_model_params, max_sessions),
                             offsetof(minicpmo_model_params, media_cache_bytes)}) {
        CHECK(minicpmo_model_params_default(&load_params, old) == MINICPMO_OK);
        CHECK(load_params.struct_size == old);
    }
    CHECK(minicpmo_model_params_default(&load_params, sizeof load_params - 4) == MINICPMO_ERROR_ARGUMENT);
}
