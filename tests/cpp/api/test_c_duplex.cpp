#include <doctest/doctest.h>
#include <minicpmo_duplex.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "api/c_handle.h"
#include "api/usage_in_c.h"
#include "engine/tiny_duplex.h"

using namespace minicpmo;

namespace {

using ModelHandle = Handle<minicpmo_model, minicpmo_model_free>;
using VoiceHandle = Handle<minicpmo_voice, minicpmo_voice_free>;
using DuplexHandle = Handle<minicpmo_duplex, minicpmo_duplex_free>;
using SnapshotHandle = Handle<minicpmo_duplex_snapshot, minicpmo_duplex_snapshot_free>;

ModelHandle load(const GgufBuilder& builder = lively_model(), int max_sessions = 0) {
    const TempFolder folder;  // mapped, so it may go
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    params.n_threads = 1;
    params.max_sessions = max_sessions;
    minicpmo_model* model = nullptr;
    const std::string path = folder.write("duplex.gguf", builder.build()).string();
    REQUIRE(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_OK);
    return ModelHandle(model);
}

minicpmo_duplex_params default_params() {
    minicpmo_duplex_params params;
    REQUIRE(minicpmo_duplex_params_default(&params, sizeof params) == MINICPMO_OK);
    return params;
}

// lively_options() in C.
minicpmo_duplex_params lively_params(bool has_speech = true) {
    minicpmo_duplex_params params = default_params();
    params.temperature = 1;
    params.top_k = 0;
    params.top_p = 1;
    params.seed = 1;
    params.max_characters = 0;
    params.has_speech = has_speech ? 1 : 0;
    params.n_step = 2;
    params.speech_seed = 3;
    return params;
}

DuplexHandle create(const ModelHandle& model, const minicpmo_duplex_params& params) {
    minicpmo_duplex* duplex = nullptr;
    REQUIRE(minicpmo_duplex_create(model.get(), &params, &duplex) == MINICPMO_OK);
    return DuplexHandle(duplex);
}

// As DuplexSession::prepare has it by default.
void prepare(const DuplexHandle& duplex) {
    const DuplexPrompt prompt;
    const float none = 0;
    REQUIRE(minicpmo_duplex_prepare(duplex.get(), prompt.prefix.c_str(), prompt.suffix.c_str(), &none, 0,
                                    nullptr) == MINICPMO_OK);
}

DuplexHandle prepared(const ModelHandle& model, const minicpmo_duplex_params& params = lively_params()) {
    DuplexHandle duplex = create(model, params);
    prepare(duplex);
    return duplex;
}

minicpmo_unit unit_of(const std::vector<float>& sound) {
    auto unit = sized<minicpmo_unit>();
    unit.samples = sound.data();
    unit.n_sample = sound.size();
    return unit;
}

minicpmo_frame frame_of(const Image& image, int max_slices = 1) {
    auto frame = sized<minicpmo_frame>();
    frame.pixels = image.pixels.data();
    frame.width = image.width;
    frame.height = image.height;
    frame.max_slices = max_slices;
    return frame;
}

// What a chunk says, kept.
struct Said {
    int64_t unit = 0;
    std::vector<int32_t> ids;
    std::string text;
    std::vector<float> samples;
    int n_past = 0;
    bool operator==(const Said&) const = default;
};
Said said(const minicpmo_duplex_chunk& chunk) {
    CHECK(chunk.kind == MINICPMO_CHUNK_UNIT);
    CHECK(chunk.text[chunk.n_text] == '\0');
    return {chunk.unit,
            {chunk.ids, chunk.ids + chunk.n_id},
            {chunk.text, chunk.n_text},
            {chunk.samples, chunk.samples + chunk.n_sample},
            chunk.n_past};
}
Said said(const DuplexChunk& chunk) {
    return {chunk.unit, chunk.words.ids, chunk.words.text, chunk.samples, chunk.words.n_past};
}

Said hear(const DuplexHandle& duplex, int64_t unit) {
    const std::vector<float> sound = unit_sound(unit);
    const minicpmo_unit input = unit_of(sound);
    auto chunk = sized<minicpmo_duplex_chunk>();
    REQUIRE(minicpmo_duplex_step(duplex.get(), &input, &chunk) == MINICPMO_OK);
    return said(chunk);
}

bool last_error_has(const std::string& text) {
    return std::string(minicpmo_last_error()).find(text) != std::string::npos;
}

constexpr double kWaits = -1;  // without end

void push(const DuplexHandle& duplex, int64_t unit) {
    const std::vector<float> sound = unit_sound(unit);
    REQUIRE(minicpmo_duplex_push_audio(duplex.get(), sound.data(), sound.size(), kWaits) == MINICPMO_OK);
}

}  // namespace

