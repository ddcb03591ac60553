#pragma once
// KvCache: keys and values of one decoder for one conversation. Memory grows with use up to n_ctx cells.

#include <ggml-cpp.h>

#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/weights.h"

namespace minicpmo {

struct KvShape {
    int n_layer = 0;
    int n_head_kv = 0;
    int d_head = 0;
    int n_ctx = 0;                   // most cells it may ever hold
    ggml_type type = GGML_TYPE_F16;  // F32, F16, BF16 or Q8_0
};

class KvCache {
public:
    KvCache(const KvShape& shape, std::shared_ptr<const Backend> backend);

    const KvShape& shape() const { return shape_; }
    int length() const { return length_; }      // cells in use; the next token's position
    int capacity() const { return capacity_; }  // cells that have memory now
    size_t n_bytes() const;                     // memory in use now
    // Makes room for n more cells. Throws ContextFullError beyond n_ctx, OutOfMemoryError.
    void reserve(int n);
    void advance(int n) { length_ += n; }  // n cells were written behind the last one
    void truncate(int n);                  // keeps cells [0, n)

    Tensor keys(int layer) const {
        return keys_[static_cast<size_t>(layer)];
    }  // [d_head * n_head_kv, capacity]
    Tensor values(int layer) const {
        return values_[static_cast<size_t>(layer)];
    }  // [d_head * n_head_kv, capacity]
    int64_t generation() const {
        return generation_;
    }  // changes when the tensors move; part of a graph's key

private:
    void grow(int capacity);

    KvShape shape_;
    std::shared_ptr<const Backend> backend_;
    ggml_context_ptr context_;
    ggml_backend_buffer_ptr buffer_;
    std::vector<Tensor> keys_;
    std::vector<Tensor> values_;
    int length_ = 0;
    int capacity_ = 0;
    int64_t generation_ = 0;
};

}  // namespace minicpmo
