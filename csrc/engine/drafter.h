#pragma once
// Drafter: guesses what an answer says next by looking up where its last tokens stood before, in the prompt
// or in the answer. Reference: Saxena, Prompt Lookup Decoding, 2023; Yang et al., Inference with Reference,
// 2023.

#include <span>
#include <vector>

#include "engine/transcript.h"

namespace minicpmo {

constexpr int kMostDrafted = 64;

class Drafter {
public:
    // Guesses of 1 to `most` tokens, fewer while they turn out wrong.
    explicit Drafter(int most) : most_(most), length_(most) {}

    // What stood behind the last tokens of `rows` and `next` where they stood before, at most `limit`, up to
    // a token of `ends` or a medium; empty if they did not.
    std::vector<int32_t> draft(std::span<const RowSource> rows, int32_t next, int limit,
                               std::span<const int32_t> ends);
    void confirm() { ++n_confirmed_; }  // one guess of the last draft was right

private:
    void adapt();

    int most_;
    int length_;                           // of the next draft
    int n_drafted_ = 0, n_confirmed_ = 0;  // of the last one
};

}  // namespace minicpmo
