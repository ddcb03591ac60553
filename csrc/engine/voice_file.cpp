#include "engine/voice_file.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "core/mapped_file.h"
#include "core/quantize.h"
#include "engine/voice_config.h"

namespace minicpmo {

namespace {

constexpr int kMaxDimensions = 2;
constexpr int kMaxCacheDimensions = 4;

std::string tensor_name(size_t voice, const char* name) {
    return "voice." + std::to_string(voice) + "." + name;
}

const TensorInfo* find_tensor(const GgufFile& file, const std::string& name,
                              std::initializer_list<ggml_type> types, bool is_optional = false,
                              int most_dimensions = kMaxDimensions) {
    const TensorInfo* tensor = file.find_tensor(name);
    if (tensor == nullptr && is_optional) return nullptr;
    check<ModelFileError>(tensor != nullptr, "[voice] expected a tensor {}, got none ({})", name,
                          utf8_path(file.path()));
    const bool is_known = std::find(types.begin(), types.end(), tensor->type) != types.end();
    check<ModelFileError>(is_known && tensor->n_dims <= most_dimensions,
                          "[voice] expected {} with 1 to {} dimensions of type {}, got {} of type {} ({})",
                          name, most_dimensions, type_name(*types.begin()), tensor->n_dims,
                          type_name(tensor->type), utf8_path(file.path()));
    return tensor;
}

template <class T>
std::vector<T> integers(const TensorInfo* tensor) {
    if (tensor == nullptr) return {};
    std::vector<T> values(tensor->data.size() / sizeof(T));
    std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
    return values;
}

Array<float> read_numbers(const GgufFile& file, const std::string& name,
                          int most_dimensions = kMaxDimensions) {
    const TensorInfo* tensor =
        find_tensor(file, name, {GGML_TYPE_F32, GGML_TYPE_F16}, false, most_dimensions);
    Array<float> values;
    values.shape.assign(tensor->ne.begin(), tensor->ne.begin() + tensor->n_dims);
    values.data = dequantize(tensor->type, tensor->data, tensor->ne[0], 1);
    return values;
}

// What the voice itself says of its shape, within bounds: models may differ from today's.
VoiceShape own_shape(const Voice& voice) {
    VoiceShape shape;
    constexpr int64_t kMaxSide = 1 << 20;
    const auto n = std::max<int64_t>(static_cast<int64_t>(voice.codes.size()), 1);
    shape.n_code = kMaxSide;
    shape.max_codes = kMaxSide;
    shape.n_mel = static_cast<int>(std::clamp<int64_t>(voice.mel.dim(0), 1, kMaxSide));
    shape.frames_per_code = static_cast<int>(std::clamp<int64_t>(voice.mel.dim(1) / n, 1, kMaxSide));
    shape.n_speaker = static_cast<int>(std::clamp<int64_t>(voice.speaker.dim(0), 1, kMaxSide));
    return shape;
}

VoiceCache read_cache(const GgufFile& file, size_t index, int n_step) {
    const auto read = [&](const char* name) {
        return read_numbers(file, tensor_name(index, "cache.") + name, kMaxCacheDimensions);
    };
    return {n_step, read("encoder_contexts"), read("encoder_keys_values"), read("estimator_contexts"),
            read("estimator_keys_values")};
}

Voice read_voice(const GgufFile& file, size_t index, const std::string& name) {
    Voice voice;
    voice.name = name;
    if (const int n_step = read_cache_steps(file, index); n_step > 0) {
        voice.cache = std::make_shared<const VoiceCache>(read_cache(file, index, n_step));
        voice.speaker = read_numbers(file, tensor_name(index, "spk"));
        voice.mel = Array<float>({0, 0});
        return voice;
    }
    voice.codes = integers<int32_t>(find_tensor(file, tensor_name(index, "prompt_tokens"), {GGML_TYPE_I32}));
    voice.mel = read_numbers(file, tensor_name(index, "prompt_mel"));
    voice.speaker = read_numbers(file, tensor_name(index, "spk"));
    voice.pcm = integers<int16_t>(find_tensor(file, tensor_name(index, "pcm16k"), {GGML_TYPE_I16}, true));
    try {
        check_voice(voice, own_shape(voice));
    } catch (const ArgumentError& error) {  // its numbers are the file's
        fail<ModelFileError>("{} ({})", error.what(), utf8_path(file.path()));
    }
    return voice;
}

}  // namespace

std::vector<Voice> read_voices(const GgufFile& file) {
    const std::vector<std::string> names = read_voice_names(file);
    std::vector<Voice> voices;
    for (size_t i = 0; i < names.size(); ++i) voices.push_back(read_voice(file, i, names[i]));
    return voices;
}

Voice load_voice(const std::filesystem::path& path) {
    std::vector<Voice> voices = read_voices(GgufFile::open(path));
    check<ModelFileError>(voices.size() == 1, "[voice] expected a file with one voice, got {} ({})",
                          voices.size(), utf8_path(path));
    return std::move(voices[0]);
}

void save_voice(const Voice& voice, const std::filesystem::path& path) {
    check<ArgumentError>(voice.cache == nullptr,
                         "[voice] expected a voice that other models can hear, got one that lives in its "
                         "model's flow (\"{}\")",
                         voice.name);
    check_voice(voice, own_shape(voice));
    GgufWriter writer;
    write_voice_names({voice.name}, writer);
    const auto add = [&]<class T>(const char* name, std::vector<int64_t> ne, const std::vector<T>& values) {
        writer.add_tensor<T>(tensor_name(0, name), ne, values);
    };
    add("prompt_tokens", {static_cast<int64_t>(voice.codes.size())}, voice.codes);
    add("prompt_mel", voice.mel.shape, voice.mel.data);
    add("spk", voice.speaker.shape, voice.speaker.data);
    if (!voice.pcm.empty()) add("pcm16k", {static_cast<int64_t>(voice.pcm.size())}, voice.pcm);
    writer.write(path);
}

}  // namespace minicpmo
