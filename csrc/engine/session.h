#pragma once
// Session: one conversation on a model: it reads messages and answers piece by piece. Used by one thread at a
// time; interrupt() and progress() from any. Reference: MiniCPMO.streaming_prefill and streaming_generate for
// the turns, MiniCPMO.chat for whole conversations.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "core/kv_cache.h"
#include "engine/prompt_reader.h"
#include "engine/sampler.h"
#include "text/utf8_stream.h"

namespace minicpmo {

struct SessionOptions {
    int n_ctx = 0;                     // most tokens of the conversation; 0: what the model was trained for
    std::optional<ggml_type> kv_type;  // default_kv_type if absent
};

struct GenerateOptions {
    int max_new_tokens = 4096;
    SamplingOptions sampling;
    bool enable_thinking = false;
    std::optional<bool> use_tts;    // opens the answer with <|tts_bos|>; absent: if there was sound
    bool ignore_stop = false;       // stop tokens are tokens like any other
    bool ends_with_speech = false;  // <|tts_eos|> ends the answer too
    bool keep_hidden = false;       // answer_hidden() has the states of the answer's tokens
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
};

class Session {
public:
    Session(std::shared_ptr<const Model> model, const SessionOptions& options);

    // Appends messages to the conversation. A user message after a user message continues that turn, without
    // tags.
    void prefill(std::span<const Message> messages, const PromptOptions& options);
    // A whole conversation by the chat template, generation prompt included; the session must be empty.
    void prefill_chat(std::span<const Message> messages, const PromptOptions& options);
    // Begins an answer; throws ArgumentError when nothing was prefilled.
    void begin(const GenerateOptions& options);
    // The next piece, or nothing: a stop token, max_new_tokens or an interruption ended the answer.
    std::optional<Piece> next();

    // States after the final norm, [n_embd, n]: row i was computed with token i of the answer as input. The
    // last token of an answer that no stop token ended was not read and has none. Empty without keep_hidden.
    const Array<float>& answer_hidden() const { return hidden_; }

    void interrupt() noexcept { workspace_.interrupt(); }
    void reset();
    int n_past() const { return cache_.length(); }
    int n_ctx() const { return cache_.shape().n_ctx; }
    size_t kv_bytes() const { return cache_.n_bytes(); }
    const Timings& timings() const { return timings_; }
    const Progress& progress() const { return progress_; }
    const std::string& stop_reason() const { return stop_reason_; }  // "stop", "length", "interrupted"

private:
    void read(Prompt prompt, Progress* progress);
    void read_text(const std::string& trusted);
    bool decode(int32_t id);  // reads one sampled token; false when interrupted
    std::optional<Piece> finish(const char* reason);

    std::shared_ptr<const Model> model_;
    Workspace workspace_;
    KvCache cache_;
    Progress progress_;
    Timings timings_;
    std::optional<Role> open_turn_;  // whose turn has begun and not ended
    bool answer_is_open_ = false;    // the generation prompt is in the cache
    int n_image_ = 0;                // pictures so far
    bool has_sound_ = false;
    std::vector<float> logits_;      // of the last row read
    std::optional<int32_t> unread_;  // sampled, shown, and not yet in the cache

    GenerateOptions options_;
    std::vector<int32_t> generated_;
    Array<float> hidden_;
    Rng rng_;
    Utf8Stream stream_;
    bool is_generating_ = false;
    std::string stop_reason_;
    Stopwatch answer_watch_;
};

}  // namespace minicpmo
