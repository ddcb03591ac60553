#include "engine/drafter.h"

#include <algorithm>

namespace minicpmo {

namespace {

// Tokens that must have stood together before. With fewer, wrong guesses cost more than right ones save.
constexpr size_t kShortest = 2;
constexpr size_t kLongest = 8;  // more make no better guess

}  // namespace

void Drafter::adapt() {
    if (n_drafted_ == 0) return;
    if (n_confirmed_ == n_drafted_) {
        length_ = std::min(2 * length_, most_);
    } else {
        length_ = std::clamp(2 * n_confirmed_, 1, length_);
    }
}

std::vector<int32_t> Drafter::draft(std::span<const RowSource> rows, int32_t next, int limit,
                                    std::span<const int32_t> ends) {
    adapt();
    n_drafted_ = n_confirmed_ = 0;
    // How many of the last tokens stand before row i, `next` at i - 1.
    const auto n_match = [&](size_t i) {
        if (rows[i - 1].token != next) return size_t{0};
        size_t n = 1;
        while (n < kLongest && n < i && rows[i - 1 - n].token >= 0 &&
               rows[i - 1 - n].token == rows[rows.size() - n].token) {
            ++n;
        }
        return n;
    };
    size_t best = 0;
    size_t longest = kShortest - 1;
    for (size_t i = rows.size(); i-- > 1 && longest < kLongest;) {  // of equals the last
        if (const size_t n = n_match(i); n > longest) {
            longest = n;
            best = i;
        }
    }
    std::vector<int32_t> ids;
    if (best == 0) return ids;
    for (size_t i = best; static_cast<int>(ids.size()) < std::min(length_, limit); ++i) {
        // What repeats itself goes on with what is guessed here.
        const size_t n_row = rows.size();
        const int32_t id = i < n_row ? rows[i].token : i == n_row ? next : ids[i - n_row - 1];
        if (id < 0 || std::find(ends.begin(), ends.end(), id) != ends.end()) break;
        ids.push_back(id);
    }
    n_drafted_ = static_cast<int>(ids.size());
    return ids;
}

}  // namespace minicpmo
