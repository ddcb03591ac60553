#pragma once
// UnitWriter: the language model's part of a unit: it reads what was seen and heard, decides whether to
// listen or to speak, and writes what is said. Reference: MiniCPMODuplex.streaming_generate.

#include <atomic>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/duplex_sampler.h"
#include "engine/unit_window.h"
#include "text/utf8_stream.h"

namespace minicpmo {

struct UnitRules {
    int max_tokens = 20;      // of a unit, the one that ends it included
    int max_characters = 28;  // said in a unit: fewer than this; 0: any
    int force_listen = 0;     // so many units of a conversation only listen
    // NOTE: in the reference the last token of a unit decides: one more behind <|turn_eos|> makes the turn go
    // on, and <|listen|> drops what was written before it. Here a turn that ended has ended, and what was
    // written is said, unless this is set.
    bool last_token_decides = false;
};

struct UnitWords {
    bool is_listen = false;
    bool ends_turn = false;
    bool is_cut = false;          // by cut()
    std::vector<int32_t> ids;     // that followed the input, </unit> included
    std::vector<int32_t> spoken;  // those that are said
    Array<float> hidden;          // [n_embd, n]: their states
    std::string text;             // of what is said
    Decision decision;
    std::vector<float> logits;  // [n_vocab] of the decision, if they are kept
    int n_past = 0;             // tokens in the context after the unit
    int n_forgotten = 0;        // units that the window let go
    double prefill_s = 0, decode_s = 0;
};

class UnitWriter {
public:
    UnitWriter(std::shared_ptr<const Model> model, const ContextOptions& context, const WindowOptions& window,
               const DuplexSampling& sampling, const UnitRules& rules);

    // Begins a conversation: what it is about, and how the voice sounds that is between the two, if given.
    void prepare(const std::string& prefix, const Array<float>& voice, const std::string& suffix);
    void reset();  // there is no conversation
    // Throws ContextFullError where there is no room for a whole unit; nothing has changed then.
    UnitWords write(const Prompt& unit, bool forces_listen);
    // The unit that is being written, or the next one, says no more than it has. Any thread.
    void cut() noexcept { is_cut_ = true; }

    int n_past() const { return context_.n_past() + static_cast<int>(unread_.size()); }  // tokens so far
    bool is_speaking() const { return is_in_turn_; }                                     // a turn goes on
    const Context& context() const { return context_; }
    const UnitWindow& window() const { return window_; }
    // Of the units to come.
    void set_sampling(const DuplexSampling& sampling) { sampler_.set(sampling); }
    void set_rules(const UnitRules& rules);
    void keep_logits(bool is_wanted) { keeps_logits_ = is_wanted; }

    struct Mark {
        Context::Mark context;
        UnitWindow window;
        DuplexSampler sampler;
        std::vector<int32_t> unread;
        Utf8Stream text;
        bool is_prepared = false;
        bool is_in_turn = false;
        int32_t n_unit = 0;
    };
    Mark mark() const {
        return {context_.mark(), window_, sampler_, unread_, text_, is_prepared_, is_in_turn_, n_unit_};
    }
    void rewind(const Mark& mark);   // throws ArgumentError as Context::rewind does
    void archive(Archive& archive);  // state, not options

private:
    std::string text_of(const UnitWords& words);
    void go_back(const Mark& mark);
    void feed(int32_t id, UnitWords& words, bool is_spoken);
    int32_t write_words(UnitWords& words, bool forces_listen);  // -> the token that ends them
    bool exceeds_characters(const UnitWords& words, int32_t id) const;

    std::shared_ptr<const Model> model_;
    Context context_;
    UnitWindow window_;
    DuplexSampler sampler_;
    UnitRules rules_;
    bool keeps_logits_ = false;
    // What closed the last unit. It is read with the next one, which costs less than by itself: the model's
    // weights pass by once.
    std::vector<int32_t> unread_;
    Utf8Stream text_;  // of the turn: a character may begin in one unit and end in the next
    bool is_prepared_ = false;
    bool is_in_turn_ = false;
    int32_t n_unit_ = 0;  // of the conversation
    std::atomic<bool> is_cut_ = false;
};

}  // namespace minicpmo
