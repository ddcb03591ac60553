#include "engine/spoken_answer.h"

#include <algorithm>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr size_t kTokensPerChunk = 10;  // that are spoken together; reference: generate_chunk_size
constexpr size_t kTokensPerText = 3;    // whose text is spoken together; reference: llm_generate_chunk
// NOTE: the reference speaks a whole text in one chunk, which ends after 82 s whatever is left. Longer texts
// than this are cut into equal parts.
constexpr size_t kTokensOfWhole = 250;

GenerateOptions for_speech(GenerateOptions options, bool is_whole, bool takes_text) {
    options.keep_hidden = options.keep_hidden || !takes_text;
    options.is_speakable = options.is_speakable || (!is_whole && !takes_text);
    options.ends_with_speech = true;
    if (!options.use_tts) options.use_tts = true;
    return options;
}

}  // namespace

SpokenAnswer::SpokenAnswer(std::shared_ptr<const Model> model, Session& session, CodeDecoder& decoder,
                           const GenerateOptions& options, const SpeechStreamOptions& speech)
    : session_(session),
      speech_(model, decoder, speech),
      is_whole_(speech.is_whole),
      takes_text_(!model->has_voices()) {
    session_.begin(for_speech(options, is_whole_, takes_text_));
    check<UnsupportedModelError>(!takes_text_ || !session_.speaker().empty(),
                                 "[speech] expected <|spk|> in front of an answer that is said, which the "
                                 "voice is read from, got none: this model only writes here");
}

void SpokenAnswer::interrupt() noexcept {
    session_.interrupt();
    speech_.interrupt();
}

void SpokenAnswer::feed_text(bool is_final) {
    while (is_final ? true : texts_.size() >= n_fed_ + kTokensPerText) {
        SpokenTokens tokens;
        tokens.speaker = session_.speaker();
        const size_t end = std::min(n_fed_ + kTokensPerText, texts_.size());
        for (; n_fed_ < end; ++n_fed_) tokens.text += texts_[n_fed_];
        tokens.is_final = is_final && n_fed_ == texts_.size();
        const bool was_final = tokens.is_final;
        speech_.feed(std::move(tokens));
        if (was_final) return;
    }
}

// Tokens that are ready to be spoken: those whose states are known.
void SpokenAnswer::feed(bool is_final) {
    if (takes_text_) return feed_text(is_final);
    const Array<float>& hidden = session_.answer_hidden();  // [n_embd, n]
    const auto n_ready = std::min(ids_.size(), static_cast<size_t>(hidden.dim(1)));
    check<ArgumentError>(n_ready >= n_fed_,
                         "[speech] expected a session of its own, got one that began again");
    const size_t n_part = (n_ready + kTokensOfWhole - 1) / kTokensOfWhole;
    const size_t n_together = !is_whole_ || n_part == 0 ? kTokensPerChunk : (n_ready + n_part - 1) / n_part;
    while (is_final ? true : !is_whole_ && n_ready >= n_fed_ + kTokensPerChunk) {
        const size_t n = std::min(n_ready - n_fed_, n_together);
        SpokenTokens tokens;
        tokens.is_final = is_final && n_fed_ + n == n_ready;
        tokens.ids.assign(ids_.begin() + static_cast<std::ptrdiff_t>(n_fed_),
                          ids_.begin() + static_cast<std::ptrdiff_t>(n_fed_ + n));
        const auto n_embd = static_cast<size_t>(hidden.dim(0));
        tokens.hidden.shape = {hidden.dim(0), static_cast<int64_t>(n)};
        tokens.hidden.data.assign(hidden.data.begin() + static_cast<std::ptrdiff_t>(n_fed_ * n_embd),
                                  hidden.data.begin() + static_cast<std::ptrdiff_t>((n_fed_ + n) * n_embd));
        n_fed_ += n;
        const bool was_final = tokens.is_final;
        speech_.feed(std::move(tokens));
        if (was_final) return;
    }
}

std::optional<SpokenPiece> SpokenAnswer::next() {
    if (std::optional<std::vector<float>> samples = speech_.poll())
        return SpokenPiece{{}, std::move(*samples)};
    if (!is_written_) {
        if (std::optional<Piece> piece = session_.next()) {
            if (piece->id >= 0) ids_.push_back(piece->id);
            texts_.push_back(piece->text);
            feed(false);
            return SpokenPiece{std::move(piece), {}};
        }
        is_written_ = true;
        if (session_.stop_reason() == "interrupted") {
            speech_.interrupt();  // or speech would wait for the rest of the text
            fail<InterruptedError>("[speech] interrupted");
        }
        feed(true);
    }
    if (std::optional<std::vector<float>> samples = speech_.next())
        return SpokenPiece{{}, std::move(*samples)};
    return std::nullopt;
}

}  // namespace minicpmo
