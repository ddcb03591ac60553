#include "audio/streaming_mel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

using minicpmo::ArgumentError;
using minicpmo::LogFloor;
using minicpmo::LogMel;
using minicpmo::MelChunk;
using minicpmo::MelConfig;
using minicpmo::Rng;
using minicpmo::StreamingMel;
using minicpmo::StreamingMelConfig;

namespace {

// A tenth of everything.
constexpr MelConfig kSmall{.sample_rate = 1600, .n_fft = 40, .hop = 16, .n_mel = 8, .max_samples = 48000};
// The first frames of a buffer are more than two, and the last ones more than one.
constexpr MelConfig kDense{.sample_rate = 1600, .n_fft = 64, .hop = 10, .n_mel = 8, .max_samples = 48000};

std::shared_ptr<const LogMel> make_mel(const MelConfig& config = {}) {
    return std::make_shared<const LogMel>(config);
}

// Loud and quiet stretches, silence from 7 s to 9 s, and at 12 s a burst louder than everything.
std::vector<float> sound(int n_second, int rate, uint64_t seed) {
    Rng rng{seed};
    std::vector<float> samples;
    const int n_stretch = 4 * n_second;
    for (int stretch = 0; stretch < n_stretch; ++stretch) {
        const bool is_silent = stretch >= 28 && stretch < 36;
        const double level = is_silent ? 0.0 : std::pow(10.0, -5 + 4 * rng.uniform());
        for (int i = 0; i < rate / 4; ++i) {
            const bool is_burst = stretch == 48 && i < rate / 20;
            samples.push_back(static_cast<float>((is_burst ? 1.0 : level) * (2 * rng.uniform() - 1)));
        }
    }
    return samples;
}

// The rules, with everything computed anew from the whole buffer at every call.
class NaiveStream {
public:
    NaiveStream(std::shared_ptr<const LogMel> mel, int redundancy)
        : mel_(std::move(mel)), redundancy_(redundancy) {}

    // [frames][n_mel], frames repeated or not
    std::vector<float> push(std::span<const float> samples, bool is_last, int& n_frame) {
        const MelConfig& c = mel_->config();
        n_frame = 0;
        buffer_.insert(buffer_.end(), samples.begin(), samples.end());
        if (static_cast<int>(buffer_.size()) < c.n_fft) return {};
        if (static_cast<int>(buffer_.size()) >= 30 * c.sample_rate) {
            buffer_.erase(buffer_.begin(), buffer_.begin() + 10 * c.sample_rate);
            base_ += 10 * c.sample_rate / c.hop;
        }
        const auto n = static_cast<int>(buffer_.size());
        const int n_known = std::min(n / c.hop, (n - c.n_fft / 2) / c.hop + 1);
        const int core = emitted_;
        const int core_end = core + c.sample_rate / c.hop;
        if (base_ + n_known < core_end + redundancy_ && !is_last) return {};
        emitted_ = core_end;
        std::vector<float> logs = whole_buffer();
        const float loudest = *std::max_element(logs.begin(), logs.end());
        LogMel::scale(logs, n >= 5 * c.sample_rate ? LogFloor::dynamic : LogFloor::fixed, loudest);
        const int begin = std::clamp(std::max(0, core - redundancy_) - base_, 0, n / c.hop);
        const int end = std::max(begin, std::min(core_end + redundancy_ - base_, n / c.hop));
        // The reference emits repeated frames even where none is new.
        if (std::max(begin, core - base_) >= std::min(end, core_end - base_)) return {};
        n_frame = end - begin;
        return {logs.begin() + begin * c.n_mel, logs.begin() + end * c.n_mel};
    }

private:
    std::vector<float> whole_buffer() const {
        const MelConfig& c = mel_->config();
        const int half = c.n_fft / 2;
        std::vector<float> padded(buffer_.rend() - half - 1, buffer_.rend() - 1);
        padded.insert(padded.end(), buffer_.begin(), buffer_.end());
        padded.insert(padded.end(), buffer_.rbegin() + 1, buffer_.rbegin() + 1 + half);
        const auto n = static_cast<int64_t>(padded.size());
        return mel_->log_powers({padded, -half, -half, n - half}, 0,
                                static_cast<int64_t>(buffer_.size()) / c.hop);
    }