TEST_CASE("the example of the duplex header works when compiled as C") {
    const TempFolder folder;
    const std::string path = folder.write("duplex.gguf", lively_model().build()).string();
    size_t n_sample = 0;
    CHECK(converse_in_c(path.c_str(), 20, &n_sample) == 20);
    CHECK(n_sample > 0);
}

TEST_CASE("the defaults are those of the engine, and a conversation describes itself") {
    const minicpmo_duplex_params params = default_params();
    const DuplexOptions options;
    CHECK(params.struct_size == sizeof params);
    CHECK(params.window_high == options.window.high);
    CHECK(params.temperature == options.sampling.temperature);
    CHECK(params.max_characters == options.rules.max_characters);
    CHECK(params.hurries_always == 1);
    CHECK(params.has_speech == -1);
    const ModelHandle model = load();
    for (const bool has_speech : {false, true}) {
        minicpmo_duplex_params own = lively_params(has_speech);
        own.n_ctx = 512;
        const DuplexHandle duplex = create(model, own);
        auto info = sized<minicpmo_duplex_info>();
        REQUIRE(minicpmo_duplex_describe(duplex.get(), &info) == MINICPMO_OK);
        CHECK(info.n_ctx == 512);
        CHECK(info.unit_samples == kUnitSamples);
        CHECK(info.unit_s == 1.0);
        CHECK(info.sample_rate == (has_speech ? kSpokenSamples : 0));
    }
}

TEST_CASE("steps through C give what steps of a DuplexSession give") {
    const ModelHandle model = load();
    const Image small = random_image(30, 30);
    const Image large = random_image(160, 80);
    constexpr size_t kStride = 512;
    std::vector<uint8_t> padded(kStride * 80, 255);
    for (size_t y = 0; y < 80; ++y) {
        std::memcpy(&padded[y * kStride], &large.pixels[y * 160 * kImageChannels], 160 * kImageChannels);
    }
    for (const bool has_speech : {false, true}) {
        const DuplexHandle duplex = prepared(model, lively_params(has_speech));
        TinyDuplex expected(tiny_duplex(), lively_options(has_speech));
        int n_spoken = 0;
        for (int64_t i = 0; i < 12; ++i) {
            CAPTURE(i);
            const std::vector<float> sound = i % 5 == 4 ? std::vector<float>() : unit_sound(i);
            UnitInput input{.audio = sound, .frames = {}, .text = {}};
            minicpmo_unit unit = unit_of(sound);
            std::vector<minicpmo_frame> frames = {frame_of(small, 0), frame_of(large, 4)};
            frames[1].pixels = padded.data();
            frames[1].row_stride = kStride;
            if (i % 3 == 1) {
                input.frames = {{small.view(), 1}, {large.view(), 4}};
                unit.frames = frames.data();
                unit.n_frame = frames.size();
            }
            if (i % 5 >= 3) {
                input.text = unit.text = "hello";
                unit.n_text = 5;
            }
            unit.force_listen = i % 6 == 5 ? 1 : 0;
            auto chunk = sized<minicpmo_duplex_chunk>();
            REQUIRE(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_OK);
            const DuplexChunk other = expected.session.step(input, i % 6 == 5);
            CHECK(said(chunk) == said(other));
            CHECK(chunk.is_listen == (other.words.is_listen ? 1 : 0));
            CHECK(chunk.end_of_turn == (other.words.ends_turn ? 1 : 0));
            CHECK(chunk.is_cut == (other.is_cut ? 1 : 0));
            CHECK(chunk.listen_probability == other.words.decision.listen);
            CHECK(chunk.speak_probability == other.words.decision.speak);
            CHECK(chunk.n_forgotten == 0);
            CHECK(chunk.sample_rate == (has_speech ? kSpokenSamples : 0));
            CHECK(chunk.total_s >= chunk.prefill_s);
            CHECK(chunk.is_late == 0);
            if (!has_speech) CHECK(chunk.samples == nullptr);
            n_spoken += other.words.is_listen ? 0 : 1;
        }
        CHECK(n_spoken > 0);
    }
}

