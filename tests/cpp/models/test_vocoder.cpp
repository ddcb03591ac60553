#include "models/speech/vocoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/rng.h"
#include "core/temp_folder.h"
#include "models/tiny_vocoder.h"

using namespace minicpmo;

namespace {

constexpr int kFrame = 480;        // samples
constexpr int kHeld = 8 * kFrame;  // of a stream
constexpr float kRounding = 1e-5F;

// A vocoder with its own scratch memory. Its noise never repeats within a test.
struct TinyVocoder {
    explicit TinyVocoder(bool is_causal, const VocoderConfig& config)
        : weights(open(is_causal), *backend),
          vocoder(config, weights.root() / "t2w" / (is_causal ? "hift_causal" : "hift")) {}
    explicit TinyVocoder(bool is_causal) : TinyVocoder(is_causal, tiny_vocoder_config({is_causal})) {}

    std::shared_ptr<const GgufFile> open(bool is_causal) {
        GgufBuilder builder;
        add_tiny_vocoder(builder, {.is_causal = is_causal});
        return std::make_shared<const GgufFile>(GgufFile::open(folder.write("tiny.gguf", builder.build())));
    }
    std::vector<float> generate(const Array<float>& mel, std::span<const float> noise = {}) {
        return vocoder.generate(mel, noise, workspace);
    }
    std::vector<float> next(const Array<float>& mel, bool is_last, VocoderState& state,
                            std::span<const float> noise = {}) {
        return vocoder.next(mel, is_last, noise, state, workspace);
    }

    TempFolder folder;
    std::shared_ptr<const Backend> backend = std::make_shared<const Backend>(BackendOptions{"cpu", 2});
    Weights weights;
    Vocoder vocoder;
    Workspace workspace{backend};
};

std::vector<float> random_values(size_t n, uint64_t seed) {
    Rng rng{seed, 0};
    std::vector<float> values(n);
    for (float& x : values) x = static_cast<float>(2 * rng.uniform() - 1);
    return values;
}

Array<float> random_mel(int n, uint64_t seed = 3) {
    Array<float> mel({6, n});
    mel.data = random_values(mel.data.size(), seed);
    return mel;
}

Array<float> frames(const Array<float>& mel, int64_t begin, int64_t n) {
    Array<float> part({mel.dim(0), n});
    std::copy_n(mel.data.begin() + begin * mel.dim(0), part.data.size(), part.data.begin());
    return part;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    float largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

bool is_silence(const std::vector<float>& wave, size_t n) {
    return std::all_of(wave.begin(), wave.begin() + static_cast<std::ptrdiff_t>(n),
                       [](float x) { return x == 0.0F; });
}

// The wave of a stream cut into chunks of these sizes, without the silence that opens it.
std::vector<float> streamed(TinyVocoder& tiny, const Array<float>& mel, const std::vector<int>& sizes,
                            std::span<const float> noise) {
    VocoderState state = tiny.vocoder.start();
    std::vector<float> wave;
    int64_t begin = 0;
    for (const int n : sizes) {
        const bool is_last = begin + n == mel.dim(1);
        const auto chunk = tiny.next(frames(mel, begin, n), is_last, state, noise);
        wave.insert(wave.end(), chunk.begin(), chunk.end());
        begin += n;
    }
    const auto n_sample = static_cast<size_t>(mel.dim(1)) * kFrame;
    if (wave.size() > n_sample) {
        REQUIRE(wave.size() == n_sample + kHeld);
        REQUIRE(is_silence(wave, kHeld));
        wave.erase(wave.begin(), wave.begin() + kHeld);
    }
    return wave;
}

// The phase by the formula of the specification, in cycles and unreduced.
double phase_of_sample(const std::vector<float>& f0, size_t sample, int harmonic, bool is_causal) {
    const auto cycles = [&](size_t frame) {
        double sum = 0;
        for (size_t i = 0; i <= frame; ++i) sum += std::fmod(harmonic * double{f0[i]} / 24000, 1.0) * kFrame;
        return sum;
    };
    if (is_causal) return cycles(sample / kFrame);
    const double u = std::max((static_cast<double>(sample) + 0.5) / kFrame - 0.5, 0.0);
    const auto i = static_cast<size_t>(u);
    const double share = u - static_cast<double>(i);
    return cycles(i) * (1 - share) + cycles(std::min(i + 1, f0.size() - 1)) * share;
}

struct TinySource {
    explicit TinySource(bool is_causal) : tiny(is_causal) {
        const auto scope = tiny.weights.root() / "t2w" / (is_causal ? "hift_causal" : "hift");
        source.emplace_back(tiny_vocoder_config({is_causal}).source, scope);
        const auto* data = static_cast<const float*>((scope / "source").get_f32("weight", {3})->data);
        weights.assign(data, data + 3);
        bias = *static_cast<const float*>((scope / "source").get_f32("bias", {1})->data);
    }
    TinyVocoder tiny;
    std::vector<HarmonicSource> source;
    std::vector<float> weights;
    float bias = 0;
};

}  // namespace

TEST_CASE("a causal stream gives what one call gives, however it is cut") {
    TinyVocoder tiny(true);
    const Array<float> mel = random_mel(130);
    const auto noise = random_values(1'000'003, 8);
    const auto whole = tiny.generate(mel, noise);
    REQUIRE(whole.size() == 130 * kFrame);
    const std::vector<std::vector<int>> cuts = {{50, 50, 30},      {130},    {1, 1, 1, 127},
                                                {7, 1, 2, 30, 90}, {129, 1}, {0, 3, 3, 0, 124}};
    for (const auto& sizes : cuts) {
        CAPTURE(sizes.size());
        CHECK(largest_difference(streamed(tiny, mel, sizes, noise), whole) < kRounding);
    }
}

TEST_CASE("the causal network sees no frame beyond its delay") {
    TinyVocoder tiny(true);
    const Array<float> mel = random_mel(40);
    Array<float> other = mel;
    for (size_t i = 30 * 6; i < other.data.size(); ++i) other.data[i] += 1.0F;
    auto a = tiny.generate(mel);
    auto b = tiny.generate(other);
    a.resize((30 - 8) * kFrame);
    b.resize((30 - 8) * kFrame);
    CHECK(largest_difference(a, b) < kRounding);
    CHECK(largest_difference(tiny.generate(mel), tiny.generate(other)) > 1e-3F);
}

TEST_CASE("a chunk lasts as long as its frames, and the first one opens with silence") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        TinyVocoder tiny(is_causal);
        VocoderState state = tiny.vocoder.start();
        const auto first = tiny.next(random_mel(50), false, state);
        CHECK(first.size() == 24000);
        CHECK(is_silence(first, kHeld));
        CHECK_FALSE(is_silence({first.begin() + kHeld, first.end()}, kFrame));
        CHECK(tiny.next(random_mel(50), false, state).size() == 24000);
        CHECK(tiny.next(random_mel(6), true, state).size() == kHeld + 6 * kFrame);
        CHECK_THROWS_AS(tiny.next(random_mel(6), true, state), ArgumentError);
    }
}

