#include "engine/unit_window.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace minicpmo {

WindowMode parse_window_mode(std::string_view name) {
    if (name == "off") return WindowMode::off;
    if (name == "basic") return WindowMode::basic;
    if (name == "context") return WindowMode::context;
    fail<ArgumentError>("[window] expected off, basic or context, got {}", name);
}

void check_window(const WindowOptions& options, int n_ctx) {
    if (options.mode == WindowMode::basic) {
        check<ArgumentError>(options.low >= 0 && options.low <= options.high && options.high <= n_ctx,
                             "[window] expected 0 <= low <= high <= {} tokens, got {} and {}", n_ctx,
                             options.low, options.high);
    }
    if (options.mode == WindowMode::context) {
        check<ArgumentError>(options.max_units >= 1, "[window] expected max_units >= 1, got {}",
                             options.max_units);
        check<ArgumentError>(options.max_previous >= 0 && options.max_previous < n_ctx,
                             "[window] expected max_previous of 0 to {}, got {}", n_ctx - 1,
                             options.max_previous);
    }
}

UnitWindow::UnitWindow(const WindowOptions& options, const Model& model)
    : options_(options),
      tokenizer_(&model.tokenizer()),
      marker_(tokenizer_->encode(options.previous_marker, false)),
      special_(model.config().tokens.special) {
    const TokenRoles& t = model.config().tokens;
    const bool has_list = !special_.empty();
    for (int32_t id = 0; !has_list && id < tokenizer_->n_vocab(); ++id) {
        if (tokenizer_->is_special(id)) special_.push_back(id);
    }
    special_.insert(special_.end(), {t.unit_start, t.unit_end, t.image_start, t.image_end, t.slice_start,
                                     t.slice_end, t.listen, t.speak, t.tts_bos, t.tts_eos, t.audio_start,
                                     t.audio_end, t.chunk_eos, t.chunk_tts_eos, t.turn_eos});
    std::sort(special_.begin(), special_.end());
}

void UnitWindow::begin(const Context& context, std::span<const int32_t> suffix) {
    n_prefix_ = context.n_past() - static_cast<int>(suffix.size());
    suffix_.assign(suffix.begin(), suffix.end());
    previous_.clear();
    units_.clear();
}

int UnitWindow::n_kept() const {
    const auto n_prompt = n_prefix_ + static_cast<int>(previous_.size() + suffix_.size());
    return std::accumulate(units_.begin(), units_.end(), n_prompt,
                           [](int n, const Unit& unit) { return n + unit.n; });
}

bool UnitWindow::is_full(int n_past) const {
    if (options_.mode == WindowMode::basic) return n_past > options_.high && n_unit() > 0;
    return options_.mode == WindowMode::context && n_unit() >= options_.max_units;
}

int UnitWindow::n_grown() const {
    if (options_.mode != WindowMode::context || units_.empty() || units_.front().spoken.empty()) return 0;
    const size_t n_marker = previous_.empty() ? marker_.size() : 0;
    return std::max(static_cast<int>(n_marker + units_.front().spoken.size()) - units_.front().n, 0);
}

int UnitWindow::close_unit(Context& context, int n, std::vector<int32_t> spoken) {
    std::erase_if(spoken,
                  [&](int32_t id) { return std::binary_search(special_.begin(), special_.end(), id); });
    const bool forgets = is_full(n_kept() + n);
    units_.push_back({n, std::move(spoken)});
    if (!forgets) return 0;
    const int n_before = n_unit();
    const auto is_done = [&] {
        return options_.mode == WindowMode::basic ? n_unit() == 1 || n_kept() <= options_.low
                                                  : n_unit() <= options_.max_units;
    };
    while (!is_done()) forget_oldest(context);
    check<Error>(n_kept() == context.n_past(), "[window] expected {} tokens in the context, got {}", n_kept(),
                 context.n_past());
    return n_before - n_unit();
}

void UnitWindow::forget_oldest(Context& context) {
    const Unit oldest = std::move(units_.front());
    units_.erase(units_.begin());
    const auto n_suffix = static_cast<int>(suffix_.size());
    const int begin = n_prefix_ + static_cast<int>(previous_.size()) + n_suffix;
    const int end = begin + oldest.n;
    if (options_.mode == WindowMode::basic || oldest.spoken.empty()) {
        context.forget(begin, end);
        return;
    }
    remember(oldest.spoken);
    std::vector<int32_t> rows = previous_;
    rows.insert(rows.end(), suffix_.begin(), suffix_.end());
    context.replace(n_prefix_, end, rows);
}

// Beyond max_previous tokens the oldest ones go; the marker stays.
void UnitWindow::remember(std::span<const int32_t> spoken) {
    if (previous_.empty()) previous_ = marker_;
    previous_.insert(previous_.end(), spoken.begin(), spoken.end());
    const auto n_marker = static_cast<std::ptrdiff_t>(marker_.size());
    const auto n_content = static_cast<std::ptrdiff_t>(previous_.size()) - n_marker;
    const auto n_lost = std::max<std::ptrdiff_t>(n_content - options_.max_previous, 0);
    previous_.erase(previous_.begin() + n_marker, previous_.begin() + n_marker + n_lost);
}

void UnitWindow::Unit::archive(Archive& archive) {
    archive(n);
    archive(spoken);
}

void UnitWindow::archive(Archive& archive) {
    archive(n_prefix_);
    archive(suffix_);
    archive(previous_);
    archive(units_);
    const auto are_ids = [&](std::span<const int32_t> ids) {
        return std::all_of(ids.begin(), ids.end(),
                           [&](int32_t id) { return id >= 0 && id < tokenizer_->n_vocab(); });
    };
    bool is_sound = n_prefix_ >= 0 && are_ids(suffix_) && are_ids(previous_) &&
                    (previous_.empty() || previous_.size() >= marker_.size());
    int64_t n = 0;
    for (const Unit& unit : units_) {
        n += unit.n;
        is_sound = is_sound && unit.n > 0 && unit.spoken.size() <= static_cast<size_t>(unit.n) &&
                   n < 1 << 24 && are_ids(unit.spoken);
    }
    check<ModelFileError>(is_sound, "[window] expected units and tokens, got numbers that are neither");
}

}  // namespace minicpmo