    std::shared_ptr<const LogMel> mel_;
    int redundancy_;
    std::vector<float> buffer_;
    int base_ = 0;
    int emitted_ = 0;
};

// Both streams get the same pushes; returns how many chunks came.
template <class NextLength>
int check_equal(const MelConfig& config, int redundancy, int n_second, double last_rate,
                NextLength next_length) {
    const auto mel = make_mel(config);
    StreamingMelConfig streaming_config;
    streaming_config.redundancy = redundancy;
    StreamingMel stream(mel, streaming_config);
    NaiveStream naive(mel, redundancy);
    const std::vector<float> all = sound(n_second, config.sample_rate, 11);
    std::span<const float> rest = all;
    Rng rng{12};
    int n_chunk = 0;
    while (!rest.empty()) {
        const auto n = std::min(static_cast<size_t>(next_length(stream, rng)), rest.size());
        const bool is_last = rng.uniform() < last_rate;
        int n_frame = 0;
        const std::vector<float> expected = naive.push(rest.first(n), is_last, n_frame);
        const std::optional<MelChunk> chunk = stream.push(rest.first(n), is_last);
        rest = rest.subspan(n);
        REQUIRE(chunk.has_value() == (n_frame > 0));
        if (!chunk) continue;
        ++n_chunk;
        REQUIRE(chunk->mel.shape == std::vector<int64_t>{config.n_mel, n_frame});
        REQUIRE(chunk->mel.data == expected);
        REQUIRE(chunk->prefix + chunk->suffix < n_frame);
    }
    return n_chunk;
}

}  // namespace

TEST_CASE("chunks equal those of a whole-buffer computation at every push, past all slides") {
    const auto wanted = [](const StreamingMel& stream, Rng&) { return stream.chunk_samples(); };
    for (const int redundancy : {0, 2}) CHECK(check_equal(kSmall, redundancy, 75, 0, wanted) == 74);
    CHECK(check_equal(kDense, 3, 75, 0, wanted) == 74);
    CHECK(check_equal(MelConfig{}, 2, 72, 0, wanted) == 71);
}

TEST_CASE("pushes of any length, last ones in between and streams that fall behind follow the same rules") {
    for (const auto& config : {kSmall, kDense}) {
        for (const int redundancy : {0, 1, 5}) {
            const auto any = [](const StreamingMel&, Rng& rng) {
                const int lengths[] = {0, 1, 37, 800, 1599, 1600, 1600, 1648, 2401, 3200, 9000};
                return lengths[rng.next() % 11];
            };
            CHECK(check_equal(config, redundancy, 150, 0.05, any) > 40);
        }
    }
}

TEST_CASE("half duplex emits 100 frames a second, duplex two more at either side that has a neighbour") {
    const std::vector<float> samples = sound(4, 16000, 1);
    StreamingMelConfig config;
    for (const int redundancy : {0, 2}) {
        config.redundancy = redundancy;
        StreamingMel stream(make_mel(), config);
        CHECK(stream.chunk_samples() == 16480);
        std::optional<MelChunk> chunk = stream.push(std::span(samples).first(16480));
        REQUIRE(chunk);
        CHECK(chunk->mel.dim(1) == 100 + redundancy);
        CHECK(chunk->prefix == 0);
        CHECK(chunk->suffix == redundancy);
        CHECK(stream.chunk_samples() == 16000);
        chunk = stream.push(std::span(samples).subspan(16480, 16000));
        REQUIRE(chunk);
        CHECK(chunk->mel.dim(1) == 100 + 2 * redundancy);
        CHECK(chunk->prefix == redundancy);
        CHECK(chunk->suffix == redundancy);
        CHECK_FALSE(
            stream.push(std::span(samples).subspan(32480, 15000)));  // not all of its frames are known
        chunk = stream.push({}, true);
        REQUIRE(chunk);
        CHECK(chunk->mel.dim(1) == redundancy + 96);  // 47480 samples are 296 frames
        CHECK(chunk->suffix == 0);
        CHECK_FALSE(stream.push({}, true));
    }
}

