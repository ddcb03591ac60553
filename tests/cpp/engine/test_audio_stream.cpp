#include "engine/audio_stream.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "engine/recording.h"
#include "engine/tiny_session.h"

using namespace minicpmo;

namespace {

constexpr int kSecond = 16000;
constexpr int kPadding = 560;  // zeros in front of a stream: 35 ms

std::shared_ptr<const Model> model() {
    static const std::shared_ptr<const Model> tiny = load_tiny();
    return tiny;
}

void append(Array<float>& all, const Array<float>& rows) {
    all.data.insert(all.data.end(), rows.data.begin(), rows.data.end());
    all.shape = {kTinyEmbd, static_cast<int64_t>(all.data.size()) / kTinyEmbd};
}

Array<float> stream_all(AudioStream& stream, std::span<const float> sound, size_t step) {
    Array<float> all;
    for (size_t at = 0; at < sound.size(); at += step) {
        append(all, stream.push(sound.subspan(at, std::min(step, sound.size() - at))));
    }
    return all;
}

double relative_distance(std::span<const float> a, std::span<const float> b) {
    REQUIRE(a.size() == b.size());
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += std::pow(double{a[i]} - double{b[i]}, 2);
        norm += std::pow(double{b[i]}, 2);
    }
    return std::sqrt(difference / norm);
}

}  // namespace

TEST_CASE("a second of sound is ten embeddings, at once, in both modes") {
    for (const AudioStreamMode mode : {AudioStreamMode::half_duplex, AudioStreamMode::duplex}) {
        AudioStream stream(model(), mode);
        const std::vector<float> sound = random_sound(3 * kSecond);
        CHECK(stream.push(std::span(sound).first(kSecond - 81)).dim(1) == 0);
        CHECK(stream.push(std::span(sound).subspan(kSecond - 81, 81)).dim(1) == 10);
        CHECK(stream.push(std::span(sound).subspan(kSecond)).dim(1) == 20);
        CHECK(stream.n_sample() == 3 * kSecond);
    }
}

TEST_CASE("how the samples are cut when they are pushed makes no difference") {
    const std::vector<float> sound = random_sound(7 * kSecond + 4321);
    for (const AudioStreamMode mode : {AudioStreamMode::half_duplex, AudioStreamMode::duplex}) {
        AudioStream whole(model(), mode);
        Array<float> expected = whole.push(sound);
        append(expected, whole.finish());
        CHECK(expected.dim(1) > 70);
        for (const size_t step : {size_t{333}, size_t{16000}, size_t{16560}, size_t{50001}}) {
            AudioStream stream(model(), mode);
            Array<float> rows = stream_all(stream, sound, step);
            append(rows, stream.finish());
            CHECK(rows.data == expected.data);
        }
    }
}

TEST_CASE("a finished or reset stream is as new") {
    const std::vector<float> sound = random_sound(2 * kSecond);
    AudioStream stream(model(), AudioStreamMode::duplex);
    const Array<float> first = stream.push(sound);
    stream.finish();
    CHECK(stream.push(sound).data == first.data);
    stream.reset();
    CHECK(stream.n_sample() == 0);
    CHECK(stream.push(sound).data == first.data);
    AudioStream silent(model(), AudioStreamMode::duplex);
    CHECK(silent.finish().dim(1) == 0);
}

TEST_CASE("the stream forgets at the thirtieth chunk, and equals the whole with blocks in between") {
    // In white noise no band is near the floor. It shows in the silence in front of the stream alone, which
    // is why the expected spectrum has the fixed floor that short buffers have.
    std::vector<float> sound = random_sound(65 * kSecond);
    AudioStream stream(model(), AudioStreamMode::duplex);
    Array<float> rows;
    std::vector<int> cached;
    for (int second = 0; second < 65; ++second) {
        append(rows, stream.push(std::span(sound).subspan(static_cast<size_t>(second) * kSecond, kSecond)));
        cached.push_back(stream.n_cached());
    }
    CHECK(rows.dim(1) == 650);
    for (int i = 0; i < 65; ++i) CHECK(cached[static_cast<size_t>(i)] == (i % 29 + 1) * 50);

    sound.insert(sound.begin(), kPadding, 0.0F);
    const int block = attention_block(*model()->config().audio, 1.0F);
    Workspace workspace(model()->backend());
    for (const int begin : {0, 29}) {  // what the encoder hears between two resets
        // One second more than is compared, so that its end is no edge.
        const auto piece = std::span(sound).subspan(static_cast<size_t>(begin) * kSecond, 30 * kSecond);
        const Array<float> mel = model()->log_mel()->offline(piece, LogFloor::fixed);
        const Array<float> whole = model()->audio().encode(mel, block, workspace);
        for (int second = 0; second < 29; ++second) {
            const auto size = static_cast<size_t>(10 * kTinyEmbd);
            const auto streamed =
                std::span(rows.data).subspan(static_cast<size_t>(begin + second) * size, size);
            const auto expected = std::span(whole.data).subspan(static_cast<size_t>(second) * size, size);
            CAPTURE(begin);
            CAPTURE(second);
            // Behind a reset the whole has an edge of zeros where the stream's convolutions see real
            // neighbours: that is one frame of the first 50, which all later ones look at. At the begin there
            // is only rounding.
            CHECK(relative_distance(streamed, expected) < (begin == 0 ? 1e-5 : 5e-2));
        }
    }
}

TEST_CASE("bad samples and modes are refused, and the stream goes on") {
    AudioStream stream(model(), AudioStreamMode::half_duplex);
    std::vector<float> sound = random_sound(kSecond);
    sound[5] = std::numeric_limits<float>::infinity();
    CHECK_THROWS_AS(stream.push(sound), ArgumentError);
    sound[5] = 0.0F;
    CHECK(stream.push({}).dim(1) == 0);
    CHECK(stream.push(sound).dim(1) == 10);
    CHECK_THROWS_AS(parse_audio_stream_mode("triplex"), ArgumentError);
    CHECK_THROWS_AS(AudioStream(load_tiny({.has_audio = false}), AudioStreamMode::duplex),
                    UnsupportedModelError);
}
