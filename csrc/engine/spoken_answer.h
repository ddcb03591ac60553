#pragma once
// SpokenAnswer: a session's answer, said as it is written: pieces of text and, between and after them, sound.
// Used by one thread at a time; interrupt() from any. Reference: MiniCPMO.streaming_generate with
// generate_audio.

#include <optional>
#include <vector>

#include "engine/session.h"
#include "engine/speech_stream.h"

namespace minicpmo {

struct SpokenPiece {  // one of the two
    std::optional<Piece> text;
    std::vector<float> samples;
};

class SpokenAnswer {
public:
    // Begins the answer. The session and the decoder are lent for its length: nobody else uses them.
    SpokenAnswer(std::shared_ptr<const Model> model, Session& session, CodeDecoder& decoder,
                 const GenerateOptions& options, const SpeechStreamOptions& speech);

    // Nothing at the end. Throws InterruptedError, and then again.
    std::optional<SpokenPiece> next();
    void interrupt() noexcept;
    SpeechTimings timings() const { return speech_.timings(); }

private:
    void feed(bool is_final);

    Session& session_;
    SpeechStream speech_;
    bool is_whole_;
    // Of the kind of voice that takes text: a few tokens' text at a time; true when there is enough.
    void feed_text(bool is_final);

    std::vector<int32_t> ids_;        // of the answer
    std::vector<std::string> texts_;  // of each token
    size_t n_fed_ = 0;                // tokens
    bool takes_text_ = false;
    bool is_written_ = false;
};

}  // namespace minicpmo