TEST_CASE("an empty last chunk gives what was held back") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        TinyVocoder tiny(is_causal);
        VocoderState state = tiny.vocoder.start();
        CHECK(tiny.next(random_mel(20), false, state).size() == 20 * kFrame);
        CHECK(tiny.next({}, true, state).size() == kHeld);
        VocoderState empty = tiny.vocoder.start();
        CHECK(tiny.next({}, true, empty).empty());
    }
}

TEST_CASE("a first chunk that is also the last is a whole utterance, without silence") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        TinyVocoder tiny(is_causal);
        for (const int n : {1, 5, 20}) {
            CAPTURE(n);
            VocoderState state = tiny.vocoder.start();
            const auto wave = tiny.next(random_mel(n), true, state);
            CHECK(wave.size() == static_cast<size_t>(n) * kFrame);
            CHECK(largest_difference(wave, tiny.generate(random_mel(n))) == 0.0F);
        }
    }
}

TEST_CASE("a state taken before a chunk gives the same chunk again") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        TinyVocoder tiny(is_causal);
        const auto noise = random_values(1'000'003, 8);
        VocoderState state = tiny.vocoder.start();
        tiny.next(random_mel(20, 1), false, state, noise);
        const VocoderState snapshot = state;
        const auto once = tiny.next(random_mel(15, 2), false, state, noise);
        tiny.next(random_mel(9, 4), true, state, noise);
        state = snapshot;
        CHECK(largest_difference(tiny.next(random_mel(15, 2), false, state, noise), once) == 0.0F);
    }
}

TEST_CASE("a chunk that is interrupted can be given again") {
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        TinyVocoder tiny(is_causal);
        VocoderState state = tiny.vocoder.start();
        tiny.next(random_mel(20, 1), false, state);
        VocoderState other = state;
        tiny.workspace.interrupt();
        CHECK_THROWS_AS(tiny.next(random_mel(15, 2), false, state), InterruptedError);
        tiny.workspace.clear_interrupt();
        const auto wave = tiny.next(random_mel(15, 2), false, state);
        CHECK(largest_difference(wave, tiny.next(random_mel(15, 2), false, other)) == 0.0F);
    }
}