TEST_CASE("the usual prompt hears the recording of the voice, if there is one") {
    const ModelHandle model = load();
    minicpmo_voice* found = nullptr;
    REQUIRE(minicpmo_voice_of_model(model.get(), "Bob", &found) == MINICPMO_OK);
    const VoiceHandle voice(found);
    size_t n_recorded = 0;
    REQUIRE(minicpmo_voice_samples(voice.get(), nullptr, 0, &n_recorded) == MINICPMO_OK);
    std::vector<float> sound = random_sound(2 * kUnitSamples);
    const DuplexHandle duplex = create(model, lively_params());
    const auto n_past = [&](const float* reference, size_t n) {
        REQUIRE(minicpmo_duplex_prepare(duplex.get(), nullptr, nullptr, reference, n, voice.get()) ==
                MINICPMO_OK);
        return hear(duplex, 0).n_past;
    };
    const int n_plain = n_past(sound.data(), 0);
    CHECK(n_past(sound.data(), sound.size()) > n_plain + 10);
    if (n_recorded == 0) CHECK(n_past(nullptr, 0) == n_plain);
    if (n_recorded > 0) CHECK(n_past(nullptr, 0) > n_plain);
    sound[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK(minicpmo_duplex_prepare(duplex.get(), nullptr, nullptr, sound.data(), sound.size(), nullptr) ==
          MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_prepare(duplex.get(), nullptr, nullptr, nullptr, 5, nullptr) ==
          MINICPMO_ERROR_ARGUMENT);
}

TEST_CASE("pushed seconds give the units of steps, and steps may go on behind them") {
    const ModelHandle model = load();
    const DuplexHandle steps = prepared(model);
    const DuplexHandle duplex = prepared(model);
    auto chunk = sized<minicpmo_duplex_chunk>();
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 3; ++i) {
            push(duplex, i);
            REQUIRE(minicpmo_duplex_next(duplex.get(), &chunk) == MINICPMO_OK);
            CHECK(said(chunk) == hear(steps, i));
            CHECK(chunk.total_s > 0);
        }
        REQUIRE(minicpmo_duplex_poll(duplex.get(), &chunk) == MINICPMO_OK);
        CHECK(chunk.kind == MINICPMO_CHUNK_NOT_YET);
        CHECK(chunk.n_text == 0);
        CHECK(chunk.samples == nullptr);
        const std::vector<float> sound = unit_sound(7);
        const minicpmo_unit unit = unit_of(sound);
        CHECK(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_ERROR_ARGUMENT);
        CHECK(last_error_has("pushed"));
        minicpmo_duplex_snapshot* snapshot = nullptr;
        CHECK(minicpmo_duplex_snapshot_take(duplex.get(), &snapshot) == MINICPMO_ERROR_ARGUMENT);
        CHECK(minicpmo_duplex_save(duplex.get(), "x") == MINICPMO_ERROR_ARGUMENT);
        REQUIRE(minicpmo_duplex_finish(duplex.get()) == MINICPMO_OK);
        CHECK(minicpmo_duplex_push_audio(duplex.get(), sound.data(), 5, 0) == MINICPMO_ERROR_ARGUMENT);
        if (round == 0) {
            REQUIRE(minicpmo_duplex_next(duplex.get(), &chunk) == MINICPMO_OK);
        } else {
            while (chunk.kind != MINICPMO_CHUNK_END) {
                REQUIRE(minicpmo_duplex_poll(duplex.get(), &chunk) == MINICPMO_OK);
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }
        CHECK(chunk.kind == MINICPMO_CHUNK_END);
        CHECK(hear(duplex, 9) == hear(steps, 9));
    }
}

