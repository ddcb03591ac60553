#include "base/bounded_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

using namespace minicpmo;

namespace {

// Long enough for another thread to do what it wrongly might.
void wait_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

}  // namespace

TEST_CASE("values come out in the order they went in") {
    BoundedQueue<int> queue(3);
    CHECK_FALSE(queue.try_pop());
    for (const int value : {7, 8, 9}) CHECK(queue.push(value));
    CHECK(queue.pop() == 7);
    CHECK(queue.try_pop() == 8);
    CHECK(queue.push(10));
    CHECK(queue.pop() == 9);
    CHECK(queue.pop() == 10);
    CHECK_FALSE(queue.try_pop());
}

TEST_CASE("values that cannot be copied pass too") {
    BoundedQueue<std::unique_ptr<int>> queue(1);
    CHECK(queue.push(std::make_unique<int>(5)));
    CHECK(**queue.pop() == 5);
}

TEST_CASE("a closed queue refuses values and gives those it has") {
    BoundedQueue<int> queue(4);
    queue.push(1);
    queue.push(2);
    queue.close();
    CHECK_FALSE(queue.push(3));
    CHECK(queue.pop() == 1);
    CHECK(queue.try_pop() == 2);
    CHECK_FALSE(queue.pop());
    queue.close();
    CHECK_FALSE(queue.pop());
}

TEST_CASE("a cancelled queue gives nothing at all, and lets go of what it held") {
    BoundedQueue<std::shared_ptr<int>> queue(4);
    const auto value = std::make_shared<int>(1);
    queue.push(value);
    queue.cancel();
    CHECK(value.use_count() == 1);
    CHECK_FALSE(queue.pop());
    CHECK_FALSE(queue.push(value));
}

TEST_CASE("a full queue makes the giver wait until there is room") {
    BoundedQueue<int> queue(2);
    std::atomic<int> n_pushed = 0;
    std::thread giver([&] {
        for (int i = 0; i < 3; ++i) {
            queue.push(i);
            ++n_pushed;
        }
    });
    while (n_pushed < 2) std::this_thread::yield();
    wait_a_little();
    CHECK(n_pushed == 2);
    CHECK(queue.pop() == 0);
    giver.join();
    CHECK(n_pushed == 3);
    CHECK(queue.pop() == 1);
    CHECK(queue.pop() == 2);
}

TEST_CASE("an empty queue makes the taker wait until there is a value") {
    BoundedQueue<int> queue(1);
    std::atomic<int> taken = 0;
    std::thread taker([&] { taken = queue.pop().value_or(-1); });
    wait_a_little();
    CHECK(taken == 0);
    queue.push(5);
    taker.join();
    CHECK(taken == 5);
}

TEST_CASE("close and cancel wake all who wait") {
    for (const bool is_cancel : {false, true}) {
        BoundedQueue<int> full(1);
        BoundedQueue<int> empty(1);
        full.push(1);
        std::atomic<int> n_refused = 0;
        std::vector<std::thread> threads;
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([&] { n_refused += full.push(2) ? 0 : 1; });
            threads.emplace_back([&] { n_refused += empty.pop() ? 0 : 1; });
        }
        wait_a_little();
        CHECK(n_refused == 0);
        for (BoundedQueue<int>* queue : {&full, &empty}) is_cancel ? queue->cancel() : queue->close();
        for (std::thread& thread : threads) thread.join();
        CHECK(n_refused == 4);
        CHECK(full.pop().has_value() == !is_cancel);
    }
}

TEST_CASE("two threads pass many values through a small queue, each once and in order") {
    constexpr int kCount = 20000;
    BoundedQueue<int> queue(3);
    std::thread giver([&] {
        for (int i = 0; i < kCount; ++i) queue.push(i);
        queue.close();
    });
    int n = 0;
    bool is_in_order = true;
    while (const std::optional<int> value = queue.pop()) is_in_order &= *value == n++;
    giver.join();
    CHECK(is_in_order);
    CHECK(n == kCount);
}
