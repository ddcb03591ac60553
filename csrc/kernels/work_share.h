#pragma once
// WorkShare: the pieces of one node, taken by whichever thread is free, so that a thread that lost its
// processor to another program holds nobody up.

#include <atomic>
#include <cstdint>

namespace minicpmo::kernels {

class WorkShare {
public:
    // The next of n_piece pieces for one of n_thread threads, or -1 when none is left. Every thread asks
    // until it gets -1; the last one to get it makes the share ready for the next run of the node, which
    // waits for all.
    int64_t take(int64_t n_piece, int n_thread) {
        const int64_t piece = next_.fetch_add(1);
        if (piece < n_piece) return piece;
        if (n_finished_.fetch_add(1) + 1 == n_thread) {
            n_finished_ = 0;
            next_ = 0;
        }
        return -1;
    }

private:
    alignas(64) std::atomic<int64_t> next_ = 0;
    std::atomic<int> n_finished_ = 0;
};

}  // namespace minicpmo::kernels