TEST_CASE("frames go with the second that arrives, and bad ones end nothing") {
    const ModelHandle model = load();
    const DuplexHandle duplex = prepared(model);
    TinyDuplex steps(tiny_duplex(), lively_options());
    const Image image = random_image(60, 30);
    const minicpmo_frame good = frame_of(image, 2);
    const auto refuses = [&](const std::function<void(minicpmo_frame&)>& change) {
        minicpmo_frame frame = good;
        change(frame);
        CHECK(minicpmo_duplex_push_frame(duplex.get(), &frame) == MINICPMO_ERROR_ARGUMENT);
    };
    auto chunk = sized<minicpmo_duplex_chunk>();
    for (int i = 0; i < 3; ++i) {
        refuses([](minicpmo_frame& f) { f.struct_size -= 1; });
        refuses([](minicpmo_frame& f) { f.pixels = nullptr; });
        refuses([](minicpmo_frame& f) { f.width = 0; });
        refuses([](minicpmo_frame& f) { f.height = -5; });
        refuses([](minicpmo_frame& f) { f.row_stride = 179; });
        refuses([](minicpmo_frame& f) { f.max_slices = 65; });
        refuses([](minicpmo_frame& f) { f.max_slices = -1; });
        REQUIRE(minicpmo_duplex_push_frame(duplex.get(), &good) == MINICPMO_OK);
        push(duplex, i);
        REQUIRE(minicpmo_duplex_next(duplex.get(), &chunk) == MINICPMO_OK);
        const std::vector<float> sound = unit_sound(i);
        CHECK(said(chunk) ==
              said(steps.session.step({.audio = sound, .frames = {{image.view(), 2}}, .text = {}})));
        CHECK(chunk.n_dropped_frames == 0);
    }
}

TEST_CASE("sound for which there is no room in time is not taken") {
    const ModelHandle model = load();
    const DuplexHandle duplex = prepared(model);
    const std::vector<float> sound = random_sound(30 * kUnitSamples);
    minicpmo_status status = MINICPMO_OK;
    for (int i = 0; i < 3 && status == MINICPMO_OK; ++i) {
        status = minicpmo_duplex_push_audio(duplex.get(), sound.data(), sound.size(), 0);
    }
    CHECK(status == MINICPMO_ERROR_TIMEOUT);
    CHECK(last_error_has("480000"));
    CHECK(minicpmo_duplex_push_audio(duplex.get(), sound.data(), 1, std::nan("")) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_push_audio(duplex.get(), nullptr, 1, 0) == MINICPMO_ERROR_ARGUMENT);
    std::vector<float> bad(10, 0.0F);
    bad[4] = std::numeric_limits<float>::infinity();
    CHECK(minicpmo_duplex_push_audio(duplex.get(), bad.data(), bad.size(), 0) == MINICPMO_ERROR_ARGUMENT);
    prepare(duplex);  // what waits is dropped
    CHECK(hear(duplex, 0) == hear(prepared(model), 0));
}