TEST_CASE("less than a frame's worth of samples waits for more, even as the last") {
    StreamingMel stream(make_mel(), {});
    CHECK_FALSE(stream.push({}));
    CHECK_FALSE(stream.push({}, true));
    CHECK_FALSE(stream.push(std::vector<float>(1, 0.5F), true));
    CHECK_FALSE(stream.push(std::vector<float>(398, 0.5F), true));
    CHECK(stream.chunk_samples() == 16480);
    const std::optional<MelChunk> chunk = stream.push(std::vector<float>(1, 0.5F), true);
    REQUIRE(chunk);
    CHECK(chunk->mel.dim(1) == 2);
}

TEST_CASE("the floor is fixed below 5 s and 8 below the loudest frame of the buffer from then on") {
    std::vector<float> samples(16000 * 6);
    for (size_t i = 0; i < 8000; ++i) samples[i] = i % 2 == 0 ? 0.5F : -0.5F;
    StreamingMel stream(make_mel(), {});
    std::span<const float> rest = samples;
    for (int second = 1; second <= 6; ++second) {
        const auto n = std::min(static_cast<size_t>(stream.chunk_samples()), rest.size());
        const std::optional<MelChunk> chunk = stream.push(rest.first(n), second == 6);
        rest = rest.subspan(n);
        REQUIRE(chunk);
        const float quietest = *std::min_element(chunk->mel.data.begin(), chunk->mel.data.end());
        if (second == 1) continue;
        if (second < 5) CHECK(quietest == -1.5F);
        if (second >= 5) CHECK(quietest > -1.4F);  // though the sound itself was emitted long ago
    }
}

TEST_CASE("a copy goes on as the original does") {
    const std::vector<float> samples = sound(40, 1600, 21);
    StreamingMelConfig config;
    config.redundancy = 2;
    StreamingMel stream(make_mel(kSmall), config);
    std::optional<StreamingMel> copy;
    std::vector<std::vector<float>> heard;
    for (int run = 0; run < 2; ++run) {
        StreamingMel& used = run == 0 ? stream : *copy;
        for (size_t second = run == 0 ? 0 : 29; second < 39; ++second) {
            if (run == 0 && second == 29) copy = stream;
            const std::optional<MelChunk> chunk = used.push(std::span(samples).subspan(second * 1600, 1600));
            if (run == 0 && second >= 29) heard.push_back(chunk ? chunk->mel.data : std::vector<float>{});
            if (run == 1) CHECK(heard[second - 29] == (chunk ? chunk->mel.data : std::vector<float>{}));
        }
    }
}

TEST_CASE("samples that are no sound, too many at once and unusable settings are refused") {
    StreamingMel stream(make_mel(), {});
    CHECK_THROWS_AS(stream.push(std::vector<float>(1, std::numeric_limits<float>::quiet_NaN())),
                    ArgumentError);
    CHECK_THROWS_AS(stream.push(std::vector<float>(160001)), ArgumentError);
    CHECK(stream.push(std::vector<float>(160000)));  // nothing of the refused ones was kept
    const auto refused = [](auto change) {
        StreamingMelConfig config;
        change(config);
        CHECK_THROWS_AS(StreamingMel(make_mel(), config), ArgumentError);
    };
    refused([](StreamingMelConfig& c) { c.redundancy = -1; });
    refused([](StreamingMelConfig& c) { c.redundancy = 101; });
    refused([](StreamingMelConfig& c) { c.chunk_ms = 9; });
    refused([](StreamingMelConfig& c) { c.first_chunk_ms = 0; });
    refused([](StreamingMelConfig& c) { c.slide_s = 0; });
    refused([](StreamingMelConfig& c) { c.slide_s = 30; });
    refused([](StreamingMelConfig& c) { c.slide_trigger_s = 31; });
    CHECK_THROWS_AS(StreamingMel(nullptr, {}), ArgumentError);
}
