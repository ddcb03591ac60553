#include "text/added_tokens.h"

#include <algorithm>

namespace minicpmo {

AddedTokens::AddedTokens(const Vocabulary& vocabulary) {
    for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const std::string& text = vocabulary.tokens[id];
        if (!is_added(vocabulary.types[id]) || text.empty()) continue;
        entries_.push_back({text, static_cast<int32_t>(id)});
        is_first_byte_[static_cast<uint8_t>(text[0])] = true;
    }
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.text < b.text; });
}

AddedTokens::Match AddedTokens::longest_at(std::string_view text) const {
    Match match;
    if (text.empty() || !is_first_byte_[static_cast<uint8_t>(text[0])]) return match;
    // Those that share the first i bytes with the text lie in [first, last), the shortest in front.
    auto first = entries_.begin(), last = entries_.end();
    for (size_t i = 0; i < text.size() && first != last; ++i) {
        const auto byte = static_cast<uint8_t>(text[i]);
        const auto byte_at = [i](const Entry& entry) {
            return i < entry.text.size() ? uint8_t(entry.text[i]) : -1;
        };
        first = std::partition_point(first, last, [&](const Entry& entry) { return byte_at(entry) < byte; });
        last = std::partition_point(first, last, [&](const Entry& entry) { return byte_at(entry) == byte; });
        if (first != last && first->text.size() == i + 1) match = {first->id, i + 1};
    }
    return match;
}

}  // namespace minicpmo