TEST_CASE("a unit that fails is heard of behind those before it, and restoring goes on") {
    const ModelHandle model = load();
    minicpmo_duplex_params params = lively_params();
    params.n_ctx = 200;
    const DuplexHandle duplex = prepared(model, params);
    hear(duplex, 0);
    minicpmo_duplex_snapshot* taken = nullptr;
    REQUIRE(minicpmo_duplex_snapshot_take(duplex.get(), &taken) == MINICPMO_OK);
    const SnapshotHandle snapshot(taken);
    const Said second = hear(duplex, 1);
    REQUIRE(minicpmo_duplex_restore(duplex.get(), snapshot.get()) == MINICPMO_OK);
    for (int i = 1; i < 20; ++i) push(duplex, i);
    auto chunk = sized<minicpmo_duplex_chunk>();
    minicpmo_status status = MINICPMO_OK;
    int n_unit = 0;
    for (; n_unit < 20; ++n_unit) {
        status = minicpmo_duplex_next(duplex.get(), &chunk);
        if (status != MINICPMO_OK) break;
        if (n_unit == 0) CHECK(said(chunk) == second);
    }
    CHECK(status == MINICPMO_ERROR_CONTEXT_FULL);
    CHECK(n_unit > 2);
    CHECK(minicpmo_duplex_poll(duplex.get(), &chunk) == MINICPMO_ERROR_CONTEXT_FULL);
    const float sample = 0;
    CHECK(minicpmo_duplex_push_audio(duplex.get(), &sample, 1, kWaits) == MINICPMO_ERROR_CONTEXT_FULL);
    REQUIRE(minicpmo_duplex_restore(duplex.get(), snapshot.get()) == MINICPMO_OK);
    CHECK(hear(duplex, 1) == second);
}

