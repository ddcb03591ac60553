#pragma once
// KvCache: keys and values of one decoder for one conversation. Memory grows with use up to n_ctx cells.

#include <ggml-cpp.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/archive.h"
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

    static void check_shape(const KvShape& shape);  // throws ArgumentError as the constructor does
    // What a full one takes, and for a moment beside it: what it grows from, and one tensor that is on its
    // way.
    static uint64_t full_bytes(const KvShape& shape);
    static uint64_t growing_bytes(const KvShape& shape);

    const KvShape& shape() const { return shape_; }
    int length() const { return length_; }      // cells in use; the next token's position
    int capacity() const { return capacity_; }  // cells that have memory now
    size_t n_bytes() const;                     // memory in use now
    // Makes room for n more cells. Throws ContextFullError beyond n_ctx, OutOfMemoryError.
    void reserve(int n);
    // The n cells behind the last one hold what follows it. Until it is written again, a cell keeps what it
    // held, also behind the length.
    void advance(int n);
    void truncate(int n);  // keeps cells [0, n)
    // Cells [from, length) go to [to, ...), and the length changes by as much. Their keys stay turned for
    // their old places. Behind `from` there must be room, see reserve().
    void move_tail(int from, int to);
    // Names of the cells in use. A cell gets one whenever it comes into use, and no two cells of any caches
    // ever have the same one, so that equal names mean equal content.
    std::span<const uint64_t> names() const { return names_; }

    void archive(Archive& archive);  // cells and their number; when they are read, they get new names

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
    size_t cell_bytes() const;  // of one cell in one tensor
    int n_tensor() const { return shape_.n_layer * 2; }
    Tensor tensor(int index) const {
        return (index % 2 == 0 ? keys_ : values_)[static_cast<size_t>(index / 2)];
    }

    KvShape shape_;
    std::shared_ptr<const Backend> backend_;
    ggml_context_ptr context_;
    ggml_backend_buffer_ptr buffer_;
    std::vector<Tensor> keys_;
    std::vector<Tensor> values_;
    int length_ = 0;
    std::vector<uint64_t> names_;
    int capacity_ = 0;
    int64_t generation_ = 0;
};

}  // namespace minicpmo
