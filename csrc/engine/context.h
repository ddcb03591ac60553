#pragma once
// Context: what the language model has read in one conversation, and what it expects next. Messages, turns
// and units are the business of who reads them into it. Used by one thread at a time.
// Reference: utils.py StreamDecoder.feed and drop_tokens_from_cache; MiniCPMO._drop_tokens_from_cache.

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/kv_cache.h"
#include "engine/prompt_reader.h"
#include "engine/transcript.h"

namespace minicpmo {

struct ContextOptions {
    int n_ctx = 0;                     // most tokens; 0: what the model was loaded for
    std::optional<ggml_type> kv_type;  // default_kv_type if absent
};

class Context {
public:
    Context(std::shared_ptr<const Model> model, const ContextOptions& options);

    // Reads a prompt, media encoded on the way: all of it, or nothing when it throws ContextFullError,
    // InterruptedError or anything else.
    MediaTimings read(const Prompt& prompt, Progress* progress = nullptr, bool wants_logits = true);
    void read(std::span<const int32_t> ids, bool wants_logits = true);
    // Holds this prompt and nothing else: the rows it begins with that are here already stay, and the others
    // are read; all stay only if this is the prompt that was held last, whose logits are known. As before
    // when there is no room, and only the rows that stayed where something else is thrown.
    struct Kept {
        int n = 0;
        MediaTimings media;  // of what was read
    };
    Kept hold(const Prompt& prompt, Progress* progress = nullptr);
    // Reads one token -> its state after the final norm [n_embd], if it is wanted. What is guessed to follow
    // it is computed in the same pass, and read without computing while the next tokens are those.
    std::vector<float> read_token(int32_t id, bool wants_hidden, std::span<const int32_t> guesses = {});
    // Whether reading this token next computes nothing.
    bool has_guessed(int32_t id) const { return n_right_ < guesses_.size() && guesses_[n_right_] == id; }
    // Of the token to come, [n_vocab]; changing them is up to the caller. Empty before the first prompt.
    std::span<float> logits();

    // Rows [begin, end) leave, and all behind them move up. What those had seen of them stays in their
    // values.
    void forget(int begin, int end);
    // The same, with these tokens in their place, which see only what is before them.
    void replace(int begin, int end, std::span<const int32_t> ids);
    void reset();

    // A place to come back to, as cheap as the logits.
    struct Mark {
        int n_past = 0;
        uint64_t last_cell = 0;
        std::vector<float> logits;
    };
    Mark mark() const { return {n_past(), last_cell(n_past()), logits_}; }
    // Throws ArgumentError if what had been read by then is not here any more, or is another context's.
    void rewind(const Mark& mark);

    void archive(Archive& archive);  // contents, not options
    void rest();                     // gives scratch memory back, which the next call takes anew

    int n_past() const { return cache_.length(); }
    int n_ctx() const { return cache_.shape().n_ctx; }
    int n_free() const { return n_ctx() - n_past(); }
    size_t kv_bytes() const { return cache_.n_bytes(); }
    std::span<const RowSource> rows() const { return transcript_.rows(); }
    const Model& model() const { return *model_; }
    Workspace& workspace() { return workspace_; }

private:
    MediaTimings read_from(int first, const Prompt& prompt, Progress* progress, bool wants_logits);
    void truncate(int n);
    void drop_guesses() { guesses_.clear(); }
    std::vector<float> take_row(bool wants_hidden);  // of guessed_: what it says of the last token read
    bool is_here(const Mark& mark) const {
        return mark.n_past <= n_past() && last_cell(mark.n_past) == mark.last_cell;
    }
    uint64_t last_cell(int n) const { return n > 0 ? cache_.names()[static_cast<size_t>(n) - 1] : 0; }

    std::shared_ptr<const Model> model_;
    std::shared_ptr<const void> place_;  // among the model's conversations
    Workspace workspace_;
    Workspace quiet_;  // that nobody interrupts: half a window moved is no conversation
    KvCache cache_;
    Transcript transcript_;      // of its cells
    std::vector<float> logits_;  // of the last row read
    // Tokens whose keys and values are in the cells behind the last one, the first n_right_ of them by now in
    // front of it; their states and logits, and before them those of the token they were guessed from.
    std::vector<int32_t> guesses_;
    size_t n_right_ = 0;
    Mark held_;  // the end of the prompt that was held last
    DecoderOutput guessed_;
};

}  // namespace minicpmo
