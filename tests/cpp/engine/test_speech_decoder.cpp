#include "engine/speech_decoder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "base/error.h"
#include "engine/tiny_speech.h"

using namespace minicpmo;

namespace {

SpeechDecoder make_decoder(bool is_causal = false, const SpeechDecoderOptions& options = {.seed = 1}) {
    const auto model = tiny_speaker(is_causal);
    return {model, model->speech().voice("Ann"), options};
}

std::vector<float> whole(SpeechDecoder& decoder, const std::vector<int32_t>& codes,
                         bool opens_with_silence = false) {
    decoder.begin(opens_with_silence);
    return decoder.push(codes, true);
}

bool is_sound(const std::vector<float>& samples) {
    float loudest = 0;
    for (const float x : samples) {
        if (!(std::abs(x) <= 1.0F)) return false;
        loudest = std::max(loudest, std::abs(x));
    }
    return loudest > 0;
}

}  // namespace

TEST_CASE("a turn has 960 samples a code, and silence at its start if it takes several windows") {
    for (const bool is_causal : {false, true}) {
        SpeechDecoder decoder = make_decoder(is_causal);
        for (const bool opens_with_silence : {false, true}) {
            for (const int n : {1, 24, 25, 27, 28, 53, 60}) {
                CAPTURE(is_causal);
                CAPTURE(opens_with_silence);
                CAPTURE(n);
                const std::vector<float> samples = whole(decoder, random_codes(n), opens_with_silence);
                CHECK(samples.size() == n_samples_of(n, opens_with_silence));
                CHECK(is_sound(samples));
            }
        }
    }
}

TEST_CASE("how codes are cut into calls changes nothing") {
    for (const bool is_causal : {false, true}) {
        SpeechDecoder decoder = make_decoder(is_causal);
        const std::vector<int32_t> codes = random_codes(90);
        const std::vector<float> expected = whole(decoder, codes, true);
        for (const size_t step : {1, 7, 25, 60}) {
            decoder.begin(true);
            std::vector<float> samples;
            for (size_t at = 0; at < codes.size(); at += step) {
                const size_t n = std::min(step, codes.size() - at);
                const auto more = decoder.push(std::span(codes).subspan(at, n), at + n == codes.size());
                samples.insert(samples.end(), more.begin(), more.end());
            }
            CHECK(samples == expected);
        }
        decoder.begin(true);
        std::vector<float> samples = decoder.push(codes, false);
        const std::vector<float> rest = decoder.push({}, true);
        samples.insert(samples.end(), rest.begin(), rest.end());
        CHECK(samples == expected);
    }
}

TEST_CASE("a new turn knows nothing of the one before, finished or not") {
    SpeechDecoder decoder = make_decoder();
    const std::vector<int32_t> codes = random_codes(40);
    const std::vector<float> expected = whole(decoder, codes);
    CHECK(whole(decoder, codes) == expected);
    decoder.begin(true);
    decoder.push(random_codes(70, 9), false);
    CHECK(whole(decoder, codes) == expected);
    CHECK(decoder.spectrum_s() > 0);
    CHECK(decoder.vocoder_s() > 0);
    decoder.begin(false);
    CHECK(decoder.spectrum_s() == 0);
}

TEST_CASE("seed, voice, steps and noise shape the sound, and the same ones give the same") {
    const std::vector<int32_t> codes = random_codes(30);
    const auto say_with = [&](const SpeechDecoderOptions& options, const char* name = "Ann") {
        const auto model = tiny_speaker();
        SpeechDecoder decoder(model, model->speech().voice(name), options);
        return whole(decoder, codes);
    };
    const std::vector<float> expected = say_with({.seed = 1});
    CHECK(say_with({.seed = 1}) == expected);
    CHECK(say_with({.n_step = 3, .seed = 1}) == expected);  // as the file says
    CHECK(say_with({.seed = 2}) != expected);
    CHECK(say_with({.n_step = 2, .seed = 1}) != expected);
    CHECK(say_with({.seed = 1, .has_noise = false}) != expected);
    CHECK(say_with({.seed = 1}, "Bob") != expected);
}

TEST_CASE("a turn that ends without codes says nothing") {
    SpeechDecoder decoder = make_decoder();
    decoder.begin(true);
    CHECK(decoder.push({}, true).empty());
    const std::vector<int32_t> codes = random_codes(5);
    CHECK(whole(decoder, codes).size() == n_samples_of(5, false));
}

