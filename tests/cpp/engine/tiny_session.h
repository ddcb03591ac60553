#pragma once
// Messages, pictures and whole answers for tests on a tiny model.

#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/session.h"
#include "models/tiny_model.h"

namespace minicpmo {

inline std::shared_ptr<const Model> load_tiny(const TinyModelOptions& options = {}, int n_threads = 1) {
    const TinyModelFile file(options);  // mapped, so it may go
    return Model::load(file.path(), {.backend = {.device = "cpu", .n_threads = n_threads}});
}

inline Image random_image(int width, int height, uint64_t seed = 9) {
    Image image(width, height);
    Rng rng{seed, 0};
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(rng.next());
    return image;
}

inline std::vector<float> random_sound(size_t n, uint64_t seed = 11) {
    std::vector<float> samples(n);
    Rng rng{seed, 0};
    for (float& x : samples) x = 0.4F * (static_cast<float>(rng.uniform()) - 0.5F);
    return samples;
}

inline MessagePart text_part(const std::string& text) { return {PartKind::text, text, {}, {}}; }
inline MessagePart image_part(const Image& image) { return {PartKind::image, "", image.view(), {}}; }
MessagePart image_part(Image&& image) = delete;  // the part only borrows the pixels
inline MessagePart audio_part(std::span<const float> samples) { return {PartKind::audio, "", {}, samples}; }
inline Message say(Role role, const std::string& text) { return {role, {text_part(text)}}; }

// What a greedy answer of at most n tokens says; stop tokens count as any.
inline GenerateOptions greedy(int n = 12) {
    GenerateOptions options;
    options.max_new_tokens = n;
    options.sampling.temperature = 0;
    options.ignore_stop = true;
    return options;
}
inline std::vector<int32_t> answer(Session& session, const GenerateOptions& options = greedy()) {
    session.begin(options);
    std::vector<int32_t> ids;
    while (const auto piece = session.next()) {
        if (piece->id >= 0) ids.push_back(piece->id);  // the last piece may be text alone
    }
    return ids;
}

}  // namespace minicpmo
