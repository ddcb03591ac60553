#include <doctest/doctest.h>
#include <minicpmo_audio.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/usage_in_c.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

struct FreeModel {
    void operator()(minicpmo_model* model) const { minicpmo_model_free(model); }
};
struct FreeSession {
    void operator()(minicpmo_session* session) const { minicpmo_session_free(session); }
};
using ModelHandle = std::unique_ptr<minicpmo_model, FreeModel>;
using SessionHandle = std::unique_ptr<minicpmo_session, FreeSession>;

ModelHandle load(const TinyModelOptions& options = {}) {
    const TinyModelFile file(options);
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    params.n_threads = 1;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(file.path().string().c_str(), &params, &model) == MINICPMO_OK);
    return ModelHandle(model);
}

SessionHandle open_session(const ModelHandle& model, int n_ctx = 0) {
    minicpmo_session_params params;
    REQUIRE(minicpmo_session_params_default(&params, sizeof params) == MINICPMO_OK);
    params.n_ctx = n_ctx;
    minicpmo_session* session = nullptr;
    REQUIRE(minicpmo_session_create(model.get(), &params, &session) == MINICPMO_OK);
    return SessionHandle(session);
}

minicpmo_part text_part(const std::string& text) {
    minicpmo_part part{};
    part.struct_size = sizeof part;
    part.kind = MINICPMO_PART_TEXT;
    part.text = text.data();
    part.n_text = text.size();
    return part;
}

minicpmo_part image_part(const std::vector<uint8_t>& pixels, int width, int height, size_t row_stride = 0) {
    minicpmo_part part{};
    part.struct_size = sizeof part;
    part.kind = MINICPMO_PART_IMAGE;
    part.pixels = pixels.data();
    part.width = width;
    part.height = height;
    part.row_stride = row_stride;
    return part;
}

minicpmo_status prefill(const SessionHandle& session, const std::vector<minicpmo_part>& parts,
                        const minicpmo_prefill_params* params = nullptr) {
    const minicpmo_message message = {sizeof message, MINICPMO_ROLE_USER, parts.data(), parts.size()};
    return minicpmo_session_prefill(session.get(), &message, 1, params);
}

minicpmo_generate_params greedy(int n) {
    minicpmo_generate_params params;
    REQUIRE(minicpmo_generate_params_default(&params, sizeof params) == MINICPMO_OK);
    params.temperature = 0;
    params.max_new_tokens = n;
    params.ignore_stop = 1;
    return params;
}

