#pragma once
// BoundedQueue: values from one thread to another, at most so many at a time. The only way that threads of
// the engine talk.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace minicpmo {

template <class T>
class BoundedQueue {
public:
    explicit BoundedQueue(size_t n_max) : n_max_(n_max) {}

    // Waits while the queue is full; false if it is closed, and the value is then lost.
    bool push(T value) {
        std::unique_lock lock(mutex_);
        has_room_.wait(lock, [&] { return values_.size() < n_max_ || is_closed_; });
        if (is_closed_) return false;
        values_.push_back(std::move(value));
        has_value_.notify_one();
        return true;
    }
    // The oldest value. Waits while there is none; nothing if the queue is closed and empty.
    std::optional<T> pop() {
        std::unique_lock lock(mutex_);
        has_value_.wait(lock, [&] { return !values_.empty() || is_closed_; });
        return take();
    }
    std::optional<T> try_pop() {
        const std::lock_guard lock(mutex_);
        return take();
    }
    bool is_over() {  // closed, and all was taken
        const std::lock_guard lock(mutex_);
        return is_closed_ && values_.empty();
    }
    // No more values: push() refuses them, pop() gives what is left and then nothing.
    void close() {
        const std::lock_guard lock(mutex_);
        is_closed_ = true;
        has_room_.notify_all();
        has_value_.notify_all();
    }
    // What waits is dropped too.
    void cancel() {
        const std::lock_guard lock(mutex_);
        values_.clear();
        is_closed_ = true;
        has_room_.notify_all();
        has_value_.notify_all();
    }

private:
    std::optional<T> take() {
        if (values_.empty()) return std::nullopt;
        std::optional<T> value(std::move(values_.front()));
        values_.pop_front();
        has_room_.notify_one();
        return value;
    }

    size_t n_max_;
    std::mutex mutex_;
    std::condition_variable has_room_, has_value_;
    std::deque<T> values_;
    bool is_closed_ = false;
};

}  // namespace minicpmo
