#include "kernels/work_share.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace minicpmo;
using kernels::RangeShare;

namespace {

// How often each piece was taken by threads that run at the same time.
std::vector<int> taken(RangeShare& share, int64_t n_piece, int n_thread) {
    std::vector<std::atomic<int>> counts(static_cast<size_t>(n_piece));
    std::vector<std::jthread> threads;
    for (int t = 0; t < n_thread; ++t) {
        threads.emplace_back([&, t] {
            for (int64_t i = 0; (i = share.take(n_piece, t, n_thread)) >= 0;)
                ++counts[static_cast<size_t>(i)];
        });
    }
    threads.clear();
    return {counts.begin(), counts.end()};
}

}  // namespace

TEST_CASE("every piece is taken once, run after run, by any number of threads") {
    RangeShare share;
    for (const int n_thread : {1, 2, 3, 16, 20}) {
        for (const int64_t n_piece : {1, 2, 7, 48}) {
            CHECK(taken(share, n_piece, n_thread) == std::vector<int>(static_cast<size_t>(n_piece), 1));
        }
    }
}

TEST_CASE("a thread takes neighbours first, then what others have left") {
    RangeShare share;
    for (const int64_t piece : {3, 4, 5, 0, 1, 2, -1}) CHECK(share.take(6, 1, 2) == piece);
    CHECK(share.take(6, 0, 2) == -1);
    CHECK(share.take(6, 0, 2) == 0);
}
