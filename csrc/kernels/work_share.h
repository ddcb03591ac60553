#pragma once
// WorkShare and RangeShare: the pieces of one node, taken by whichever thread is free, so that a thread that
// lost its processor to another program holds nobody up.

#include <algorithm>
#include <array>
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

// The same where neighbours should go to one thread, as they lie in memory that is read ahead: each takes
// from a range of its own, one after the other, and from the others' when that is empty.
class RangeShare {
public:
    // As WorkShare's; `thread` is the caller's number.
    int64_t take(int64_t n_piece, int thread, int n_thread) {
        const int n_range = std::min(n_thread, kMostRanges);
        for (int i = 0; i < n_range; ++i) {
            const int range = (thread + i) % n_range;
            const int64_t piece = n_piece * range / n_range + next_[static_cast<size_t>(range)].fetch_add(1);
            if (piece < n_piece * (range + 1) / n_range) return piece;
        }
        if (n_finished_.fetch_add(1) + 1 == n_thread) {
            n_finished_ = 0;
            for (auto& next : next_) next = 0;
        }
        return -1;
    }

private:
    static constexpr int kMostRanges = 16;  // more threads share them
    alignas(64) std::array<std::atomic<int64_t>, kMostRanges> next_ = {};
    std::atomic<int> n_finished_ = 0;
};

}  // namespace minicpmo::kernels
