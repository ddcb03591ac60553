#pragma once
// AddedTokens: the tokens that are found in a text as they are written, sorted, and the search for one.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace minicpmo {

class AddedTokens {
public:
    struct Match {
        int32_t id = -1;  // none
        size_t n_byte = 0;
    };

    AddedTokens() = default;
    explicit AddedTokens(const Vocabulary& vocabulary);  // which must outlive it

    Match longest_at(std::string_view text) const;  // the longest one that `text` starts with

private:
    struct Entry {
        std::string_view text;
        int32_t id;
    };
    std::vector<Entry> entries_;
    std::array<bool, 256> is_first_byte_{};
};

}  // namespace minicpmo