TEST_CASE("chunks of the original network fade into each other by a Hamming window") {
    // Without a voiced frame the excitation is constant, so that a chunk is an utterance of its own.
    VocoderConfig config = tiny_vocoder_config();
    config.source.voiced_threshold_hz = 1e6F;
    TinyVocoder tiny(false, config);
    const Array<float> mel = random_mel(35);
    VocoderState state = tiny.vocoder.start();
    const auto first = tiny.next(frames(mel, 0, 20), false, state);
    const auto second = tiny.next(frames(mel, 20, 15), true, state);
    const auto before = tiny.generate(frames(mel, 0, 20));
    auto expected = tiny.generate(frames(mel, 12, 23));
    CHECK(largest_difference({first.begin() + kHeld, first.end()}, {before.begin(), before.end() - kHeld}) ==
          0.0F);
    for (size_t i = 0; i < kHeld; ++i) {
        const auto hamming = [](size_t at) {
            return 0.54 - 0.46 * std::cos(2 * std::numbers::pi * static_cast<double>(at) / (2 * kHeld - 1));
        };
        expected[i] = static_cast<float>(expected[i] * hamming(i) +
                                         before[before.size() - kHeld + i] * hamming(kHeld + i));
    }
    CHECK(largest_difference(second, expected) < 1e-6F);
}

TEST_CASE("the harmonics follow the pitch, between frames in a line or not at all") {
    const std::vector<float> f0 = {0, 120, 123, 130, 150, 151, 0, 90, 5000};
    for (const bool is_causal : {false, true}) {
        CAPTURE(is_causal);
        const TinySource tiny(is_causal);
        HarmonicSourceState state;
        const auto samples = tiny.source[0].generate(f0, {}, state);
        std::vector<float> expected;
        for (size_t s = 0; s < f0.size() * kFrame; ++s) {
            double sum = tiny.bias;
            for (int h = 1; h <= 3 && f0[s / kFrame] > 10; ++h)
                sum += double{tiny.weights[static_cast<size_t>(h - 1)]} * 0.1 *
                       std::sin(2 * std::numbers::pi * phase_of_sample(f0, s, h, is_causal));
            expected.push_back(static_cast<float>(std::tanh(sum)));
        }
        CHECK(largest_difference(samples, expected) < 3e-5F);
    }
}

TEST_CASE("the phase runs on where the frames before ended") {
    const TinySource tiny(true);
    const std::vector<float> f0 = {100, 120, 0, 130, 150};
    HarmonicSourceState whole_state;
    const auto whole = tiny.source[0].generate(f0, {}, whole_state);
    HarmonicSourceState state;
    auto parts = tiny.source[0].generate(std::span(f0).first(2), {}, state);
    const auto rest = tiny.source[0].generate(std::span(f0).subspan(2), {}, state);
    parts.insert(parts.end(), rest.begin(), rest.end());
    CHECK(largest_difference(parts, whole) == 0.0F);
    CHECK(state.n_sample == 5 * kFrame);
}

TEST_CASE("noise is read by the sample, and is loud where there is no voice") {
    const TinySource tiny(false);
    const auto noise = random_values(3 * kFrame, 5);
    HarmonicSourceState state{.cycles = {}, .n_sample = 7 * kFrame};
    HarmonicSourceState quiet_state;
    const std::vector<float> f0 = {0, 200};
    const auto samples = tiny.source[0].generate(f0, noise, state);
    const auto quiet = tiny.source[0].generate(f0, {}, quiet_state);
    for (size_t s = 0; s < samples.size(); ++s) {
        double sum = std::atanh(double{quiet[s]});
        for (size_t h = 0; h < 3; ++h)
            sum += double{tiny.weights[h]} * (s < kFrame ? 0.1 / 3 : 0.003) *
                   noise[((s + 7 * kFrame) * 3 + h) % noise.size()];
        REQUIRE(samples[s] == doctest::Approx(std::tanh(sum)).epsilon(1e-5));
    }
}

TEST_CASE("frames of another kind are refused") {
    TinyVocoder tiny(true);
    VocoderState state = tiny.vocoder.start();
    CHECK_THROWS_AS(tiny.next(Array<float>({7, 10}), false, state), ArgumentError);
    CHECK_THROWS_AS(tiny.generate({}), ArgumentError);
    CHECK_THROWS_AS(tiny.generate(Array<float>({6, Vocoder::kMaxFrames + 1})), ArgumentError);
}