TEST_CASE("an interrupted decoder throws, and speaks again in a new turn") {
    SpeechDecoder decoder = make_decoder();
    const std::vector<int32_t> codes = random_codes(40);
    const std::vector<float> expected = whole(decoder, codes);
    decoder.begin(false);
    decoder.interrupt();
    CHECK_THROWS_AS(decoder.push(codes, true), InterruptedError);
    decoder.clear_interrupt();
    CHECK(whole(decoder, codes) == expected);
    std::thread other([&] { decoder.interrupt(); });
    decoder.begin(false);
    const auto speak_on = [&] {
        for (;;) decoder.push(codes, false);
    };
    CHECK_THROWS_AS(speak_on(), InterruptedError);
    other.join();
    decoder.clear_interrupt();
    CHECK(whole(decoder, codes) == expected);
}

TEST_CASE("foreign codes, voices and steps out of range are refused") {
    const auto model = tiny_speaker();
    SpeechDecoder decoder = make_decoder();
    decoder.begin(false);
    CHECK_THROWS_AS(decoder.push(std::vector<int32_t>{27}, true), ArgumentError);
    const std::vector<int32_t> codes = random_codes(10);
    CHECK(whole(decoder, codes).size() == n_samples_of(10, false));
    const Voice& ann = model->speech().voice("");
    CHECK(ann.name == "Ann");
    CHECK_THROWS_AS(SpeechDecoder(model, ann, {.n_step = Flow::kMaxSteps + 1}), ArgumentError);
    CHECK_THROWS_AS(SpeechDecoder(model, ann, {.n_step = -1}), ArgumentError);
    Voice other = ann;
    other.codes[3] = 27;
    CHECK_THROWS_AS(SpeechDecoder(model, other, {}), ArgumentError);
    other = ann;
    other.speaker = Array<float>({7});
    CHECK_THROWS_AS(SpeechDecoder(model, other, {}), ArgumentError);
    CHECK_THROWS_AS(model->speech().voice("Eve"), ArgumentError);
    const auto silent = load_tiny({.has_vision = false, .has_audio = false});
    CHECK_THROWS_AS(SpeechDecoder(silent, ann, {}), UnsupportedModelError);
}

TEST_CASE("a recording becomes a voice that the decoder takes") {
    const auto model = tiny_speaker();
    Workspace workspace(model->backend());
    const Voice voice = model->speech().voice_encoder().encode(random_sound(24000), "me", workspace);
    CHECK(voice.codes.size() == 38);  // 1.5 s, a code more for the last 20 ms
    SpeechDecoder decoder(model, voice, {});
    CHECK(whole(decoder, random_codes(10)).size() == n_samples_of(10, false));
}

// What a stream keeps has a size that depends on the size before and on the chunk alone. Where a second
// window leaves it as it was, an hour does.
TEST_CASE("speech of any length keeps no more than a few windows") {
    for (const bool is_causal : {false, true}) {
        const auto model = tiny_speaker(is_causal);
        const SpeechModel& speech = model->speech();
        const Voice& voice = speech.voice("Bob");
        Workspace workspace(model->backend());
        const std::vector<float> noise = random_sound(static_cast<size_t>(8 * Flow::kMaxFrames));
        const std::vector<int32_t> lookahead = {1, 2, 3};
        FlowState flow =
            speech.flow().start({voice.codes, voice.mel, voice.speaker.data}, lookahead, noise, 2, workspace);
        VocoderState vocoder = speech.vocoder().start();
        const auto sizes = [&] {
            return std::vector<int64_t>{
                flow.matching.n_cached(),        flow.matching.keys_values.shape().n_row,
                flow.encoder.layers.n_cached,    flow.encoder.layers.keys_values.shape().n_row,
                flow.encoder.up_layers.n_cached, flow.encoder.up_layers.keys_values.shape().n_row,
                std::ssize(vocoder.mel),         std::ssize(vocoder.wave),
                std::ssize(vocoder.source),      std::ssize(vocoder.f0_past),
                std::ssize(vocoder.spectrum),    std::ssize(vocoder.stft.samples),
                std::ssize(vocoder.istft.sums),  std::ssize(vocoder.istft.weights),
                std::ssize(vocoder.hift.inputs)};
        };
        std::vector<std::vector<int64_t>> seen;
        for (int i = 0; i < 20; ++i) {
            const std::vector<int32_t> codes = random_codes(28, static_cast<uint64_t>(i));
            const Array<float> mel = speech.flow().next(codes, false, noise, flow, workspace);
            const auto samples = speech.vocoder().next(mel, false, {}, vocoder, workspace);
            CHECK(samples.size() == 24000);
            seen.push_back(sizes());
        }
        CHECK(seen[5] == seen[6]);
        CHECK(seen[6] == seen[19]);
    }
}
