#pragma once
// WorkShare: the pieces of one node, taken by whichever thread is free, so that a thread that lost its
// processor to another program holds nobody up.

#include <atomic>
#include <cstdint>

namespace minicpmo::kernels {

class WorkShare {
public:
    // The next of n_piece pieces for one of n_thread threads, or -1 when none is left. Every thread asks
    // until it gets -1: a run of the node then counts n_piece + n_thread turns, and the next run starts anew
    // by itself.
    int64_t take(int64_t n_piece, int n_thread) {
        const auto n_turn = static_cast<uint64_t>(n_piece + n_thread);
        const auto turn = static_cast<int64_t>(counter_.fetch_add(1, std::memory_order_relaxed) % n_turn);
        return turn < n_piece ? turn : -1;
    }

private:
    alignas(64) std::atomic<uint64_t> counter_ = 0;
};

}  // namespace minicpmo::kernels
