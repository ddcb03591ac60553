#include "engine/speaker_reader.h"

#include <algorithm>

#include "engine/model.h"

namespace minicpmo {

namespace {

Prompt front_of(const Prompt& prompt, size_t n) {
    Prompt front = prompt;
    front.ids.resize(n);
    return front;
}

}  // namespace

// The last <|spk|> of a prompt where its state is a voice, and nothing but text follows.
std::optional<size_t> SpeakerReader::find(const Prompt& prompt) const {
    const Model& model = context_.model();
    if (model.has_voices() || !model.has_speech()) return std::nullopt;
    const auto last = std::find(prompt.ids.rbegin(), prompt.ids.rend(), model.config().tokens.spk);
    if (last == prompt.ids.rend()) return std::nullopt;
    const auto at = prompt.ids.rend() - last - 1;
    const bool is_media = std::any_of(prompt.runs.begin(), prompt.runs.end(),
                                      [at](const EmbeddingRun& run) { return run.begin + run.n > at; });
    return is_media ? std::nullopt : std::optional(static_cast<size_t>(at));
}

// What is behind the rows that were read: `ids` from the speaker's token on -> its state.
std::vector<float> SpeakerReader::read_from(std::span<const int32_t> ids) {
    std::vector<float> speaker = context_.read_token(ids[0], true);
    if (ids.size() > 1) context_.read(ids.subspan(1));
    return speaker;
}

MediaTimings SpeakerReader::read(const Prompt& prompt, Progress* progress, std::vector<float>& speaker) {
    const std::optional<size_t> at = find(prompt);
    if (!at) return context_.read(prompt, progress);
    const Context::Mark before = context_.mark();
    try {
        MediaTimings media;
        if (*at > 0) media = context_.read(front_of(prompt, *at), progress, false);
        speaker = read_from(std::span(prompt.ids).subspan(*at));
        return media;
    } catch (...) {
        context_.rewind(before);
        throw;
    }
}

// The speaker's token and what follows it are read every time: rows that are kept do not tell their state.
Context::Kept SpeakerReader::hold(const Prompt& prompt, Progress* progress, std::vector<float>& speaker) {
    const std::optional<size_t> at = find(prompt);
    if (at.value_or(0) == 0) return context_.hold(prompt, progress);
    const Context::Kept kept = context_.hold(front_of(prompt, *at), progress);
    speaker = read_from(std::span(prompt.ids).subspan(*at));
    return kept;
}

}  // namespace minicpmo
