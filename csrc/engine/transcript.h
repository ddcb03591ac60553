#pragma once
// Transcript: what the rows of a context were made of, so that a prompt can be compared with what was read.

#include <span>
#include <vector>

#include "base/digest.h"
#include "engine/prompt_builder.h"

namespace minicpmo {

struct RowSource {
    int32_t token = -1;  // -1: the row is a medium's
    int32_t row = -1;    // of that medium; -1: nobody knows of which
    Digest medium = {};
    bool operator==(const RowSource&) const = default;
};

class Transcript {
public:
    void append(const Prompt& prompt, int first);  // its rows from `first` on
    void append(int32_t token);
    void truncate(int n);
    // Rows [begin, end) become these tokens. What is behind them has seen what left, and is never shared.
    void replace(int begin, int end, std::span<const int32_t> ids);
    void reset_unknown(int n);  // so many rows of which nothing is known

    // Rows that a fresh read of this prompt would begin with just as they are here.
    int n_shared(const Prompt& prompt) const;
    std::span<const RowSource> rows() const { return rows_; }

private:
    std::vector<RowSource> rows_;
    size_t n_fresh_ = 0;  // the first rows, which saw nothing but each other
};

}  // namespace minicpmo
