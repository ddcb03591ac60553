#pragma once
// StreamCache: tensors of one shape that a stream keeps on the device between its chunks. A value: copies are
// independent of each other.

#include <ggml-cpp.h>

#include <vector>

#include "core/backend.h"
#include "core/weights.h"

namespace minicpmo {

class StreamCache {
public:
    struct Shape {
        ggml_type type = GGML_TYPE_F32;
        int64_t n_feature = 0;
        int64_t n_row = 0;
        int n_tensor = 0;

        bool operator==(const Shape&) const = default;
    };

    StreamCache() = default;
    StreamCache(const Shape& shape, const Backend& backend)
        : StreamCache(shape, backend.weight_buffer_type()) {}
    StreamCache(const StreamCache& other);
    // Keeps its memory, and rows beyond those of `other`, where that fits in.
    StreamCache& operator=(const StreamCache& other);
    StreamCache(StreamCache&&) noexcept = default;
    StreamCache& operator=(StreamCache&&) noexcept = default;
    ~StreamCache() = default;

    const Shape& shape() const { return shape_; }
    Tensor operator[](int index) const { return tensors_[static_cast<size_t>(index)]; }  // [n_feature, n_row]
    Tensor rows(ggml_context* ctx, int index, int64_t begin, int64_t n) const;  // [n_feature, n], a view
    void move_rows(int64_t from, int64_t to, int64_t n);  // of every tensor; the ranges may overlap
    void set_n_row(int64_t n_row);                        // keeps the rows there is room for
    void clear();                                         // to zeros
    // Changes when the tensors move; no two caches share one. Part of a graph's key.
    int64_t generation() const { return generation_; }

private:
    StreamCache(const Shape& shape, ggml_backend_buffer_type_t buffer_type);  // zeros
    bool has_room_for(const StreamCache& other) const;

    Shape shape_;
    ggml_backend_buffer_type_t buffer_type_ = nullptr;
    ggml_context_ptr context_;
    ggml_backend_buffer_ptr buffer_;
    std::vector<Tensor> tensors_;
    int64_t generation_ = 0;
};

}  // namespace minicpmo
