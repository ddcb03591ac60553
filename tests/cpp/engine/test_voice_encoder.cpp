#include "engine/voice_encoder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "audio/resample.h"
#include "base/error.h"
#include "base/rng.h"
#include "core/built_gguf.h"
#include "models/tiny_voice.h"

using namespace minicpmo;

namespace {

struct Encoder {
    TempFolder folder;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 2});
    std::shared_ptr<const GgufFile> file;
    Weights weights;
    VoiceEncoder encoder;
    Workspace workspace{backend};

    explicit Encoder(const GgufBuilder& builder = tiny_voice().file)
        : file(std::make_shared<const GgufFile>(GgufFile::open(folder.write("tiny.gguf", builder.build())))),
          weights(file, *backend),
          encoder(read_voice_config(*file), weights.root()) {}

    Voice encode(const std::vector<float>& samples) { return encoder.encode(samples, "Ann", workspace); }
};

std::vector<float> noise(size_t n, double size = 0.5) {
    std::vector<float> samples(n);
    Rng rng{3, 0};
    for (float& x : samples) x = static_cast<float>(size * (2.0 * rng.uniform() - 1.0));
    return samples;
}

std::string message_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const ArgumentError& error) {
        return error.what();
    }
    return "";
}

// A copy of the builder in which the key has this value instead.
GgufBuilder with_key(const GgufBuilder& builder, const std::string& key, uint32_t value) {
    GgufBuilder changed = builder;
    std::erase_if(changed.keys, [&](const std::string& bytes) { return bytes.starts_with(text(key)); });
    REQUIRE(changed.keys.size() + 1 == builder.keys.size());
    return changed.add(key, value);
}

}  // namespace

TEST_CASE("a voice has a code for every 40 ms begun, two frames of mel for each, and the recording") {
    Encoder tiny;
    for (const int n : {8000, 16000, 16159, 16160, 31999, 32000}) {
        CAPTURE(n);
        const Voice voice = tiny.encode(noise(static_cast<size_t>(n)));
        CHECK(voice.name == "Ann");
        CHECK(voice.codes.size() == static_cast<size_t>((n / 160 + 3) / 4));
        CHECK(voice.mel.dim(0) == 12);
        CHECK(voice.mel.dim(1) == static_cast<int64_t>(2 * voice.codes.size()));
        CHECK(voice.speaker.data.size() == 6);
        CHECK(voice.pcm.size() == static_cast<size_t>(n));
    }
}

TEST_CASE("the mel of a voice is the decoder's of the sound at its rate, its last frame repeated") {
    Encoder tiny;
    const Voice voice = tiny.encode(noise(16160));
    std::vector<float> heard;
    for (const int16_t x : voice.pcm) heard.push_back(static_cast<float>(x) / 32768.0F);
    const Array<float> mel = tiny.encoder.mel().compute(resample(heard, 16000, 24000));
    REQUIRE(mel.dim(1) == 50);  // and 101 frames of 10 ms are 26 codes
    REQUIRE(voice.mel.dim(1) == 52);
    CHECK(std::equal(mel.data.begin(), mel.data.end(), voice.mel.data.begin()));
    for (const int64_t t : {50, 51})
        CHECK(std::equal(mel.row(49).begin(), mel.row(49).end(), voice.mel.row(t).begin()));
}

TEST_CASE("samples are rounded down to 16 bits, and clipped") {
    Encoder tiny;
    std::vector<float> samples = noise(16000);
    const std::vector<std::pair<float, int>> cases = {
        {0.0F, 0},      {1.0F, 32767},        {-1.0F, -32768},        {7.0F, 32767}, {-7.0F, -32768},
        {1e38F, 32767}, {0.6F / 32768.0F, 0}, {-0.1F / 32768.0F, -1}, {0.5F, 16384}, {-0.5F, -16384},
    };
    for (size_t i = 0; i < cases.size(); ++i) samples[100 + i] = cases[i].first;
    const Voice voice = tiny.encode(samples);
    for (size_t i = 0; i < cases.size(); ++i) {
        CAPTURE(cases[i].first);
        CHECK(voice.pcm[100 + i] == cases[i].second);
    }
    // What is written is what is heard: the rounded recording makes the same voice.
    std::vector<float> rounded;
    for (const int16_t x : voice.pcm) rounded.push_back(static_cast<float>(x) / 32768.0F);
    const Voice again = tiny.encode(rounded);
    CHECK(again.pcm == voice.pcm);
    CHECK(again.codes == voice.codes);
    CHECK(again.speaker.data == voice.speaker.data);
}

TEST_CASE("a recording of silence makes a voice, one too short, too long or of no numbers does not") {
    Encoder tiny;
    const Voice silent = tiny.encode(std::vector<float>(16000));
    CHECK(silent.codes.size() == 25);
    CHECK(silent.mel.data[0] == doctest::Approx(std::log(1e-5)));

    CHECK(tiny.encoder.max_seconds() == doctest::Approx(12.01).epsilon(1e-5));  // 300 codes
    CHECK(tiny.encode(noise(192159)).codes.size() == 300);
    check_contains(message_of([&] { tiny.encode(noise(192160)); }), {"0.5 to 12 s", "got 12.01 s"});
    check_contains(message_of([&] { tiny.encode(noise(7999)); }), {"0.5 to 12 s", "got 0.49993"});
    check_contains(message_of([&] { tiny.encode({}); }), {"got 0 s"});
    std::vector<float> bad = noise(16000);
    bad[17] = std::numeric_limits<float>::quiet_NaN();
    check_contains(message_of([&] { tiny.encode(bad); }), {"finite", "sample 17"});
    bad[17] = -std::numeric_limits<float>::infinity();
    check_contains(message_of([&] { tiny.encode(bad); }), {"finite", "sample 17"});
}

TEST_CASE("a file whose numbers make no networks is refused as damaged") {
    const GgufBuilder sound = tiny_voice().file;
    const auto refused = [&](const std::string& key, uint32_t value) {
        CAPTURE(key);
        CHECK(refusal([&] { const Encoder damaged(with_key(sound, key, value)); }) != "");
    };
    refused("minicpmo.s3.block_count", 3);  // there are two
    refused("minicpmo.s3.attention.head_count", 3);
    refused("minicpmo.s3.attention.head_count", 0);
    refused("minicpmo.s3.fsmn_kernel", 8);
    refused("minicpmo.s3.code_levels", 4);  // 64 codes, and the decoder knows 27
    refused("minicpmo.s3.sample_rate", 8000);
    refused("minicpmo.s3.n_fft", 401);
    refused("minicpmo.s3.hop_length", 4000);
    refused("minicpmo.s3.n_mel", 1000);
    refused("minicpmo.s3.max_positions", 1);
    refused("minicpmo.spk.n_mel", 20);
    refused("minicpmo.spk.embedding_length", 7);
    refused("minicpmo.spk.tdnn.kernel", 4);
    refused("minicpmo.spk.segment_length", 0);
    refused("minicpmo.t2w.speaker_length", 7);
    refused("minicpmo.t2w.vocab_size", 26);
    refused("minicpmo.t2w.mel.n_fft", 1919);
    refused("minicpmo.t2w.mel.n_fft", 1922);  // 31 is a factor of it
    refused("minicpmo.t2w.mel.win_length", 1000);
    refused("minicpmo.t2w.mel.hop_length", 3000);
    refused("minicpmo.t2w.n_mel", 1024);
}
