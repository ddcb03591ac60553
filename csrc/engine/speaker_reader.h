#pragma once
// SpeakerReader: reads prompts into a Context and keeps the state of their last <|spk|>, which is the voice
// of a model that speaks as its prompt sounds. Prompts of other models are simply read.

#include <optional>
#include <span>
#include <vector>

#include "engine/context.h"

namespace minicpmo {

class SpeakerReader {
public:
    explicit SpeakerReader(Context& context) : context_(context) {}

    // As Context::read and Context::hold; `speaker` [n_embd] stays as it was where the prompt has none, or
    // something is thrown.
    MediaTimings read(const Prompt& prompt, Progress* progress, std::vector<float>& speaker);
    Context::Kept hold(const Prompt& prompt, Progress* progress, std::vector<float>& speaker);

private:
    std::optional<size_t> find(const Prompt& prompt) const;
    std::vector<float> read_from(std::span<const int32_t> ids);

    Context& context_;
};

}  // namespace minicpmo