std::vector<int32_t> answer(const SessionHandle& session, int n = 8) {
    const minicpmo_generate_params params = greedy(n);
    REQUIRE(minicpmo_session_begin(session.get(), &params) == MINICPMO_OK);
    std::vector<int32_t> ids;
    minicpmo_piece piece{};
    piece.struct_size = sizeof piece;
    while (minicpmo_session_next(session.get(), &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET) {
        CHECK(std::strlen(piece.text) <= piece.n_text);
        if (piece.token >= 0) ids.push_back(piece.token);
    }
    CHECK(piece.end == MINICPMO_END_LENGTH);
    CHECK(piece.token == -1);
    CHECK(piece.n_text == 0);
    return ids;
}

int32_t n_past(const SessionHandle& session) {
    int32_t n = -1;
    REQUIRE(minicpmo_session_n_past(session.get(), &n) == MINICPMO_OK);
    return n;
}

bool last_error_has(const std::string& text) {
    return std::string(minicpmo_last_error()).find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("the example of the header works when compiled as C") {
    const TinyModelFile file;
    std::string text(1000, '\0');
    CHECK(answer_in_c(file.path().string().c_str(), text.data(), text.size()) == 8);
    CHECK(text[0] != '\0');
}

TEST_CASE("every failure has its status and its text") {
    minicpmo_model* model = nullptr;
    CHECK(minicpmo_model_load("/nowhere/model.gguf", nullptr, &model) == MINICPMO_ERROR_MODEL_FILE);
    CHECK(model == nullptr);
    CHECK(last_error_has("/nowhere/model.gguf"));
    const TempFolder folder;
    GgufBuilder b = tiny_model();
    b.keys.erase(b.keys.begin());
    b.add("general.architecture", "gpt5");
    const std::string unknown = folder.write("unknown.gguf", b.build()).string();
    CHECK(minicpmo_model_load(unknown.c_str(), nullptr, &model) == MINICPMO_ERROR_UNSUPPORTED_MODEL);
    CHECK(last_error_has("gpt5"));
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "NPU7";
    CHECK(minicpmo_model_load(unknown.c_str(), &params, &model) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("NPU7"));
    const SessionHandle session = open_session(load(), 16);
    CHECK(prefill(session, {text_part("much more text than sixteen tokens hold")}) ==
          MINICPMO_ERROR_CONTEXT_FULL);
    CHECK(last_error_has("16"));
    CHECK(n_past(session) == 0);
}

TEST_CASE("a set of files is loaded as one model") {
    const TinyModelFile file;
    const TempFolder folder;
    GgufBuilder supplement;
    supplement.add("minicpmo.version", uint32_t{1}).add("minicpmo.llm.arch", "qwen3");
    supplement.tensor({.name = "s3.unused"});
    const std::string more = folder.write("more.gguf", supplement.build()).string();
    const char* parts[] = {more.c_str()};
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    params.parts = parts;
    params.n_part = 1;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(file.path().string().c_str(), &params, &model) == MINICPMO_OK);
    const ModelHandle handle(model);
    minicpmo_model_info info{};
    info.struct_size = sizeof info;
    REQUIRE(minicpmo_model_describe(model, &info) == MINICPMO_OK);
    CHECK(info.file_bytes == std::filesystem::file_size(file.path()) + std::filesystem::file_size(more));

    const auto status_of = [&](const char* part, size_t n_part) {
        parts[0] = part;
        params.n_part = n_part;
        minicpmo_model* none = nullptr;
        return minicpmo_model_load(file.path().string().c_str(), &params, &none);
    };
    CHECK(status_of(nullptr, 1) == MINICPMO_ERROR_ARGUMENT);
    CHECK(status_of("no such file", 1) == MINICPMO_ERROR_MODEL_FILE);
    params.parts = nullptr;
    CHECK(status_of("", 1) == MINICPMO_ERROR_ARGUMENT);
}

TEST_CASE("the last error belongs to its thread") {
    minicpmo_model* model = nullptr;
    CHECK(minicpmo_model_load("/nowhere/first.gguf", nullptr, &model) == MINICPMO_ERROR_MODEL_FILE);
    std::string before;
    std::string after;
    std::thread([&] {
        before = minicpmo_last_error();
        minicpmo_model_load("/nowhere/second.gguf", nullptr, &model);
        after = minicpmo_last_error();
    }).join();
    CHECK(before.empty());
    CHECK(after.find("second") != std::string::npos);
    CHECK(last_error_has("first"));
}

TEST_CASE("null pointers and structs of another size are refused") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    minicpmo_generate_params params = greedy(1);
    CHECK(minicpmo_generate_params_default(&params, sizeof params - 1) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_generate_params_default(nullptr, sizeof params) == MINICPMO_ERROR_ARGUMENT);
    params.struct_size += 8;
    CHECK(minicpmo_session_begin(session.get(), &params) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("generate_params"));
    minicpmo_piece piece{};
    CHECK(minicpmo_session_next(session.get(), &piece) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_next(session.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_next(nullptr, &piece) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_create(nullptr, nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_model_load(nullptr, nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_prefill(session.get(), nullptr, 3, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_session_reset(nullptr) == MINICPMO_ERROR_ARGUMENT);
    minicpmo_session_interrupt(nullptr);
    minicpmo_session_free(nullptr);
    minicpmo_model_free(nullptr);
    piece.struct_size = sizeof piece;
    CHECK(minicpmo_session_next(session.get(), &piece) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("minicpmo_session_begin"));
}

TEST_CASE("parts and roles out of range are refused") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    const std::vector<uint8_t> pixels(30 * 30 * 3, 100);
    minicpmo_part part = text_part("x");
    part.kind = 7;
    CHECK(prefill(session, {part}) == MINICPMO_ERROR_ARGUMENT);
    part = text_part("x");
    part.struct_size = 8;
    CHECK(prefill(session, {part}) == MINICPMO_ERROR_ARGUMENT);
    part = text_part("x");
    part.text = nullptr;
    CHECK(prefill(session, {part}) == MINICPMO_ERROR_ARGUMENT);
    CHECK(prefill(session, {image_part(pixels, 0, 30)}) == MINICPMO_ERROR_ARGUMENT);
    CHECK(prefill(session, {image_part(pixels, 30, -1)}) == MINICPMO_ERROR_ARGUMENT);
    CHECK(prefill(session, {image_part(pixels, 30, 30, 89)}) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("90"));
    part = text_part("x");
    const minicpmo_message message = {sizeof message, 3, &part, 1};
    CHECK(minicpmo_session_prefill(session.get(), &message, 1, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(n_past(session) == 0);
    const SessionHandle blind = open_session(load({.has_vision = false}));
    CHECK(prefill(blind, {image_part(pixels, 30, 30)}) == MINICPMO_ERROR_UNSUPPORTED_MODEL);
}

TEST_CASE("models describe themselves") {
    const ModelHandle model = load({.n_ctx = 2048, .n_spare_rows = 3});
    minicpmo_model_info info{};
    info.struct_size = sizeof info;
    REQUIRE(minicpmo_model_describe(model.get(), &info) == MINICPMO_OK);
    CHECK(std::string(info.name) == "Tiny");
    CHECK(info.n_vocab == tiny_n_token() + 3);
    CHECK(info.n_ctx_train == 2048);
    CHECK(info.n_embd == kTinyEmbd);
    CHECK(info.has_vision == 1);
    CHECK(info.file_bytes > 100000);
    size_t n = 0;
    REQUIRE(minicpmo_devices(nullptr, 0, &n) == MINICPMO_OK);
    std::string devices(n + 1, '?');
    REQUIRE(minicpmo_devices(devices.data(), devices.size(), &n) == MINICPMO_OK);
    CHECK(devices.find(info.device) != std::string::npos);
    CHECK(devices.back() == '\0');
    CHECK(std::string(minicpmo_version()).find('.') != std::string::npos);
}

TEST_CASE("text becomes ids and text again, in buffers of the right size only") {
    const ModelHandle model = load();
    const std::string text = "hello <|im_end|>\xc3\xa9";
    size_t n = 0;
    REQUIRE(minicpmo_tokenize(model.get(), text.data(), text.size(), 1, nullptr, 0, &n) == MINICPMO_OK);
    std::vector<int32_t> ids(n, -7);
    CHECK(minicpmo_tokenize(model.get(), text.data(), text.size(), 1, ids.data(), n - 1, &n) ==
          MINICPMO_ERROR_BUFFER_TOO_SMALL);
    CHECK(n == ids.size());
    CHECK(ids[0] == -7);
    REQUIRE(minicpmo_tokenize(model.get(), text.data(), text.size(), 1, ids.data(), n, &n) == MINICPMO_OK);
    size_t n_plain = 0;
    REQUIRE(minicpmo_tokenize(model.get(), text.data(), text.size(), 0, nullptr, 0, &n_plain) == MINICPMO_OK);
    CHECK(n_plain > n);
    std::string back(text.size() + 1, '?');
    size_t n_byte = 0;
    CHECK(minicpmo_detokenize(model.get(), ids.data(), n, 0, back.data(), text.size(), &n_byte) ==
          MINICPMO_ERROR_BUFFER_TOO_SMALL);
    CHECK(n_byte == text.size());
    CHECK(back[0] == '?');
    REQUIRE(minicpmo_detokenize(model.get(), ids.data(), n, 0, back.data(), back.size(), &n_byte) ==
            MINICPMO_OK);
    CHECK(back == text + '\0');
    REQUIRE(minicpmo_detokenize(model.get(), ids.data(), n, 1, back.data(), back.size(), &n_byte) ==
            MINICPMO_OK);
    CHECK(std::string(back.c_str()) == "hello \xc3\xa9");
    ids[0] = 1 << 30;
    CHECK(minicpmo_detokenize(model.get(), ids.data(), n, 0, nullptr, 0, &n_byte) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_tokenize(model.get(), nullptr, 0, 0, nullptr, 0, &n) == MINICPMO_OK);
    CHECK(n == 0);
}

TEST_CASE("a session outlives the model's handle, and rows may be padded") {
    ModelHandle model = load();
    const int width = 40;
    const int height = 35;
    std::vector<uint8_t> tight(static_cast<size_t>(width * height * 3));
    for (size_t i = 0; i < tight.size(); ++i) tight[i] = static_cast<uint8_t>(i * 37 % 251);
    const size_t stride = 128;
    std::vector<uint8_t> padded((height - 1) * stride + width * 3, 255);  // the last row has no padding
    for (size_t y = 0; y < height; ++y) std::memcpy(&padded[y * stride], &tight[y * width * 3], width * 3);
    const SessionHandle a = open_session(model);
    const SessionHandle b = open_session(model);
    model.reset();
    CHECK(prefill(a, {image_part(tight, width, height), text_part("what?")}) == MINICPMO_OK);
    CHECK(prefill(b, {image_part(padded, width, height, stride), text_part("what?")}) == MINICPMO_OK);
    CHECK(n_past(a) == n_past(b));
    const std::vector<int32_t> ids = answer(a);
    CHECK(ids.size() == 8);
    CHECK(answer(b) == ids);
    minicpmo_timings timings{};
    timings.struct_size = sizeof timings;
    REQUIRE(minicpmo_session_timings(a.get(), &timings) == MINICPMO_OK);
    CHECK(timings.n_slice == 1);
    CHECK(timings.n_decoded == 7);  // the last token is shown and not read
    CHECK(timings.prefill_s > 0);
    minicpmo_progress progress{};
    progress.struct_size = sizeof progress;
    REQUIRE(minicpmo_session_progress(a.get(), &progress) == MINICPMO_OK);
    CHECK(progress.n_slice_done == 1);
    CHECK(progress.n_token_done == progress.n_token);
    REQUIRE(minicpmo_session_reset(a.get()) == MINICPMO_OK);
    CHECK(n_past(a) == 0);
    CHECK(prefill(a, {image_part(tight, width, height), text_part("what?")}) == MINICPMO_OK);
    CHECK(answer(a) == ids);
}

TEST_CASE("an interruption ends the answer") {
    const ModelHandle model = load();
    const SessionHandle session = open_session(model);
    REQUIRE(prefill(session, {text_part("hello")}) == MINICPMO_OK);
    const minicpmo_generate_params params = greedy(100);
    REQUIRE(minicpmo_session_begin(session.get(), &params) == MINICPMO_OK);
    minicpmo_piece piece{};
    piece.struct_size = sizeof piece;
    REQUIRE(minicpmo_session_next(session.get(), &piece) == MINICPMO_OK);
    CHECK(piece.end == MINICPMO_END_NOT_YET);
    minicpmo_session_interrupt(session.get());
    while (minicpmo_session_next(session.get(), &piece) == MINICPMO_OK && piece.end == MINICPMO_END_NOT_YET) {
    }
    CHECK(piece.end == MINICPMO_END_INTERRUPTED);
    CHECK(prefill(session, {text_part("go on")}) == MINICPMO_OK);
    CHECK(answer(session).size() == 8);
}

TEST_CASE("cache types are chosen by name") {
    const ModelHandle model = load();
    minicpmo_session_params params;
    REQUIRE(minicpmo_session_params_default(&params, sizeof params) == MINICPMO_OK);
    CHECK(std::string(params.cache_type) == "auto");
    for (const char* name : {"auto", "f32", "f16", "bf16", "q8_0"}) {
        params.cache_type = name;
        minicpmo_session* session = nullptr;
        REQUIRE(minicpmo_session_create(model.get(), &params, &session) == MINICPMO_OK);
        CHECK(answer([&] {
                  SessionHandle handle(session);
                  CHECK(prefill(handle, {text_part("hello")}) == MINICPMO_OK);
                  return handle;
              }())
                  .size() == 8);
    }
    minicpmo_session* session = nullptr;
    for (const char* name : {"q4_0", "", "f17", static_cast<const char*>(nullptr)}) {
        params.cache_type = name;
        CHECK(minicpmo_session_create(model.get(), &params, &session) == MINICPMO_ERROR_ARGUMENT);
    }
}

TEST_CASE("sound is a part of a message, and a stream of its own") {
    const ModelHandle model = load();
    minicpmo_model_info info{};
    info.struct_size = sizeof info;
    REQUIRE(minicpmo_model_describe(model.get(), &info) == MINICPMO_OK);
    CHECK(info.has_audio == 1);
    const std::vector<float> sound(32000, 0.01F);
    minicpmo_part part{};
    part.struct_size = sizeof part;
    part.kind = MINICPMO_PART_AUDIO;
    part.samples = sound.data();
    part.n_sample = sound.size();
    const SessionHandle session = open_session(model);
    REQUIRE(prefill(session, {text_part("listen"), part}) == MINICPMO_OK);
    minicpmo_timings timings{};
    timings.struct_size = sizeof timings;
    REQUIRE(minicpmo_session_timings(session.get(), &timings) == MINICPMO_OK);
    CHECK(timings.n_audio == 20);
    CHECK(timings.heard_s == doctest::Approx(2.0));
    part.samples = nullptr;
    CHECK(prefill(session, {part}) == MINICPMO_ERROR_ARGUMENT);

    minicpmo_audio_stream* stream = nullptr;
    CHECK(minicpmo_audio_stream_create(model.get(), 2, &stream) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_audio_stream_create(model.get(), MINICPMO_AUDIO_DUPLEX, &stream) == MINICPMO_OK);
    const float* rows = nullptr;
    size_t n_row = 0;
    REQUIRE(minicpmo_audio_stream_push(stream, sound.data(), 16100, &rows, &n_row) == MINICPMO_OK);
    CHECK(n_row == 10);
    CHECK(rows != nullptr);
    CHECK(minicpmo_audio_stream_push(stream, nullptr, 5, &rows, &n_row) == MINICPMO_ERROR_ARGUMENT);
    REQUIRE(minicpmo_audio_stream_finish(stream, &rows, &n_row) == MINICPMO_OK);
    CHECK(n_row == 0);  // 10 ms are too short for one
    minicpmo_audio_stream_free(stream);
    minicpmo_audio_stream_free(nullptr);
    const ModelHandle deaf = load({.has_audio = false});
    CHECK(minicpmo_audio_stream_create(deaf.get(), MINICPMO_AUDIO_DUPLEX, &stream) ==
          MINICPMO_ERROR_UNSUPPORTED_MODEL);
}
