#pragma once
// MediaCache: embeddings of pictures and sounds that a model encoded, for whoever shows it the same again.
// Beyond a limit of bytes those that nobody asked for longest go. Any number of threads.

#include <list>
#include <map>
#include <memory>
#include <mutex>

#include "base/array.h"
#include "base/digest.h"

namespace minicpmo {

// What embeddings are of: rows of the same medium from the same row on are the same, to the bit.
struct MediumRows {
    Digest medium;    // all that goes into the encoder: pixels of a slice, samples of a piece of sound
    int32_t row = 0;  // of its embeddings: the first
    auto operator<=>(const MediumRows&) const = default;
};

class MediaCache {
public:
    using Rows = std::shared_ptr<const Array<float>>;  // [n_embd, n]

    explicit MediaCache(size_t max_bytes) : max_bytes_(max_bytes) {}  // 0: it holds nothing

    // Those n rows, or nullptr.
    Rows find(const MediumRows& content, int n);
    void add(const MediumRows& content, Rows rows);
    size_t n_bytes() const;
    size_t max_bytes() const { return max_bytes_; }

private:
    using Key = std::pair<MediumRows, int64_t>;  // and how many of them
    struct Entry {
        Key key;
        Rows rows;
    };
    static size_t bytes_of(const Rows& rows);

    const size_t max_bytes_;
    mutable std::mutex mutex_;
    std::list<Entry> entries_;  // the last one that was asked for is the first
    std::map<Key, std::list<Entry>::iterator> places_;
    size_t n_bytes_ = 0;
};

}  // namespace minicpmo
