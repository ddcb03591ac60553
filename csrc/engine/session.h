#pragma once
// Session: one conversation on a model, turn by turn: it reads messages and answers piece by piece. Used by
// one thread at a time; interrupt() and progress() from any. Reference: MiniCPMO.streaming_prefill and
// streaming_generate for the turns, MiniCPMO.chat for whole conversations.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "engine/audio_stream.h"
#include "engine/context.h"
#include "engine/drafter.h"
#include "engine/sampler.h"
#include "text/utf8_stream.h"

namespace minicpmo {

// Beyond `high` tokens the oldest rounds, each what a user said and what was answered, leave until there are
// `low`. What comes before the first round stays, and so does the round that goes on.
struct RoundWindow {
    int high = 8000, low = 6000;
};

struct SessionOptions {
    int n_ctx = 0;                     // most tokens of the conversation; 0: what the model was loaded for
    std::optional<ggml_type> kv_type;  // default_kv_type if absent
    std::optional<RoundWindow> window = {};  // absent: the context fills up
};

struct GenerateOptions {
    int max_new_tokens = 4096;
    SamplingOptions sampling;
    bool enable_thinking = false;
    std::optional<bool> use_tts;    // opens the answer with <|tts_bos|>; absent: if there was sound
    bool ignore_stop = false;       // stop tokens are tokens like any other
    bool ends_with_speech = false;  // <|tts_eos|> ends the answer too
    bool is_speakable = false;      // tokens that no voice can say are not drawn
    bool keep_hidden = false;       // answer_hidden() has the states of the answer's tokens
    // Most tokens at a time that are guessed from what was read and said before, and checked in one pass: up
    // to kMostDrafted. The answer is the same, but for rounding where two tokens are equally likely.
    int n_draft = 0;
};

struct Piece {
    int32_t id = -1;
    std::string text;  // whole characters; may be empty while one is incomplete
};

struct Timings {  // of the last turn, in seconds
    MediaTimings media;
    double heard_s = 0;        // length of the sound
    double prefill_s = 0;      // media encoded
    double first_token_s = 0;  // from begin()
    double decode_s = 0;
    int n_prompt = 0, n_decoded = 0;
    int n_reused = 0;                    // tokens of the prompt that were there already, beside n_prompt
    int n_drafted = 0, n_confirmed = 0;  // guesses, and those of them that the answer's tokens were
};

class Session {
public:
    Session(std::shared_ptr<const Model> model, const SessionOptions& options);

    // Appends messages to the conversation. A user message after a user message continues that turn, without
    // tags, but for the first of a model whose user instructs.
    void prefill(std::span<const Message> messages, const PromptOptions& options);
    // The same, with sound that goes on from call to call: what completes a second is read, and with
    // `is_last` the rest too. Pieces of a second each are what the reference takes; here any length will do.
    void prefill_stream(std::span<const Message> messages, const PromptOptions& options, bool is_last);
    // A whole conversation by the chat template, generation prompt included, instead of what was there: the
    // rows it begins with that the session holds already are not read again. Whatever throws leaves the
    // session empty, but for options and messages that are refused at once: then it is as before.
    void prefill_chat(std::span<const Message> messages, const PromptOptions& options);
    // Begins an answer; throws ArgumentError when nothing was prefilled.
    void begin(const GenerateOptions& options);
    // The next piece, or nothing: a stop token, max_new_tokens or an interruption ended the answer.
    std::optional<Piece> next();

    // States after the final norm, [n_embd, n]: row i was computed with token i of the answer as input. The
    // last token of an answer that no stop token ended was not read and has none. Empty without keep_hidden.
    const Array<float>& answer_hidden() const { return hidden_; }
    // The state [n_embd] at the last <|spk|> before the answer, which is its voice. Empty without one, and
    // where the model does not speak as its prompt sounds.
    const std::vector<float>& speaker() const { return state_.speaker; }

    // Of the next token after all that was read, [n_vocab], and what was read row by row.
    std::span<const float> logits() { return context_.logits(); }
    std::span<const RowSource> rows() const { return context_.rows(); }

    // A place in the conversation to come back to, such as before an answer to who turned out not to have
    // finished: as cheap as the logits. Restoring ends an answer that goes on, and throws ArgumentError when
    // the window has forgotten part of it, or when it is another session's.
    struct Snapshot;
    std::shared_ptr<const Snapshot> snapshot() const;
    void restore(const Snapshot& snapshot);
    // The conversation as a file, between turns, which another process with the same model file goes on from.
    // load() throws ModelFileError for files that are none; the session is then empty.
    void save(const std::filesystem::path& path);
    void load(const std::filesystem::path& path);

    void interrupt() noexcept { context_.workspace().interrupt(); }
    void reset();
    void rest() { context_.rest(); }  // gives scratch memory back, which the next call takes anew
    int n_past() const { return context_.n_past(); }
    int n_ctx() const { return context_.n_ctx(); }
    int n_round() const { return static_cast<int>(state_.rounds.size()); }
    size_t kv_bytes() const { return context_.kv_bytes(); }
    const Timings& timings() const { return timings_; }
    const Progress& progress() const { return progress_; }
    const std::string& stop_reason() const { return stop_reason_; }  // "stop", "length", "interrupted"

private:
    struct State {                      // where the conversation is
        std::optional<Role> open_turn;  // whose turn has begun and not ended
        bool answer_is_open = false;    // the generation prompt is in the cache
        bool answer_is_spoken = false;  // the last one was opened by <|tts_bos|>
        int32_t n_image = 0;            // pictures so far
        bool has_sound = false;
        std::optional<int32_t> unread;  // sampled, shown, and not yet in the cache
        std::vector<int32_t> rounds;    // the tokens that each begins with; oldest first
        std::vector<float> speaker;     // see Session::speaker()
        void archive(Archive& archive);
    };
    using Hear = std::function<void(Media&)>;  // streams the sounds of a message
    void read_messages(std::span<const Message> messages, const PromptOptions& options, const Hear& hear);
    void read(Prompt prompt, Progress* progress);
    void count(const Prompt& prompt, const Context::Kept& kept, double seconds);
    std::string closing() const;  // of the turn that goes on
    void enforce_window();
    bool decode(int32_t id);  // reads one sampled token; false when interrupted
    std::vector<int32_t> draft(int32_t id);
    std::optional<Piece> finish(const char* reason);
    AudioStream& stream();
    void archive(Archive& archive);

    std::shared_ptr<const Model> model_;
    std::optional<RoundWindow> window_;
    Context context_;
    std::optional<AudioStream> stream_;  // made when sound is first streamed
    State state_;
    Progress progress_;
    Timings timings_;

    GenerateOptions options_;
    std::vector<int32_t> forbidden_;
    std::vector<int32_t> ends_;
    Drafter drafter_{0};
    std::vector<int32_t> generated_;
    std::string unsaid_;  // of the answer, though no token of it
    Array<float> hidden_;
    Rng rng_;
    Utf8Stream utf8_;
    bool is_generating_ = false;
    std::string stop_reason_;
    Stopwatch answer_watch_;
};

struct Session::Snapshot {
    Context::Mark context;
    std::optional<AudioStream::Mark> stream;
    State state;
};

}  // namespace minicpmo
