#pragma once
// UnitWindow: which units a context holds, and which of them it forgets when there are too many: a window
// over an endless conversation. Reference: utils.py StreamDecoder.enforce_window and
// enforce_window_with_context.

#include <string>
#include <vector>

#include "engine/context.h"

namespace minicpmo {

enum class WindowMode {
    off,     // the context fills up
    basic,   // beyond `high` tokens the oldest units leave until there are `low`
    context  // beyond `max_units` the oldest leave; what was said in them stays, as text behind the prompt
};
WindowMode parse_window_mode(std::string_view name);  // throws ArgumentError naming the three

struct WindowOptions {
    WindowMode mode = WindowMode::off;
    int high = 8000, low = 6000;  // tokens
    int max_units = 24;
    int max_previous = 500;  // tokens of what was said before
    std::string previous_marker = "\n\nprevious: ";
};
void check_window(const WindowOptions& options, int n_ctx);  // throws ArgumentError

class UnitWindow {
public:
    UnitWindow(const WindowOptions& options, const Model& model);

    // The prompt: what the context holds now stays for ever; `suffix` is its end, behind what was said
    // before.
    void begin(const Context& context, std::span<const int32_t> suffix);
    // Whether one unit more, with which there are n_past tokens, makes the context forget others.
    bool is_full(int n_past) const;
    int n_grown() const;  // tokens that the next unit to be forgotten leaves behind beyond its own
    // A unit has ended: n tokens, of which `spoken` were said. The context has read all of them if it is to
    // forget others. -> how many it forgot.
    int close_unit(Context& context, int n, std::vector<int32_t> spoken);
    void archive(Archive& archive);  // state, not options

    int n_unit() const { return static_cast<int>(units_.size()); }
    int n_newest() const { return units_.empty() ? 0 : units_.back().n; }
    int n_kept() const;                                              // tokens of prompt and units
    std::span<const int32_t> previous() const { return previous_; }  // marker included

private:
    struct Unit {
        int32_t n = 0;  // tokens
        std::vector<int32_t> spoken;
        void archive(Archive& archive);
    };
    void forget_oldest(Context& context);
    void remember(std::span<const int32_t> spoken);

    WindowOptions options_;
    const Tokenizer* tokenizer_;
    std::vector<int32_t> marker_;
    std::vector<int32_t> special_;  // sorted; not part of what was said
    int32_t n_prefix_ = 0;          // tokens of the prompt before what was said
    std::vector<int32_t> suffix_;
    std::vector<int32_t> previous_;  // empty until there is something
    std::vector<Unit> units_;        // oldest first
};

}  // namespace minicpmo
