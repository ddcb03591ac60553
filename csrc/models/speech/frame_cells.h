#pragma once
// FrameCells: which row of a cache holds which frame, where the order of the rows means nothing, so that
// forgetting some frames moves none of the others.
// Reference: stepaudio2/token2wav.py, Token2wav._trim_estimator_cache.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace minicpmo {

class FrameCells {
public:
    struct Move {
        int64_t from;
        int64_t to;
    };
    // What is to be done before n new frames are written: rows that must move first, then where they go.
    struct Room {
        std::vector<Move> moves;
        std::vector<int64_t> cells;
    };

    int n() const { return static_cast<int>(cells_.size()); }
    // Takes n new frames in, after which all frames lie in the cells [0, n()).
    Room add(int n);
    // Forgets all but the first n_first and the last n_last frames. The newest chunk comes first, a chunk's
    // own frames in the order of time: what is "last" are the last frames of the oldest chunk.
    void keep(int n_first, int n_last);

    const std::vector<int64_t>& cells() const { return cells_; }  // of each frame, in that order

private:
    std::vector<int64_t> cells_;
};

}  // namespace minicpmo