TEST_CASE("snapshots and files go on as if nothing had been between") {
    const ModelHandle model = load();
    const DuplexHandle duplex = prepared(model);
    for (int i = 0; i < 3; ++i) hear(duplex, i);
    minicpmo_duplex_snapshot* taken = nullptr;
    REQUIRE(minicpmo_duplex_snapshot_take(duplex.get(), &taken) == MINICPMO_OK);
    const SnapshotHandle snapshot(taken);
    const TempFolder folder;
    const std::string path = (folder.path() / "live.session").string();
    REQUIRE(minicpmo_duplex_save(duplex.get(), path.c_str()) == MINICPMO_OK);
    std::vector<Said> expected;
    for (int i = 3; i < 6; ++i) expected.push_back(hear(duplex, i));
    const DuplexHandle other = create(model, lively_params());
    for (int round = 0; round < 2; ++round) {
        REQUIRE(minicpmo_duplex_restore(duplex.get(), snapshot.get()) == MINICPMO_OK);
        REQUIRE(minicpmo_duplex_load(other.get(), path.c_str()) == MINICPMO_OK);
        for (int i = 3; i < 6; ++i) {
            CHECK(hear(duplex, i) == expected[static_cast<size_t>(i - 3)]);
            CHECK(hear(other, i) == expected[static_cast<size_t>(i - 3)]);
        }
    }
    CHECK(minicpmo_duplex_restore(other.get(), snapshot.get()) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_restore(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_snapshot_take(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_save(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_load(duplex.get(), "/nowhere/live.session") == MINICPMO_ERROR_MODEL_FILE);
    const std::string junk = folder.write("junk", "no conversation at all").string();
    CHECK(minicpmo_duplex_load(other.get(), junk.c_str()) == MINICPMO_ERROR_MODEL_FILE);
    const std::vector<float> sound = unit_sound(0);
    const minicpmo_unit unit = unit_of(sound);
    auto chunk = sized<minicpmo_duplex_chunk>();
    CHECK(minicpmo_duplex_step(other.get(), &unit, &chunk) == MINICPMO_ERROR_ARGUMENT);
    CHECK(last_error_has("prepare"));
}

TEST_CASE("interruptions from another thread end the turn, and no unit is lost") {
    const ModelHandle model = load();
    const DuplexHandle duplex = prepared(model);
    minicpmo_duplex_interrupt(duplex.get());
    const std::vector<float> sound = unit_sound(0);
    const minicpmo_unit unit = unit_of(sound);
    auto chunk = sized<minicpmo_duplex_chunk>();
    REQUIRE(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_OK);
    CHECK(chunk.is_listen == 1);
    CHECK(chunk.n_sample == 0);
    std::atomic<bool> is_over = false;
    std::thread interrupter([&] {
        while (!is_over) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            minicpmo_duplex_interrupt(duplex.get());
        }
    });
    std::thread pusher([&] {
        for (int i = 0; i < 10; ++i) push(duplex, i);
        CHECK(minicpmo_duplex_finish(duplex.get()) == MINICPMO_OK);
    });
    int64_t n_unit = 1;
    while (minicpmo_duplex_next(duplex.get(), &chunk) == MINICPMO_OK && chunk.kind == MINICPMO_CHUNK_UNIT) {
        CHECK(chunk.unit == n_unit++);
    }
    is_over = true;
    interrupter.join();
    pusher.join();
    CHECK(chunk.kind == MINICPMO_CHUNK_END);
    CHECK(n_unit == 11);
}

TEST_CASE("windows let go, and rules change between steps") {
    const ModelHandle model = load();
    minicpmo_duplex_params params = lively_params(false);
    params.window = MINICPMO_WINDOW_CONTEXT;
    params.max_units = 2;
    params.max_previous = 10;
    const DuplexHandle duplex = prepared(model, params);
    const std::vector<float> sound = unit_sound(0);
    const minicpmo_unit unit = unit_of(sound);
    auto chunk = sized<minicpmo_duplex_chunk>();
    int n_forgotten = 0;
    for (int i = 0; i < 6; ++i) {
        REQUIRE(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_OK);
        n_forgotten += chunk.n_forgotten;
    }
    CHECK(n_forgotten > 0);
    params.listen_scale = 1e6F;
    params.temperature = 1;
    REQUIRE(minicpmo_duplex_set_params(duplex.get(), &params) == MINICPMO_OK);
    params.temperature = NAN;
    CHECK(minicpmo_duplex_set_params(duplex.get(), &params) == MINICPMO_ERROR_ARGUMENT);
    params.temperature = 1;
    params.listen_scale = 1;
    params.max_tokens = 1;
    CHECK(minicpmo_duplex_set_params(duplex.get(), &params) == MINICPMO_ERROR_ARGUMENT);
    prepare(duplex);
    for (int i = 0; i < 6; ++i) {
        REQUIRE(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_OK);
        CHECK(chunk.is_listen == 1);
    }
}

TEST_CASE("a conversation outlives the model's handle, and a model may limit how many there are") {
    ModelHandle model = load(lively_model(), 1);
    const DuplexHandle duplex = prepared(model);
    minicpmo_duplex* more = nullptr;
    CHECK(minicpmo_duplex_create(model.get(), nullptr, &more) == MINICPMO_ERROR_SESSION_LIMIT);
    CHECK(more == nullptr);
    minicpmo_session* session = nullptr;
    CHECK(minicpmo_session_create(model.get(), nullptr, &session) == MINICPMO_ERROR_SESSION_LIMIT);
    model.reset();
    CHECK(hear(duplex, 0).unit == 0);
}

TEST_CASE("duplex refuses null pointers, other structs and numbers out of range") {
    const ModelHandle model = load();
    const auto refuses = [&](const std::function<void(minicpmo_duplex_params&)>& change) {
        minicpmo_duplex_params params = lively_params();
        change(params);
        minicpmo_duplex* made = nullptr;
        CHECK(minicpmo_duplex_create(model.get(), &params, &made) == MINICPMO_ERROR_ARGUMENT);
        CHECK(made == nullptr);
    };
    refuses([](minicpmo_duplex_params& p) { p.struct_size += 8; });
    refuses([](minicpmo_duplex_params& p) { p.n_ctx = -1; });
    refuses([](minicpmo_duplex_params& p) { p.cache_type = nullptr; });
    refuses([](minicpmo_duplex_params& p) { p.cache_type = "f8"; });
    refuses([](minicpmo_duplex_params& p) { p.window = 3; });
    refuses([](minicpmo_duplex_params& p) { p.window = -1; });
    refuses([](minicpmo_duplex_params& p) { p.window = MINICPMO_WINDOW_BASIC, p.window_low = 9000; });
    refuses([](minicpmo_duplex_params& p) { p.window = MINICPMO_WINDOW_CONTEXT, p.max_units = 0; });
    refuses([](minicpmo_duplex_params& p) { p.temperature = NAN; });
    refuses([](minicpmo_duplex_params& p) { p.top_p = 0; });
    refuses([](minicpmo_duplex_params& p) { p.listen_scale = -INFINITY; });
    refuses([](minicpmo_duplex_params& p) { p.max_tokens = 1; });
    refuses([](minicpmo_duplex_params& p) { p.max_characters = -1; });
    refuses([](minicpmo_duplex_params& p) { p.n_step = -1; });
    refuses([](minicpmo_duplex_params& p) { p.speech_temperature = NAN; });

    const DuplexHandle duplex = create(model, lively_params());
    auto chunk = sized<minicpmo_duplex_chunk>();
    std::vector<float> sound = unit_sound(0);
    const minicpmo_unit good = unit_of(sound);
    CHECK(minicpmo_duplex_step(duplex.get(), &good, &chunk) == MINICPMO_ERROR_ARGUMENT);  // not prepared
    prepare(duplex);
    const auto refuses_unit = [&](const std::function<void(minicpmo_unit&)>& change) {
        minicpmo_unit unit = good;
        change(unit);
        chunk.unit = 77;
        CHECK(minicpmo_duplex_step(duplex.get(), &unit, &chunk) == MINICPMO_ERROR_ARGUMENT);
        CHECK(chunk.unit == 77);
    };
    refuses_unit([](minicpmo_unit& u) { u.struct_size = 0; });
    refuses_unit([](minicpmo_unit& u) { u.samples = nullptr; });
    refuses_unit([](minicpmo_unit& u) { u.n_sample -= 1; });
    refuses_unit([](minicpmo_unit& u) { u.n_sample = 0; });  // nothing at all
    refuses_unit([](minicpmo_unit& u) { u.n_frame = 1; });
    refuses_unit([](minicpmo_unit& u) { u.n_text = 1; });
    auto frame = sized<minicpmo_frame>();
    refuses_unit([&](minicpmo_unit& u) { u.frames = &frame, u.n_frame = 1; });
    std::vector<float> broken = sound;
    broken[7] = NAN;
    refuses_unit([&](minicpmo_unit& u) { u.samples = broken.data(); });
    CHECK(hear(duplex, 0) == hear(prepared(model), 0));  // and nothing has changed

    auto small = sized<minicpmo_duplex_chunk>();
    small.struct_size -= 1;
    CHECK(minicpmo_duplex_step(duplex.get(), &good, &small) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_next(duplex.get(), &small) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_poll(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_step(duplex.get(), nullptr, &chunk) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_step(nullptr, &good, &chunk) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_create(nullptr, nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    minicpmo_duplex* made = nullptr;
    CHECK(minicpmo_duplex_create(nullptr, nullptr, &made) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_params_default(nullptr, 8) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_prepare(nullptr, nullptr, nullptr, nullptr, 0, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_describe(nullptr, nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_set_params(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_push_audio(nullptr, nullptr, 0, 0) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_push_frame(duplex.get(), nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_finish(nullptr) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_next(nullptr, &chunk) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_duplex_load(nullptr, "x") == MINICPMO_ERROR_ARGUMENT);
    minicpmo_duplex_interrupt(nullptr);
    minicpmo_duplex_free(nullptr);
    minicpmo_duplex_snapshot_free(nullptr);
    CHECK(hear(duplex, 1).unit == 1);  // none of these began a stream

    const ModelHandle plain = load(tiny_model());
    CHECK(minicpmo_duplex_create(plain.get(), nullptr, &made) == MINICPMO_ERROR_UNSUPPORTED_MODEL);
}
