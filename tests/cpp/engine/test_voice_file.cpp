#include "engine/voice_file.h"

#include <doctest/doctest.h>

#include <fstream>
#include <functional>
#include <iterator>

#include "base/error.h"
#include "core/built_gguf.h"

using namespace minicpmo;

namespace {

Voice make_voice(const std::string& name, int n_code, bool has_pcm) {
    Voice voice;
    voice.name = name;
    for (int i = 0; i < n_code; ++i) voice.codes.push_back(i * 37 % 6561);
    voice.mel = Array<float>({80, 2 * n_code});
    for (size_t i = 0; i < voice.mel.data.size(); ++i)
        voice.mel.data[i] = -0.25F * static_cast<float>(i % 40);
    voice.speaker = Array<float>({192});
    for (size_t i = 0; i < 192; ++i) voice.speaker.data[i] = 0.125F * static_cast<float>(i);
    for (int i = 0; has_pcm && i < 640 * n_code; ++i) voice.pcm.push_back(static_cast<int16_t>(i * 7919));
    return voice;
}

void check_equal(const Voice& a, const Voice& b) {
    CHECK(a.name == b.name);
    CHECK(a.codes == b.codes);
    CHECK(a.mel.shape == b.mel.shape);
    CHECK(a.mel.data == b.mel.data);
    CHECK(a.speaker.shape == b.speaker.shape);
    CHECK(a.speaker.data == b.speaker.data);
    CHECK(a.pcm == b.pcm);
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

void add(GgufBuilder& builder, int index, const Voice& voice) {
    const std::string at = "voice." + std::to_string(index) + ".";
    builder.tensor({at + "prompt_tokens", {voice.codes.size()}, GGML_TYPE_I32, bytes_of(voice.codes)});
    builder.tensor(
        {at + "prompt_mel", {80, voice.mel.data.size() / 80}, GGML_TYPE_F32, bytes_of(voice.mel.data)});
    builder.tensor({at + "spk", {voice.speaker.data.size()}, GGML_TYPE_F32, bytes_of(voice.speaker.data)});
}

GgufBuilder file_of(const Voice& voice) {
    GgufBuilder builder;
    builder.add("minicpmo.voice.count", uint32_t{1});
    add(builder, 0, voice);
    return builder;
}

std::string message_of(const GgufBuilder& builder) {
    const TempFolder folder;
    const auto path = folder.write("voice.gguf", builder.build());
    return refusal([&] { load_voice(path); });
}

}  // namespace

TEST_CASE("a saved voice is loaded as it was") {
    const TempFolder folder;
    for (const bool has_pcm : {true, false}) {
        const Voice voice = make_voice(has_pcm ? "Zo\xc3\xab" : "", 125, has_pcm);
        const auto path = folder.path() / "a.voice";
        save_voice(voice, path);
        check_equal(load_voice(path), voice);
        save_voice(make_voice("shorter", 5, has_pcm), path);  // the old one is gone
        check_equal(load_voice(path), make_voice("shorter", 5, has_pcm));
    }
}

TEST_CASE("a voice that makes no sense is not saved, and one that has nowhere to go says so") {
    const TempFolder folder;
    Voice voice = make_voice("x", 5, true);
    CHECK_THROWS_AS(save_voice(voice, folder.path() / "absent" / "a.voice"), Error);
    voice.mel.data.pop_back();
    CHECK_THROWS_AS(save_voice(voice, folder.path() / "a.voice"), ArgumentError);
    CHECK(!std::filesystem::exists(folder.path() / "a.voice"));
}

TEST_CASE("a model file holds several voices, or none") {
    GgufBuilder builder = sound();
    CHECK(read_voices(open_built(builder)).empty());
    builder.add("minicpmo.voice.count", uint32_t{2}).add("minicpmo.voice.1.name", "Bob");
    add(builder, 0, make_voice("", 3, false));
    add(builder, 1, make_voice("Bob", 7, false));
    const std::vector<Voice> voices = read_voices(open_built(builder));
    REQUIRE(voices.size() == 2);
    check_equal(voices[0], make_voice("", 3, false));
    check_equal(voices[1], make_voice("Bob", 7, false));
    check_contains(message_of(builder), {"one voice", "got 2"});
    check_contains(message_of(sound()), {"one voice", "got 0"});
}

TEST_CASE("mel and speaker may be half as wide") {
    GgufBuilder builder = file_of(make_voice("", 3, false));
    builder.tensors[1].type = GGML_TYPE_F16;
    builder.tensors[1].data = bytes_of(std::vector<uint16_t>(480, 0xc000));  // -2
    const TempFolder folder;
    const Voice voice = load_voice(folder.write("voice.gguf", builder.build()));
    CHECK(voice.mel.data == std::vector<float>(480, -2.0F));
}

TEST_CASE("a damaged voice is refused with the file's name") {
    const GgufBuilder good = file_of(make_voice("", 3, false));
    REQUIRE(message_of(good) == "");
    const auto refused = [&](const std::string& part, const std::function<void(GgufBuilder&)>& damage) {
        GgufBuilder bad = good;
        damage(bad);
        check_contains(message_of(bad), {part, "voice.gguf"});
    };
    refused("prompt_tokens", [](GgufBuilder& b) { b.tensors.erase(b.tensors.begin()); });
    refused("prompt_mel", [](GgufBuilder& b) { b.tensors.erase(b.tensors.begin() + 1); });
    refused("spk", [](GgufBuilder& b) { b.tensors.pop_back(); });
    refused("type i32", [](GgufBuilder& b) { b.tensors[0].type = GGML_TYPE_F32; });
    refused("type f32", [](GgufBuilder& b) { b.tensors[2].type = GGML_TYPE_I32; });
    refused("codes of 0", [](GgufBuilder& b) { b.tensors[0].data.replace(4, 4, std::string(4, '\xff')); });
    refused("finite", [](GgufBuilder& b) { b.tensors[1].data.replace(4, 4, std::string(4, '\xff')); });
    refused("finite", [](GgufBuilder& b) { b.tensors[2].data.replace(4, 4, std::string(4, '\xff')); });
    refused("(mel)", [](GgufBuilder& b) { b.tensors[1].dims = {96, 5}; });
    refused("dimensions", [](GgufBuilder& b) { b.tensors[1].dims = {80, 3, 2}; });
    refused("count", [](GgufBuilder& b) {
        b.keys.clear();
        b.add("minicpmo.voice.count", uint32_t{4000000000U});
    });
    refused("voice.1.prompt_tokens", [](GgufBuilder& b) {
        b.keys.clear();
        b.add("minicpmo.voice.count", uint32_t{2});
    });
}

TEST_CASE("no cut and no single wrong byte of a voice's file does worse than be refused") {
    const TempFolder folder;
    const auto path = folder.path() / "a.voice";
    save_voice(make_voice("Ann", 3, true), path);
    std::ifstream stream(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    int n_refused = 0;
    const auto try_load = [&](const std::string& damaged) {
        const auto at = folder.write("damaged.voice", damaged);
        n_refused += refusal([&] { load_voice(at); }) != "";
    };
    for (size_t n = 0; n < bytes.size(); n += 1 + n / 40) try_load(bytes.substr(0, n));
    CHECK(n_refused > 100);
    for (size_t i = 0; i < 500; ++i) {  // the header
        for (const char value : {'\0', '\x01', '\x7f', '\xff'}) {
            std::string damaged = bytes;
            damaged[i] = value;
            try_load(damaged);
        }
    }
}
