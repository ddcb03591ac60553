#include "models/speech/stream_cache.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"

namespace minicpmo {

namespace {

int64_t next_generation() {
    static std::atomic<int64_t> counter = 0;
    return ++counter;
}

// Of one tensor or two of the same row size; the ranges may overlap.
void copy_rows(Tensor from, int64_t from_row, Tensor to, int64_t to_row, int64_t n,
               std::vector<std::byte>& bounce) {
    const size_t n_bytes = from->nb[1] * static_cast<size_t>(n);
    const size_t from_offset = from->nb[1] * static_cast<size_t>(from_row);
    const size_t to_offset = to->nb[1] * static_cast<size_t>(to_row);
    if (from != to && ggml_backend_buffer_is_host(to->buffer)) {
        ggml_backend_tensor_get(from, static_cast<std::byte*>(to->data) + to_offset, from_offset, n_bytes);
        return;
    }
    bounce.resize(n_bytes);
    ggml_backend_tensor_get(from, bounce.data(), from_offset, n_bytes);
    ggml_backend_tensor_set(to, bounce.data(), to_offset, n_bytes);
}

}  // namespace

StreamCache::StreamCache(const Shape& shape, ggml_backend_buffer_type_t buffer_type)
    : shape_(shape), buffer_type_(buffer_type), generation_(next_generation()) {
    const auto n_tensor = static_cast<size_t>(shape.n_tensor);
    context_.reset(ggml_init({ggml_tensor_overhead() * (n_tensor + 1), nullptr, true}));
    check<OutOfMemoryError>(context_ != nullptr, "[stream cache] no memory for {} tensor headers", n_tensor);
    for (int i = 0; i < shape.n_tensor; ++i)
        tensors_.push_back(ggml_new_tensor_2d(context_.get(), shape.type, shape.n_feature, shape.n_row));
    if (tensors_.empty() || ggml_nbytes(tensors_[0]) == 0) return;
    buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(context_.get(), buffer_type));
    check<OutOfMemoryError>(buffer_ != nullptr, "[stream cache] no memory for {} tensors [{}, {}]", n_tensor,
                            shape.n_feature, shape.n_row);
    clear();
}

StreamCache::StreamCache(const StreamCache& other) { *this = other; }

StreamCache& StreamCache::operator=(const StreamCache& other) {
    if (this == &other) return *this;
    if (!has_room_for(other)) {
        *this = other.context_ != nullptr ? StreamCache(other.shape_, other.buffer_type_) : StreamCache();
    }
    std::vector<std::byte> bounce;
    for (size_t i = 0; other.buffer_ != nullptr && i < tensors_.size(); ++i)
        copy_rows(other.tensors_[i], 0, tensors_[i], 0, other.shape_.n_row, bounce);
    return *this;
}

bool StreamCache::has_room_for(const StreamCache& other) const {
    Shape shape = shape_;
    shape.n_row = other.shape_.n_row;
    return shape == other.shape_ && shape_.n_row >= shape.n_row && buffer_type_ == other.buffer_type_;
}

Tensor StreamCache::rows(ggml_context* ctx, int index, int64_t begin, int64_t n) const {
    const Tensor tensor = (*this)[index];
    return ggml_view_2d(ctx, tensor, tensor->ne[0], n, tensor->nb[1],
                        tensor->nb[1] * static_cast<size_t>(begin));
}

void StreamCache::move_rows(int64_t from, int64_t to, int64_t n) {
    if (n == 0 || from == to) return;
    std::vector<std::byte> bounce;
    for (const Tensor tensor : tensors_) copy_rows(tensor, from, tensor, to, n, bounce);
}

void StreamCache::set_n_row(int64_t n_row) {
    if (n_row == shape_.n_row) return;
    StreamCache other({shape_.type, shape_.n_feature, n_row, shape_.n_tensor}, buffer_type_);
    const int64_t n_kept = std::min(n_row, shape_.n_row);
    std::vector<std::byte> bounce;
    for (size_t i = 0; n_kept > 0 && i < tensors_.size(); ++i)
        copy_rows(tensors_[i], 0, other.tensors_[i], 0, n_kept, bounce);
    *this = std::move(other);
}

void StreamCache::clear() {
    if (buffer_ != nullptr) ggml_backend_buffer_clear(buffer_.get(), 0);
}

}  // namespace minicpmo
